"""SCNN: shapes, the cascade's algebra, ablations, gradients, VGG-16 import, a short training."""

import pytest
import torch

from moving_square import clip, grows_better
from vsalient.engine import Engine
from vsalient.errors import CheckpointError, OptionError
from vsalient.models import build
from vsalient.models.scnn import FrameFeatures, convert_checkpoint
from vsalient.models.vgg import VGG_BLOCKS, DenseVGG, convert_vgg16


def test_full_size_shapes_at_every_block():
    with torch.device("meta"):
        network = build("scnn").eval()
        features = network.spatial.vgg(torch.empty(1, 3, 480, 856))
        guided = network.guided.vgg(torch.empty(1, 4, 480, 856))
        output = network(torch.empty(1, 3, 2, 480, 856), motion=torch.empty(1, 1, 2, 480, 856))
    expected = [(64, 480, 856), (128, 240, 428), (256, 120, 214)]
    expected += [(512, 60, 107), (512, 60, 107), (4096, 60, 107)]
    assert [tuple(f.shape[1:]) for f in features] == expected
    assert [tuple(f.shape[1:]) for f in guided] == expected
    assert output.shape == (1, 1, 2, 480, 856)


def test_parameter_counts():
    pairs, inputs = [], 3
    for channels, count in VGG_BLOCKS:
        for _ in range(count):
            pairs.append((inputs, channels))
            inputs = channels
    vgg = sum(9 * i * o + o for i, o in pairs)
    assert vgg == 14_714_688  # VGG-16's own count
    one = vgg + (512 * 4096 + 4096) + (4096 * 4096 + 4096) + (512 + 1) + (4096 + 1)
    with torch.device("meta"):
        assert sum(p.numel() for p in build("scnn", stage="spatial").parameters()) == one
        assert sum(p.numel() for p in build("scnn").parameters()) == 2 * one + 9 * 64 == 67_204_292
        assert 2 * sum(p.numel() for p in build("scnn", width=0.1875).parameters()) <= 8e6


def test_dilation_widens_block_5():
    vgg = DenseVGG(width=0.0625)
    assert [layer.dilation for block in vgg.blocks for layer in block] == [(1, 1)] * 10 + [(2, 2)] * 3 + [(1, 1)] * 2


def test_the_guide_is_the_product_of_both_priors():
    network = build("scnn", width=0.0625).eval()
    spatial, temporal = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    assert torch.equal(network.fuse(spatial, temporal), spatial * temporal)
    frames, motion = torch.rand(1, 3, 2, 16, 16), torch.rand(1, 1, 2, 16, 16)
    seen = []
    network.guided.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(frames, motion=motion)
        folded = frames.transpose(1, 2).flatten(0, 1)
        prior = torch.sigmoid(network.spatial(folded)) * motion.transpose(1, 2).flatten(0, 1)
    assert torch.allclose(seen[0], torch.cat([folded, prior], dim=1))


@pytest.mark.parametrize(
    ("config", "priors", "channels"),
    [
        ({}, ("motion",), 4),
        ({"fusion": "stack"}, ("motion",), 5),
        ({"fusion": "stack", "prior": "flow"}, ("flow",), 5),
        ({"fusion": "spatial"}, (), 4),
        ({"fusion": "temporal"}, ("motion",), 4),
        ({"branches": (1, 2, 3, 4, 5, 6)}, ("motion",), 4),
    ],
)
def test_ablations(config, priors, channels):
    network = build("scnn", width=0.0625, **config).eval()
    assert network.priors == priors
    assert network.guided.vgg.first.in_channels == channels
    given = {name: torch.rand(1, 1, 1, 16, 16) for name in priors}
    assert network(torch.rand(1, 3, 1, 16, 16), **given).shape == (1, 1, 1, 16, 16)


def test_the_first_network_alone():
    network = build("scnn", width=0.0625, stage="spatial").eval()
    frames = torch.rand(1, 3, 3, 16, 24)
    assert network.priors == ()
    assert network(frames).shape == (1, 1, 3, 16, 24)
    whole = build("scnn", width=0.0625)
    missing, unexpected = whole.load_state_dict(network.state_dict(), strict=False)
    assert unexpected == [] and all(key.startswith("guided.") for key in missing)


def test_errors_name_what_is_missing():
    with pytest.raises(OptionError, match="motion prior"):
        build("scnn", width=0.0625)(torch.rand(1, 3, 1, 16, 16))
    with pytest.raises(OptionError, match="fusion 'sum'"):
        build("scnn", fusion="sum")
    with pytest.raises(OptionError, match="stage 'second'"):
        build("scnn", stage="second")
    with pytest.raises(OptionError, match="branches"):
        build("scnn", width=0.0625, branches=(7,))


def test_gradients_reach_both_networks_through_the_product():
    network = build("scnn", width=0.0625, dropout=0.0, supervise_spatial=True)
    frames, motion = torch.rand(1, 3, 2, 16, 16), torch.rand(1, 1, 2, 16, 16)
    final, spatial = network.training_outputs(frames, motion)
    final.square().mean().backward(retain_graph=True)
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)
    network.zero_grad()
    spatial.square().mean().backward()
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in network.guided.parameters())
    assert len(build("scnn", width=0.0625).training_outputs(frames, motion)) == 1


def torchvision_vgg16():
    """Keys and shapes of torchvision's VGG-16, on the meta device but for fc6, whose values matter."""
    state, inputs, index = {}, 3, 0
    for channels, count in VGG_BLOCKS:
        for _ in range(count):
            state[f"features.{index}.weight"] = torch.empty(channels, inputs, 3, 3, device="meta")
            state[f"features.{index}.bias"] = torch.empty(channels, device="meta")
            inputs = channels
            index += 2
        index += 1
    for name, shape in {"0": (4096, 25088), "3": (4096, 4096), "6": (1000, 4096)}.items():
        state[f"classifier.{name}.weight"] = torch.empty(shape, device="meta")
        state[f"classifier.{name}.bias"] = torch.empty(shape[0], device="meta")
    return state


def test_vgg16_import_fills_both_networks():
    raw = torchvision_vgg16()
    assert "features.28.weight" in raw and "features.30.weight" not in raw
    converted = convert_checkpoint(raw)
    with torch.device("meta"):
        network = build("scnn")
    ours = {k: v.shape for k, v in network.state_dict().items()}
    assert {k: v.shape for k, v in converted.items()}.items() <= ours.items()
    fresh = sorted(set(ours) - set(converted))
    assert fresh == sorted(
        ["guided.vgg.blocks.0.0.bias", "guided.vgg.blocks.0.0.weight"]
        + [f"{n}.scores.{b}.{leaf}" for n in ("spatial", "guided") for b in (5, 6) for leaf in ("weight", "bias")]
    )
    with pytest.raises(CheckpointError, match="layer4"):
        convert_vgg16({**raw, "layer4.weight": torch.zeros(1)})
    del raw["features.10.bias"]
    with pytest.raises(CheckpointError, match="1 tensors are missing"):
        convert_vgg16(raw)


def test_fc6_keeps_its_answer_to_a_constant_map():
    raw = torchvision_vgg16()
    raw["classifier.0.weight"] = torch.rand(5, 25088)
    value = torch.rand(512)
    original = raw["classifier.0.weight"] @ value.repeat_interleave(49)
    ours = torch.nn.functional.conv2d(value.view(1, 512, 1, 1), convert_vgg16(raw)["blocks.5.0.weight"])
    assert torch.allclose(original, ours.flatten(), rtol=1e-4)


def test_deep_features_feed_the_superpixel_classifier():
    pixels = torch.randint(0, 256, (48, 80, 3), dtype=torch.uint8).numpy()
    network = build("scnn", width=0.0625)
    features = FrameFeatures(network, longest=40)(pixels)
    assert features.shape == (32, 3, 5) and features.dtype == "float32"
    assert FrameFeatures(network)(pixels).shape == (32, 6, 10)


def test_short_training_lowers_the_loss():
    torch.manual_seed(0)
    network = build("scnn", width=0.125, dropout=0.0)
    frames, truth, prior = clip(2, 48)
    before, after = grows_better(network, (frames, prior), truth, steps=15, rate=2e-3)
    assert after < 0.75 * before
    probability = network.probability(network(frames, prior))
    assert probability.shape == (1, 2, 48, 48)
    assert probability[truth[:, 0] > 0].mean() > probability[truth[:, 0] == 0].mean() + 0.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_runs_in_the_engine(dtype):
    torch.manual_seed(0)
    network = build("scnn", width=0.0625).eval()
    frame = torch.randint(0, 256, (3, 24, 32), dtype=torch.uint8)
    motion = torch.rand(1, 24, 32)
    with torch.no_grad():
        want = network.probability(network(frame[None, :, None] / 255, motion[None, :, None]))[0]
    got = Engine(network, device="cpu", dtype=dtype).run([frame], (7,), priors={"motion": [motion]})
    assert torch.allclose(torch.from_numpy(got), want, atol=1e-5 if dtype == "float32" else 0.02)
