"""STAN: shapes, ConvLSTM and attention against the equations, ablations, gradients, import, a short
training.
"""

import numpy as np
import pytest
import torch

from moving_square import clip, grows_better
from test_scnn import torchvision_vgg16
from vsalient.engine import Engine
from vsalient.errors import OptionError
from vsalient.models import build
from vsalient.models.stan import ConvLSTM, convert_checkpoint


def test_full_size_shapes():
    with torch.device("meta"):
        network = build("stan").eval()
        vgg = network.temporal.vgg(torch.empty(4, 4, 512, 512))
        levels = network.streams(torch.empty(4, 3, 512, 512), torch.empty(4, 1, 512, 512))
        features = network.gather(levels)
        output = network(torch.empty(1, 3, 4, 512, 512), motion=torch.empty(1, 1, 4, 512, 512))
    assert [tuple(f.shape[1:]) for f in vgg] == [
        (64, 512, 512),
        (128, 256, 256),
        (256, 128, 128),
        (512, 64, 64),
        (512, 64, 64),
        (4096, 64, 64),
    ]
    assert [tuple(f.shape) for f in levels] == [(4, 128, 64, 64)] * 4
    assert [tuple(f.shape) for f in features] == [(4, 1, 64, 64), (4, 4, 512, 512), (4, 4, 512, 512)]
    assert output.shape == (1, 1, 1, 512, 512)
    # Fig. 3 of the paper: 256 channels of 3×3, then three of 1×1; Eq. 2: four features of 128 channels
    # joined.
    assert [tuple(m.weight.shape) for m in network.attention if hasattr(m, "weight")] == [
        (256, 3, 3, 3),
        (3, 256, 1, 1),
    ]
    assert tuple(network.conv3d.weight.shape) == (1, 512, 4, 3, 3)
    assert tuple(network.lstm.input.weight.shape) == (4, 512, 3, 3)


def test_parameter_counts():
    vgg = 14_714_688 + (9 * 512 * 4096 + 4096) + (4096 * 4096 + 4096)
    branches = (9 * 512 * 128 + 128) + (9 * 4096 * 128 + 128) + 2 * (128 * 128 + 128)
    refinement = (36 * 512 + 4 + 36) + (36 * 512 + 1) + 2 * 257 + (27 * 256 + 256) + (256 * 3 + 3)
    with torch.device("meta"):
        total = sum(p.numel() for p in build("stan").parameters())
        small = sum(p.numel() for p in build("stan", width=0.1875).parameters())
    assert total == 2 * (vgg + branches) + 9 * 64 + refinement == 111_478_254
    assert 2 * small <= 8e6


def test_the_last_two_blocks_are_dilated():
    """Section 3.1: poolings 4 and 5 keep the size, and blocks 5 and 6 see as far as if they had halved it."""
    with torch.device("meta"):
        network = build("stan")
    for stream in (network.spatial, network.temporal):
        dilated = [[(c.kernel_size[0], c.dilation[0]) for c in block] for block in stream.vgg.blocks]
        assert dilated[3:] == [[(3, 1)] * 3, [(3, 2)] * 3, [(3, 4), (1, 1)]]
    with pytest.raises(OptionError, match="last_kernel is 5"):
        build("stan", width=0.0625, last_kernel=5)


def test_fc6_keeps_its_answer_to_a_map_that_is_the_same_everywhere():
    raw = torchvision_vgg16()
    raw["classifier.0.weight"] = torch.rand(8, 512 * 49)
    three = convert_checkpoint(raw)["spatial.vgg.blocks.5.0.weight"]
    assert three.shape == (8, 512, 3, 3)
    whole = raw["classifier.0.weight"].view(8, 512, 7, 7)
    assert torch.allclose(three.sum(dim=(2, 3)), whole.sum(dim=(2, 3)), atol=1e-4)
    assert torch.allclose(three[..., 0, 2], whole[..., :2, 5:].sum(dim=(2, 3)), atol=1e-5)
    one = convert_checkpoint(raw, last_kernel=1)["temporal.vgg.blocks.5.0.weight"]
    assert torch.allclose(one[..., 0, 0], whole.sum(dim=(2, 3)), atol=1e-4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(x, weight):
    """Plain 3×3 convolution with zero padding of (C, H, W)."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((weight.shape[0], *x.shape[1:]))
    for i in range(3):
        for j in range(3):
            out += np.einsum("oc,chw->ohw", weight[:, :, i, j], padded[:, i : i + x.shape[1], j : j + x.shape[2]])
    return out


def test_convlstm_is_equation_4():
    torch.manual_seed(0)
    layer = ConvLSTM(3, 2).double()
    sequence = torch.randn(3, 1, 3, 4, 5, dtype=torch.float64)
    wx, b, wh = (p.detach().numpy() for p in (layer.input.weight, layer.input.bias, layer.recurrent.weight))
    hidden, memory = np.zeros((2, 4, 5)), np.zeros((2, 4, 5))
    state = layer.start(sequence[0])
    for x in sequence:
        gates = [
            convolve(x[0].numpy(), wx[k : k + 2]) + convolve(hidden, wh[k : k + 2]) + b[k : k + 2, None, None]
            for k in (0, 2, 4, 6)
        ]
        enter, forget, leave, candidate = (*(sigmoid(g) for g in gates[:3]), np.tanh(gates[3]))
        memory = forget * memory + enter * candidate
        hidden = leave * np.tanh(memory)
        state = layer.advance(layer.input(x), *state)
        np.testing.assert_allclose(state[0][0].detach().numpy(), hidden, rtol=1e-9)
        np.testing.assert_allclose(state[1][0].detach().numpy(), memory, rtol=1e-9)


def test_attention_is_equation_7():
    network = build("stan", width=0.0625)
    maps = torch.randn(2, 3, 8, 8)
    scores = network.attention(maps).detach().numpy()
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = (weights * maps.numpy()).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(network.attend(maps).detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_decode_is_the_text_literally():
    """Frame-by-frame decoding equals Eq. 2, 3, 5, 7 written on whole, enlarged tensors."""
    network = build("stan", width=0.0625).eval()
    levels = [torch.randn(4, network.branch_channels, 3, 4) for _ in range(4)]
    with torch.no_grad():
        big = [torch.nn.functional.interpolate(f, (24, 32), mode="bilinear") for f in levels]
        joined = torch.cat(big, dim=1)  # Eq. 2: 4 frames, all channels
        volume = network.conv3d(joined.transpose(0, 1)[None])[:, :, 0]
        state = network.lstm.start(joined[:1])
        for x in joined:
            state = network.lstm.advance(network.lstm.input(x[None]), *state)
        s1, s2, t1, t2 = (f[-1:] for f in big)
        fused = network.fuse[0](torch.cat([s1, t1], 1)) + network.fuse[1](torch.cat([s2, t2], 1))
        expected = network.attend(torch.cat([fused, state[0], volume], 1))
        features = [f[None] for f in network.gather(levels)]
        assert torch.allclose(network.decode(features)[:, :, 0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "maps"),
    [
        ({"prior": "none", "lstm": False, "conv3d": False, "attention": False}, 1),  # OS
        ({"lstm": False, "conv3d": False, "attention": False}, 1),  # ST
        ({"lstm": False, "attention": False}, 2),  # STC
        ({"conv3d": False, "attention": False}, 2),  # STL
        ({"attention": False}, 3),  # STLC
        ({"refine_stride": 4}, 3),
        ({"prior": "flow"}, 3),  # Fig. 6c
    ],
)
def test_ablations(config, maps):
    network = build("stan", width=0.0625, **config).eval()
    assert network.priors == (() if config.get("prior") == "none" else (config.get("prior", "motion"),))
    given = {name: torch.rand(1, 1, 4, 16, 24) for name in network.priors}
    assert network(torch.rand(1, 3, 4, 16, 24), **given).shape == (1, 1, 1, 16, 24)
    assert 1 + (network.lstm is not None) + (network.conv3d is not None) == maps


def test_per_frame_features_are_the_whole_network():
    network = build("stan", width=0.0625).eval()
    frames, motion = torch.rand(1, 3, 4, 16, 16), torch.rand(1, 1, 4, 16, 16)
    with torch.no_grad():
        singles = [network.encode(frames[:, :, t], motion[:, :, t]) for t in range(4)]
        stacked = [torch.stack([s[i] for s in singles], dim=1) for i in range(3)]
        assert torch.allclose(network.decode(stacked), network(frames, motion), atol=1e-5)


def test_errors_name_what_is_wrong():
    network = build("stan", width=0.0625)
    with pytest.raises(OptionError, match="motion prior"):
        network(torch.zeros(1, 3, 4, 16, 16))
    with pytest.raises(OptionError, match="3 frames; it needs 4"):
        network(torch.zeros(1, 3, 3, 16, 16), torch.zeros(1, 1, 3, 16, 16))
    with pytest.raises(OptionError, match="20x16"):
        network(torch.zeros(1, 3, 4, 16, 20), torch.zeros(1, 1, 4, 16, 20))


def test_with_plain_flow_the_temporal_stream_sees_the_flow_alone():
    network = build("stan", width=0.0625, prior="flow").eval()
    frames, flow = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        one, other = network.streams(frames, flow=flow), network.streams(frames.flip(0), flow=flow)
    assert all(torch.equal(a, b) for a, b in zip(one[2:], other[2:], strict=True))
    assert not torch.equal(one[0], other[0])
    with pytest.raises(OptionError, match="optical flow of every frame"):
        network.streams(frames)
    with pytest.raises(OptionError, match="prior is 'colour'"):
        build("stan", width=0.0625, prior="colour")


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    network = build("stan", width=0.0625, dropout=0.0)
    (output,) = network.training_outputs(torch.rand(1, 3, 4, 16, 16), torch.rand(1, 1, 4, 16, 16))
    output.square().mean().backward()
    untouched = [n for n, p in network.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert untouched == []


def test_vgg16_import_fills_both_streams():
    converted = convert_checkpoint(torchvision_vgg16())
    with torch.device("meta"):
        ours = {k: v.shape for k, v in build("stan").state_dict().items()}
    assert {k: v.shape for k, v in converted.items()}.items() <= ours.items()
    fresh = {k for k in set(ours) - set(converted) if ".vgg." in k}
    assert fresh == {"temporal.vgg.blocks.0.0.weight", "temporal.vgg.blocks.0.0.bias"}


def test_short_training_lowers_the_loss():
    torch.manual_seed(0)
    network = build("stan", width=0.125, dropout=0.0)
    frames, truth, prior = clip(4, 48)
    before, after = grows_better(network, (frames, prior), truth[:, :, -1:], steps=12, rate=2e-3)
    assert after < 0.75 * before
    assert network.probability(network(frames, prior)).shape == (1, 1, 48, 48)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_engine_encodes_each_frame_once_with_its_prior(dtype):
    torch.manual_seed(0)
    network = build("stan", width=0.0625).eval()
    frames = [torch.randint(0, 256, (3, 16, 24), dtype=torch.uint8) for _ in range(6)]
    motion = [torch.rand(1, 16, 24) for _ in range(6)]
    clips = [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)]
    want, seen = [], []
    with torch.no_grad():
        for clip_indices in clips:
            pixels = torch.stack([frames[i] for i in clip_indices], 1)[None] / 255
            prior = torch.stack([motion[i] for i in clip_indices], 1)[None]
            want.append(network.probability(network(pixels, prior))[0].numpy())
    network.spatial.register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
    engine = Engine(network, device="cpu", dtype=dtype)
    seen.clear()  # the self-check's frames
    for expected, indices in zip(want, clips, strict=True):
        priors = {"motion": [motion[i] for i in indices]}
        got = engine.run([frames[i] for i in indices], indices, outputs=(3,), priors=priors)
        np.testing.assert_allclose(got, expected, atol=1e-5 if dtype == "float32" else 0.02)
    assert seen == [1] * 6


def test_every_frame_teaches_where_asked():
    """The side output of all four frames is held against all four masks, the map of the last against the last."""
    from vsalient.training.recipe import recipe_from_dict
    from vsalient.training.steps import Stepper

    config = {"width": 0.0625, "refine_stride": 8, "supervise_frames": True, "dropout": 0.0}
    clips = {"frames": 4, "size": [32, 48], "target": "last"}
    table = {"name": "t", "architecture": "stan", "config": config, "batch": 1, "clips": clips, "precision": "float32"}
    recipe = recipe_from_dict(table | {"loss": {"terms": {"cross-entropy": 1.0}, "scales": [1.0, 0.5]}}, "test")
    torch.manual_seed(0)
    stepper = Stepper(build("stan", **config), recipe, torch.device("cpu"), "float32")
    clip = torch.randint(0, 256, (1, 3, 4, 32, 48), dtype=torch.uint8)
    priors = {"motion": torch.rand(1, 1, 4, 32, 48)}
    yes, no = torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, dtype=torch.bool)

    def loss(target, labelled):
        batch = (clip, target, priors, torch.zeros(1, dtype=torch.bool), no, labelled)
        return float(stepper.loss(stepper._alone, batch).detach())

    target = torch.zeros(1, 1, 4, 32, 48, dtype=torch.uint8)
    first, last = target.clone(), target.clone()
    first[:, :, 0], last[:, :, -1] = 255, 255
    base = loss(target, yes)
    # An output near zero pays log 2 a pixel either way; a mask turned over moves the loss through logits alone.
    assert loss(first, yes) != base and loss(last, yes) != base
    unlabelled = yes.clone()
    unlabelled[:, 0] = False
    assert loss(first, unlabelled) == loss(target, unlabelled)
