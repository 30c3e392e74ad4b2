"""3DC-Seg and DSRFCN3D with the small encoder: it begins with each frame as EfficientNet-Lite sees it."""

import pytest
import torch

from vsalient import models
from vsalient.engine import fold_batch_norms
from vsalient.errors import CheckpointError, OptionError
from vsalient.models.lite_encoder import EfficientNetLite
from vsalient.models.network import describe
from vsalient.models.separated import SeparatedLite


def lite_weights() -> dict[str, torch.Tensor]:
    """A whole 3dc-lite's state dict as far as its encoder, with statistics that are not those of a fresh norm."""
    torch.manual_seed(0)
    plain = EfficientNetLite().train()
    for _ in range(2):
        plain(torch.rand(4, 3, 64, 64))
    return {f"encoder.{key}": value for key, value in plain.state_dict().items()} | {"head2.weight": torch.zeros(1)}


def test_inflated_encoder_sees_each_frame_as_the_classifier_of_stills() -> None:
    weights = lite_weights()
    plain = EfficientNetLite().eval()
    plain.load_state_dict({k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")})
    network = models.build("seg3dc", encoder="lite0", decoder_width=16).eval()
    load = describe(network).load_encoder
    assert load is not None
    load(weights)
    clip = torch.rand(1, 3, 8, 64, 96)
    with torch.no_grad():
        ours = network.get_submodule("encoder")(clip)
        theirs = plain(clip[0].transpose(0, 1))[1:]
    assert [tuple(x.shape[2:]) for x in ours] == [(8, 16, 24), (4, 8, 12), (2, 4, 6), (1, 2, 3)]
    for tap, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(mine[0].transpose(0, 1), other[:: 2**tap], rtol=1e-3, atol=1e-3)


def test_neighbouring_frames_are_seen_once_trained() -> None:
    encoder = SeparatedLite()
    clip = torch.rand(1, 3, 8, 64, 64, requires_grad=True)
    encoder.eval()
    (gradient,) = torch.autograd.grad(encoder(clip)[1][:, :, 2].sum(), clip)
    assert gradient[0, :, 4].abs().sum() > 0 and gradient[0, :, 3].abs().sum() > 0  # outputs 2 lies at frame 4


def test_a_clip_of_one_frame_and_training_outputs() -> None:
    network = models.build("seg3dc", encoder="lite0", decoder_width=16, batch_norm=True)
    with torch.autocast("cpu", torch.bfloat16):
        (output,) = describe(network).training_outputs(torch.rand(2, 3, 1, 64, 64))
    assert output.shape == (2, 1, 1, 64, 64)
    output.float().mean().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in network.parameters())


def test_norms_fold_away() -> None:
    torch.manual_seed(0)
    plain = models.build("seg3dc", encoder="lite0", decoder_width=16)
    network = models.build("seg3dc", encoder="lite0", decoder_width=16, batch_norm=True)
    network(torch.rand(1, 3, 4, 64, 64))
    network.eval()
    clip = torch.rand(1, 3, 4, 64, 64)
    with torch.no_grad():
        before = network(clip)
        fold_batch_norms(network)
        torch.testing.assert_close(network(clip), before, rtol=1e-3, atol=1e-3)
        fold_batch_norms(plain.eval())
    assert [p.shape for p in network.parameters()] == [p.shape for p in plain.parameters()]


def test_dsrfcn3d_takes_it_too() -> None:
    network = models.build("dsrfcn3d", width=0.125, encoder="lite0", batch_norm=True).eval()
    load = describe(network).load_encoder
    assert load is not None
    load(lite_weights())
    with torch.no_grad():
        outputs = describe(network).training_outputs(torch.rand(1, 3, 8, 64, 96))
    assert [tuple(x.shape) for x in outputs] == [(1, 1, 8, 64, 96)] * 5
    with pytest.raises(OptionError, match="multiple of 4 frames and of 32 pixels"):
        network(torch.rand(1, 3, 4, 48, 64))
    with pytest.raises(OptionError, match="known: c3d where temporal is false"):
        models.build("dsrfcn3d", encoder="lite0", temporal=False)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(OptionError, match="unknown encoder 'resnet'"):
        models.build("seg3dc", encoder="resnet")
    network = models.build("seg3dc", encoder="lite0", decoder_width=16)
    load = describe(network).load_encoder
    assert load is not None
    weights = lite_weights()
    with pytest.raises(CheckpointError, match="elsewhere"):
        load(weights | {"encoder.elsewhere.weight": torch.zeros(1)})
    del weights["encoder.stem.conv.weight"]
    with pytest.raises(CheckpointError, match=r"1 tensors are missing, first stem\.conv\.weight"):
        load(weights)
