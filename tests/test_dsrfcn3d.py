"""DSRFCN3D: shapes of Fig. 1, LRN and RCL3D against plain NumPy, gradients, ablations, import, a short
training.
"""

import numpy as np
import pytest
import torch

from moving_square import clip, grows_better
from vsalient.checkpoints import load_state_dict
from vsalient.engine import Engine
from vsalient.errors import CheckpointError, OptionError
from vsalient.models import build
from vsalient.models.dsrfcn3d import (
    ENCODER_LAYERS,
    MEAN,
    LocalResponseNorm,
    RecurrentConv3d,
    convert_checkpoint,
)


def test_full_size_shapes_at_every_layer():
    with torch.device("meta"):
        network = build("dsrfcn3d")
        features = network.encoder(torch.empty(1, 3, 4, 112, 112))
        outputs = network.decode(features)
    shapes = [tuple(f.shape[1:]) for f in features]
    assert shapes == [(64, 4, 112, 112), (128, 4, 56, 56), (256, 4, 28, 28), (512, 2, 14, 14), (512, 1, 7, 7)]
    assert [tuple(o.shape[1:]) for o in outputs] == [
        (1, 4, 112, 112),
        (256, 2, 14, 14),
        (128, 4, 28, 28),
        (64, 4, 56, 56),
        (32, 4, 112, 112),
    ]


def test_parameter_counts():
    def count(**config):
        with torch.device("meta"):
            return sum(p.numel() for p in build("dsrfcn3d", **config).parameters())

    with torch.device("meta"):
        encoder = sum(p.numel() for p in build("dsrfcn3d").encoder.parameters())
    # C3D's convolutions: 27 · in · out weights and `out` biases each.
    pairs = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)]
    assert encoder == sum(27 * i * o + o for i, o in pairs) == 27_655_936
    assert count() == 50_058_725
    assert count(recurrent=False) < count()
    assert count(temporal=False) < count() / 3
    assert count(deep_supervision=False) == count() - (256 + 128 + 64 + 32 + 4)
    assert 2 * count(width=0.25) <= 8e6, "dsrfcn3d-s must fit 8 MB in fp16"


@pytest.mark.parametrize("window", [1, 3, 4, 5, 9])
def test_lrn_is_equation_5(window):
    x = np.random.default_rng(0).normal(size=(2, 7, 2, 3, 3)).astype(np.float64) * 20
    alpha, beta, channels = 0.001, 0.75, x.shape[1]
    expected = np.empty_like(x)
    for c in range(channels):
        low, high = max(0, c - window // 2), min(channels - 1, c + window // 2)
        energy = (x[:, low : high + 1] ** 2).sum(axis=1)
        expected[:, c] = x[:, c] / (1 + alpha / window * energy) ** beta
    got = LocalResponseNorm(window)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    torchs = torch.nn.LocalResponseNorm(window, alpha, beta, 1.0)(torch.from_numpy(x)).numpy()
    assert np.allclose(torchs, expected) == (window % 2 == 1)


@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_lrn_has_the_gradient_of_equation_5(beta):
    torch.manual_seed(0)
    norm = LocalResponseNorm(5, alpha=0.3, beta=beta)
    x = (torch.randn(2, 7, 2, 3, 3, dtype=torch.float64) * 3).requires_grad_()
    assert torch.autograd.gradcheck(norm, (x,))
    with torch.no_grad():
        plain = norm(x)
    torch.testing.assert_close(norm(x), plain, rtol=1e-12, atol=0)


def convolve(x, weight):
    """Plain 3×3×3 convolution with zero padding of (C, T, H, W)."""
    out = np.zeros((weight.shape[0], *x.shape[1:]))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1)))
    for i in range(3):
        for j in range(3):
            for k in range(3):
                window = padded[:, i : i + x.shape[1], j : j + x.shape[2], k : k + x.shape[3]]
                out += np.einsum("oc,cthw->othw", weight[:, :, i, j, k], window)
    return out


def test_rcl3d_is_equations_3_to_5():
    torch.manual_seed(0)
    layer = RecurrentConv3d(3, 16).double()
    torch.nn.init.normal_(layer.feedforward.bias)
    x = torch.randn(1, 3, 2, 4, 5, dtype=torch.float64) * 5
    wf, wr = layer.feedforward.weight.detach().numpy(), layer.recurrent.weight.detach().numpy()
    b = layer.feedforward.bias.detach().numpy()
    state = np.zeros((16, 2, 4, 5))
    for _ in range(4):  # t = 0 has no state yet, then T = 3 steps
        z = convolve(x[0].numpy(), wf) + convolve(state, wr) + b[:, None, None, None]
        f = np.maximum(z, 0)
        # P = 16/8 + 1 = 3
        energy = np.stack([(f[max(0, c - 1) : c + 2] ** 2).sum(axis=0) for c in range(16)])
        state = f / (1 + 0.001 / 3 * energy) ** 0.75
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), state, rtol=1e-9, atol=1e-12)


def test_ablations_change_what_the_table_says():
    x = torch.rand(1, 3, 4, 32, 32)
    full = build("dsrfcn3d", width=0.125)
    assert len(full.training_outputs(x)) == 5
    assert len(build("dsrfcn3d", width=0.125, deep_supervision=False).training_outputs(x)) == 1
    assert build("dsrfcn3d", width=0.125, recurrent=False)(x).shape == (1, 1, 4, 32, 32)
    flat = build("dsrfcn3d", width=0.125, temporal=False).eval()
    swapped = x[:, :, [1, 0, 2, 3]]
    with torch.no_grad():
        # 2D filters see one frame at a time: swapping two frames swaps their maps and leaves the others.
        assert torch.allclose(flat(x)[:, :, [1, 0, 2, 3]], flat(swapped), atol=1e-6)
        assert not torch.allclose(full(x)[:, :, 2:], full(swapped)[:, :, 2:], atol=1e-6)


def test_every_output_reaches_its_own_weights():
    network = build("dsrfcn3d", width=0.125)
    for output in network.training_outputs(torch.rand(1, 3, 4, 32, 32)):
        assert output.shape == (1, 1, 4, 32, 32)
    for number in range(5):
        network.zero_grad()
        network.training_outputs(torch.rand(1, 3, 4, 32, 32))[number].square().mean().backward()
        touched = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert "encoder.scales.0.conv1a.weight" in touched
        assert ("predict.weight" in touched) == (number == 0)
        # Side output m depends on deconvolutions 0..m−1 and not on later ones.
        for stage in range(4):
            assert (f"deconvolutions.{stage}.weight" in touched) == (number == 0 or stage < number)


def test_wrong_sizes_are_named():
    network = build("dsrfcn3d", width=0.125)
    with pytest.raises(OptionError, match=r"4 frames of 40x32.*of 16 pixels"):
        network(torch.zeros(1, 3, 4, 32, 40))
    with pytest.raises(OptionError, match="multiple of 4 frames"):
        network(torch.zeros(1, 3, 3, 32, 32))


def foreign(style):
    """A C3D checkpoint's keys in one of the known layouts, each tensor of its true shape (meta) or small
    values.
    """
    generator = torch.Generator().manual_seed(1)
    state = {}
    with torch.device("meta"):
        network = build("dsrfcn3d")
    shapes = {k: v.shape for k, v in network.state_dict().items()}
    for scale, names in enumerate(ENCODER_LAYERS):
        for name in names:
            shape = shapes[f"encoder.scales.{scale}.{name}.weight"]
            real = name in ("conv1a", "conv2a")
            weight = torch.rand(shape, generator=generator) if real else torch.zeros(1).expand(shape)
            bias = torch.zeros(shape[0])
            if style == "openmmlab":
                state[f"backbone.{name}.conv.weight"], state[f"backbone.{name}.conv.bias"] = weight, bias
            elif style == "port":
                short = {"conv1a": "conv1", "conv2a": "conv2"}.get(name, name)
                state[f"{short}.weight"], state[f"{short}.bias"] = weight, bias
            else:
                state[f"{name}/0"], state[f"{name}/1"] = weight, bias.view(1, 1, 1, 1, -1)
    tail = {"openmmlab": "backbone.fc6.weight", "port": "fc6.weight", "caffe": "fc6-1/0"}[style]
    state[tail] = torch.zeros(2, 2)
    return state, shapes


@pytest.mark.parametrize("style", ["openmmlab", "port", "caffe"])
def test_published_c3d_layouts_convert_to_our_encoder(style):
    raw, shapes = foreign(style)
    converted = convert_checkpoint(raw)
    expected = {k: v for k, v in shapes.items() if k.startswith("encoder.")}
    assert {k: v.shape for k, v in converted.items()} == expected
    # conv1a on our normalised input gives what the original gives on 255·x − mean.
    x = torch.rand(1, 3, 2, 6, 6)
    weight = next(v for k, v in raw.items() if k.endswith(("weight", "/0")))
    mean = 255 * torch.tensor(MEAN).view(1, 3, 1, 1, 1)
    original = 255 * x - mean
    if style == "caffe":
        original = original.flip(1)  # Caffe's channels are blue, green, red
    want = torch.nn.functional.conv3d(original, weight, padding=1)
    with torch.device("meta"):
        normalise = build("dsrfcn3d", width=0.125).encoder.normalise
    ours = (x - torch.tensor(MEAN).view(1, 3, 1, 1, 1)) / 0.25
    assert normalise.get_buffer("std").shape == (3,)
    got = torch.nn.functional.conv3d(ours, converted["encoder.scales.0.conv1a.weight"], padding=1)
    assert torch.allclose(got, want, rtol=1e-4, atol=0.05)


def test_import_refuses_what_it_does_not_know():
    raw, _ = foreign("openmmlab")
    with pytest.raises(CheckpointError, match="layer1"):
        convert_checkpoint({**raw, "backbone.layer1.weight": torch.zeros(1)})
    del raw["backbone.conv4b.conv.bias"]
    with pytest.raises(CheckpointError, match="conv4b"):
        convert_checkpoint(raw)


def test_short_training_lowers_the_loss():
    torch.manual_seed(0)
    network = build("dsrfcn3d", width=0.125)
    frames, truth, _ = clip(4, 32)
    before, after = grows_better(network, (frames,), truth, steps=30, rate=3e-3)
    assert after < 0.5 * before
    probability = network.probability(network(frames))
    assert probability.shape == (1, 4, 32, 32)
    inside, outside = probability[truth[:, 0] > 0].mean(), probability[truth[:, 0] == 0].mean()
    assert inside > 2 * outside


def test_an_npz_of_caffe_blobs_starts_the_encoder(tmp_path):
    raw, _ = foreign("caffe")
    np.savez(tmp_path / "c3d.npz", **{key: value.numpy() for key, value in raw.items()})
    read = load_state_dict(tmp_path / "c3d.npz")
    assert {k: v.shape for k, v in read.items()} == {k: v.shape for k, v in raw.items()}
    with torch.device("meta"):
        network = build("dsrfcn3d")
    network = network.to_empty(device="cpu")
    network.load_encoder(read)
    want = convert_checkpoint(raw)["encoder.scales.1.conv2a.weight"]
    assert torch.equal(network.encoder.scales[1]["conv2a"].weight, want)
    with pytest.raises(CheckpointError, match="width 1 only"):
        build("dsrfcn3d", width=0.125).load_encoder(read)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_runs_in_the_engine(dtype):
    torch.manual_seed(0)
    network = build("dsrfcn3d", width=0.125).eval()
    frames = [torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8) for _ in range(4)]
    with torch.no_grad():
        want = network.probability(network(torch.stack(frames, 1)[None] / 255))[0].numpy()
    got = Engine(network, device="cpu", dtype=dtype).run(frames, range(4))
    np.testing.assert_allclose(got, want, atol=1e-5 if dtype == "float32" else 0.02)
