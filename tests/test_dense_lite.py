"""SCNN and STAN with the small encoder: it sees frames as EfficientNet-Lite does, and priors count nothing at first."""

import numpy as np
import pytest
import torch

from test_separated import lite_weights
from vsalient import models
from vsalient.engine import Engine
from vsalient.errors import CheckpointError, OptionError
from vsalient.models.dense_lite import DenseLite
from vsalient.models.lite_encoder import EfficientNetLite
from vsalient.models.network import describe
from vsalient.priors.motion import MotionPrior
from vsalient.priors.superpixels import flow_superpixels
from vsalient.training.optimiser import freeze, training_mode
from vsalient.training.recipe import recipe_from_dict

CONFIGS = {
    "scnn": {"encoder": "lite0", "branches": [2, 3, 4, 5, 6], "supervise_spatial": True},
    "stan": {"encoder": "lite0", "width": 0.0625, "refine_stride": 4, "batch_norm": True, "supervise_frames": True},
}


def test_features_are_the_encoder_s_and_a_prior_counts_nothing_at_first() -> None:
    weights = lite_weights()
    plain, trunk = EfficientNetLite().eval(), DenseLite(priors=1).eval()
    plain.load_state_dict({k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")})
    trunk.load_state_dict(trunk.convert(weights), strict=False)
    frames = torch.rand(2, 4, 64, 96)
    with torch.no_grad():
        found, taps = trunk(frames), plain(frames[:, :3])
    assert tuple(x.shape[1] for x in found) == trunk.channels
    assert [x.shape[2] for x in found] == [32, 32, 16, 8, 8, 8]
    for mine, theirs in zip(found[1:4], taps, strict=False):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        trunk.first.weight[:, 3] = 0.1
        assert not torch.allclose(trunk(frames)[3], found[3], atol=1e-3)


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_both_trunks_begin_with_the_given_weights_and_have_a_rate_of_their_own(architecture: str) -> None:
    network = models.build(architecture, **CONFIGS[architecture])
    load, weights = describe(network).load_encoder, lite_weights()
    assert load is not None
    load(weights)
    second = {"scnn": "guided", "stan": "temporal"}[architecture]
    stem = weights["encoder.stem.conv.weight"]
    assert torch.equal(network.get_parameter("spatial.vgg.encoder.stem.conv.weight"), stem)
    wider = network.get_parameter(f"{second}.vgg.encoder.stem.conv.weight")
    assert torch.equal(wider[:, :3], stem) and not wider[:, 3:].any()
    table = {"name": "x", "architecture": architecture, "config": CONFIGS[architecture], "freeze_norm": "encoder",
             "optimiser": {"frozen": ["spatial.vgg.encoder.stem."]}}  # fmt: skip
    recipe = recipe_from_dict(table, "test")
    groups = freeze(network, recipe)
    trunks = [n for n, _ in network.named_parameters() if ".vgg.encoder." in n]
    assert len(groups["encoder"]) == len(trunks) - 3  # one convolution and its norm's two
    training_mode(network, recipe)
    assert not any(m.training for n, m in network.named_modules() if n.endswith("vgg.encoder.stem.norm"))
    clip, prior = torch.rand(2, 3, 4, 64, 96), torch.rand(2, 1, 4, 64, 96)
    outputs = describe(network).training_outputs(clip, motion=prior)
    torch.stack([x.float().mean() for x in outputs]).sum().backward()  # type: ignore[no-untyped-call]
    gradient = wider.grad
    assert gradient is not None and gradient[:, 3].abs().sum() > 0


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
def test_the_engine_gives_what_the_network_gives(architecture: str) -> None:
    torch.manual_seed(0)
    network = models.build(architecture, **CONFIGS[architecture])
    load = describe(network).load_encoder
    assert load is not None
    load(lite_weights())
    network.eval()
    frames = [torch.randint(0, 256, (3, 48, 72), dtype=torch.uint8) for _ in range(4)]  # multiples of 8, as with VGG
    prior = [torch.rand(1, 48, 72) for _ in range(4)]
    with torch.no_grad():
        logits = describe(network).forward(
            torch.stack(frames, 1)[None].float() / 255, motion=torch.stack(prior, 1)[None]
        )
        expected = describe(network).probability(logits)[0].numpy()
    answer = Engine(network, device="cpu", dtype="float32", multiple=8).run(frames, range(4), priors={"motion": prior})
    np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_bad_encoders_are_one_line() -> None:
    with pytest.raises(OptionError, match="encoder 'lite9' is unknown"):
        models.build("stan", encoder="lite9")
    load = describe(models.build("scnn", encoder="lite0")).load_encoder
    assert load is not None
    weights = lite_weights()
    del weights["encoder.stem.norm.bias"]
    with pytest.raises(CheckpointError, match="not a whole EfficientNet-Lite"):
        load(weights)


def test_some_segmentations_of_the_motion_prior() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 96, 3), np.uint8)
    flow = np.zeros((64, 96, 2), np.float32)
    flow[20:40, 30:60] = 4
    each = [MotionPrior(levels=[level])(pixels, flow) for level in range(3)]
    np.testing.assert_allclose(np.mean(each, axis=0), MotionPrior()(pixels, flow), atol=1e-5)
    assert len(flow_superpixels(flow)) == 3
