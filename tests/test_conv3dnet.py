"""Conv3DNet: shapes of the figure's 224×224 path, unpooling by index, gradients, a short training."""

import numpy as np
import pytest
import torch

from moving_square import clip, grows_better
from vsalient.engine import Engine
from vsalient.errors import OptionError
from vsalient.models import build
from vsalient.models.conv3dnet import middle_indices


def test_full_size_shapes_at_every_group():
    shapes = []
    with torch.device("meta"):
        network = build("conv3dnet")
        for group in (*network.encoder, *network.decoder):
            group.register_forward_hook(lambda _m, _i, o: shapes.append(tuple(o.shape[1:])))
        output = network(torch.empty(1, 3, 3, 224, 224))
    assert shapes == [
        (64, 3, 224, 224),
        (128, 3, 112, 112),
        (256, 3, 56, 56),
        (512, 3, 28, 28),
        (512, 2, 14, 14),
        (512, 1, 14, 14),
        (256, 1, 28, 28),
        (128, 1, 56, 56),
        (64, 1, 112, 112),
        (64, 1, 224, 224),
    ]
    assert output.shape == (1, 1, 1, 224, 224)


def test_the_encoder_ends_at_7x7():
    with torch.device("meta"):
        network = build("conv3dnet")
        x, kept = network.contract(torch.empty(1, 3, 3, 224, 224))
    assert x.shape == (1, 512, 1, 7, 7)
    assert [k.shape[2:] for k in kept] == [(1, s, s) for s in (112, 56, 28, 14, 7)]


def test_parameter_counts():
    def conv(i, o, taps):
        return taps * i * o + 2 * o  # weights, and scale and shift of the batch norm

    encoder = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
    decoder = [(512, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64), (64, 64)]
    encoder, decoder = encoder + [(512, 512)] * 5, [(512, 512)] * 5 + decoder
    with torch.device("meta"):
        network = build("conv3dnet")
        small = build("conv3dnet", width=0.25)
    total = sum(conv(*c, 27) for c in encoder) + sum(conv(*c, 9) for c in decoder) + 9 * 64 + 1
    assert sum(p.numel() for p in network.parameters()) == total == 56_533_249
    assert 2 * sum(p.numel() for p in small.parameters()) <= 8e6


@pytest.mark.parametrize(("stride", "frames", "slot"), [((1, 2, 2), 3, 1), ((2, 2, 2), 3, 0), ((2, 2, 2), 2, 0)])
def test_unpooling_puts_values_where_the_pooling_found_them(stride, frames, slot):
    x = torch.rand(1, 2, frames, 4, 6)
    pooled, indices = torch.nn.functional.max_pool3d(x, stride, stride, ceil_mode=True, return_indices=True)
    kept = middle_indices(indices, size=(4, 6), slot=slot)
    values = pooled[:, :, slot : slot + 1]
    got = torch.nn.functional.max_unpool3d(values, kept, (1, 2, 2))[:, :, 0].numpy()
    expected = np.zeros((1, 2, 4, 6), np.float32)
    first = slot * stride[0]
    block = x[:, :, first : first + stride[0]].numpy()
    for c in range(2):
        for y in range(2):
            for column in range(3):
                window = block[0, c, :, 2 * y : 2 * y + 2, 2 * column : 2 * column + 2]
                _, dy, dx = np.unravel_index(window.argmax(), window.shape)
                expected[0, c, 2 * y + dy, 2 * column + dx] = window.max()
    np.testing.assert_array_equal(got, expected)


def test_the_map_is_the_middle_frames_and_sees_its_neighbours():
    torch.manual_seed(0)
    network = build("conv3dnet", width=0.0625).eval()
    frames = torch.rand(1, 3, 3, 32, 32)
    with torch.no_grad():
        base = network(frames)
        for slot in range(3):
            other = frames.clone()
            other[:, :, slot] = torch.rand(1, 3, 32, 32)
            assert not torch.allclose(network(other), base)


def test_gradients_reach_every_weight():
    network = build("conv3dnet", width=0.0625)
    (output,) = network.training_outputs(torch.rand(2, 3, 3, 32, 64))
    assert output.shape == (2, 1, 1, 32, 64)
    (output - torch.rand_like(output)).square().mean().backward()
    untouched = [n for n, p in network.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert untouched == []


def test_probability_clamps():
    from vsalient.models.conv3dnet import Conv3DNet

    logits = torch.tensor([-1.0, 0.25, 7.0]).view(1, 1, 1, 1, 3)
    assert Conv3DNet.probability(logits).tolist() == [[[[0.0, 0.25, 1.0]]]]


def test_wrong_sizes_are_named():
    network = build("conv3dnet", width=0.0625)
    with pytest.raises(OptionError, match="4 frames of 32x32"):
        network(torch.zeros(1, 3, 4, 32, 32))
    with pytest.raises(OptionError, match="48x32"):
        network(torch.zeros(1, 3, 3, 32, 48))


def test_short_training_lowers_the_loss():
    torch.manual_seed(0)
    network = build("conv3dnet", width=0.125)
    frames, truth, _ = clip(3, 64)
    middle = truth[:, :, 1:2]
    before, after = grows_better(network, (frames,), middle, steps=12, rate=2e-3, squared=True)
    assert after < 0.6 * before
    constant = float((middle - middle.mean()).square().mean())
    assert after < constant


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_runs_in_the_engine_with_folded_norms(dtype):
    torch.manual_seed(0)
    network = build("conv3dnet", width=0.0625).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    frames = [torch.randint(0, 256, (3, 32, 64), dtype=torch.uint8) for _ in range(3)]
    with torch.no_grad():
        want = network.probability(network(torch.stack(frames, 1)[None] / 255))[0].numpy()
    engine = Engine(network, device="cpu", dtype=dtype)
    assert "24 batch norms folded" in engine.description
    got = engine.run(frames, (0, 0, 1), outputs=(1,))
    assert got.shape == (1, 32, 64)
    np.testing.assert_allclose(got, want, atol=1e-5 if dtype == "float32" else 0.05)
