import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from golden import make_seg3dc as tiny
from vsalient.errors import CheckpointError, OptionError
from vsalient.models import build
from vsalient.models.seg3dc import DROPPED_KEYS, Seg3DC, convert_checkpoint

VECTORS = Path(__file__).resolve().parents[2] / "shared" / "vectors"


def meta(**config: object) -> Seg3DC:
    with torch.device("meta"):
        return Seg3DC(**config)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_those_of_the_official_network() -> None:
    network = meta()
    assert count(network.encoder) == 28_883_968
    assert count(network.decoder) == 45_477_128 - 41_478
    assert count(network) == 74_319_618


def test_tap_shapes_are_those_of_the_official_network() -> None:
    taps = meta().to("meta").encoder(torch.empty(1, 3, 8, 480, 864, device="meta"))
    assert [tuple(tap.shape[1:]) for tap in taps] == [
        (256, 8, 120, 216),
        (512, 4, 60, 108),
        (1024, 2, 30, 54),
        (2048, 1, 15, 27),
    ]


def test_golden() -> None:
    with torch.inference_mode():
        logits = tiny.network()(tiny.clip().float() / 255)
    expected = np.load(tiny.GOLDEN)["logits"]
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(logits[..., ::2, ::2].numpy(), expected, atol=1e-4)


def test_weights_are_assigned_to_a_network_built_without_memory() -> None:
    network = meta(**tiny.TINY)
    network.load_state_dict(tiny.network().state_dict(), assign=True)
    with torch.inference_mode():
        logits = network.eval()(tiny.clip().float() / 255)
    np.testing.assert_allclose(logits[..., ::2, ::2].numpy(), np.load(tiny.GOLDEN)["logits"], atol=1e-4)


@pytest.mark.parametrize("frames", range(1, 10))
def test_any_clip_length(frames: int) -> None:
    with torch.inference_mode():
        logits = tiny.network()(tiny.clip(frames, 32, 32).float() / 255)
    assert logits.shape == (1, 2, frames, 32, 32)
    assert logits.isfinite().all()


@pytest.mark.parametrize("refinement", ["rf3d", "upsampling"])
@pytest.mark.parametrize("bridge", ["gc3d", "c3d", "nl3d", "aspp"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 32), (32, 160)])
def test_every_variant_on_odd_multiples_of_32(bridge: str, refinement: str, height: int, width: int) -> None:
    network = tiny.network(bridge=bridge, refinement=refinement)
    with torch.inference_mode():
        probability = network.probability(network(tiny.clip(2, height, width).float() / 255))
    assert probability.shape == (1, 2, height, width)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert probability.std() > 0


@pytest.mark.parametrize("bridge", ["gc3d", "c3d", "nl3d", "aspp"])
@pytest.mark.parametrize("refinement", ["rf3d", "upsampling"])
def test_every_parameter_gets_a_gradient(bridge: str, refinement: str) -> None:
    network = tiny.network(bridge=bridge, refinement=refinement).train()
    network(tiny.clip(4, 128, 96).repeat(2, 1, 1, 1, 1).float() / 255).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias right before a softmax over all keys shifts every score of a query alike: no gradient in theory.
    assert [name for name in without if name != "decoder.bridge.key.bias"] == []


def test_a_fresh_non_local_block_is_the_identity() -> None:
    bridge = Seg3DC(**tiny.TINY, bridge="nl3d").eval().decoder.bridge
    x = torch.randn(1, 256, 2, 3, 5)
    torch.testing.assert_close(bridge(x), bridge.reduce(x))


def test_probability_is_the_softmax_of_the_object_channel() -> None:
    logits = torch.tensor([0.0, np.log(3.0)]).view(1, 2, 1, 1, 1)
    assert Seg3DC.probability(logits).item() == pytest.approx(0.75)


@pytest.mark.parametrize("config", [{"bridge": "psp"}, {"refinement": "deconv"}, {"depth": 3}])
def test_unknown_configuration(config: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=str(next(iter(config.values())))):
        build("seg3dc", **{**tiny.TINY, **config})


def test_unknown_architecture() -> None:
    with pytest.raises(OptionError, match=r"'unet'.*seg3dc"):
        build("unet")


OFFICIAL = {
    "decoder.bridge.left": "decoders.0.GC.conv_l",
    "decoder.bridge.right": "decoders.0.GC.conv_r",
    "decoder.context.conv": "decoders.0.convG",
    "decoder.head": "decoders.0.pred2",
}
for scale in "234":
    OFFICIAL |= {
        f"decoder.refine{scale}.skip.": f"decoders.0.RF{scale}.convFS1.",
        f"decoder.refine{scale}.skip_pair.conv1": f"decoders.0.RF{scale}.convFS2",
        f"decoder.refine{scale}.skip_pair.conv2": f"decoders.0.RF{scale}.convFS3",
        f"decoder.refine{scale}.merge_pair.conv": f"decoders.0.RF{scale}.convMM",
    }


def official(prefix: str = "module.") -> dict[str, Tensor]:
    """The tiny network's tensors under official names, and what an official file has besides."""
    raw = {}
    for key, value in tiny.network().state_dict().items():
        begin = next((ours for ours in OFFICIAL if key.startswith(ours)), "")
        raw[prefix + (OFFICIAL[begin] if begin else "") + key.removeprefix(begin)] = value
    for dropped in DROPPED_KEYS:
        raw[f"{prefix}{dropped}bn1.weight" if dropped.endswith(".") else prefix + dropped] = torch.zeros(1)
    return raw


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_conversion_gives_every_tensor_back(prefix: str) -> None:
    network = tiny.network()
    converted = convert_checkpoint(official(prefix), network)
    assert converted.keys() == network.state_dict().keys()
    for key, value in network.state_dict().items():
        assert torch.equal(converted[key], value), key


def test_conversion_takes_the_first_batch_norm_that_the_official_code_uses() -> None:
    raw = official()
    assert not raw["module.encoder.resnet.bn1.weight"].any()  # the stale copy
    assert convert_checkpoint(raw, tiny.network())["encoder.bn1.weight"].all()


def test_conversion_without_batch_counts() -> None:
    raw = {key: value for key, value in official().items() if not key.endswith("num_batches_tracked")}
    network = tiny.network()
    network.load_state_dict(convert_checkpoint(raw, network), strict=True)


def test_conversion_strips_the_prefix_only_at_the_start() -> None:
    raw = official() | {"module.module.encoder.conv1.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"unknown keys: module\.module\.encoder\.conv1\.weight\."):
        convert_checkpoint(raw, tiny.network())


def test_conversion_names_what_does_not_fit() -> None:
    raw = official()
    del raw["module.encoder.layer3.1.bn2.running_var"], raw["module.decoders.0.pred2.bias"]
    raw["module.decoders.1.pred2.bias"] = torch.zeros(2)
    raw["module.decoders.0.GC.conv_l1.weight"] = torch.zeros(2, 3, 1, 7, 1)
    with pytest.raises(CheckpointError) as caught:
        convert_checkpoint(raw, tiny.network())
    for part in (
        "unknown keys: module.decoders.1.pred2.bias",
        "missing keys: encoder.layer3.1.bn2.running_var, decoder.head.bias",
        "wrong shapes: decoder.bridge.left1.weight (2, 3, 1, 7, 1), not (16, 256, 1, 7, 1)",
    ):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_conversion_of_something_else_stays_one_short_line() -> None:
    with pytest.raises(CheckpointError, match=r"unknown keys: .* and 46 more; missing keys: .* more\.") as caught:
        convert_checkpoint({f"backbone.{i}.weight": torch.zeros(1) for i in range(50)}, tiny.network())
    assert len(str(caught.value)) < 600


@pytest.fixture(scope="module")
def fill() -> Iterator[ModuleType]:
    if not VECTORS.is_dir():
        pytest.skip("needs the reference vectors beside the project")
    sys.path.insert(0, str(VECTORS))
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        import fill as module

        yield module
    finally:
        sys.path.remove(str(VECTORS))
        sys.dont_write_bytecode = bytecode


@pytest.fixture(scope="module")
def reference(fill: ModuleType) -> dict[str, Tensor]:
    """Taps, logits and probability of our network with the filled official state dict, strictly loaded."""
    raw: dict[str, Tensor] = {}
    for key, shape in json.loads((VECTORS / "3dc_seg_keys.json").read_text()).items():
        if key.startswith("encoder.resnet."):
            raw[f"module.{key}"] = torch.zeros(()).expand(shape)  # stale: taking one of these would show
        else:
            raw[f"module.{key}"] = torch.from_numpy(np.asarray(fill.tensor(key, tuple(shape))))
    network = meta()
    network.load_state_dict(convert_checkpoint(raw), strict=True, assign=True)
    network.eval()
    results: dict[str, Tensor] = {}
    network.encoder.register_forward_hook(
        lambda module, inputs, taps: results.update({f"r{i + 2}": tap.clone() for i, tap in enumerate(taps)})
    )
    with torch.inference_mode():
        results["logits"] = network(torch.from_numpy(fill.clip(128, 160)))
        results["probability"] = network.probability(results["logits"])
    return results


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["r2", "r3", "r4", "r5", "logits", "probability"])
def test_official_numbers(reference: dict[str, Tensor], name: str) -> None:
    expected = np.load(VECTORS / "3dc_seg_128x160.npz")[name]
    ours = reference[name][:, :8] if name.startswith("r") else reference[name]
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.shared
def test_official_feature_spread(reference: dict[str, Tensor]) -> None:
    expected = np.load(VECTORS / "3dc_seg_128x160.npz")["stds"]
    ours = [float(reference[name].double().std(unbiased=False)) for name in ("r2", "r3", "r4", "r5")]
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def as_vmz(name: str) -> str:
    """The encoder's key as VMZ writes it, on torchvision's VideoResNet."""
    if name.startswith(("conv1.", "bn1.")):
        return name.replace("conv1.", "stem.0.").replace("bn1.", "stem.1.")
    return re.sub(r"\.bn([123])\.", r".conv\1.1.", re.sub(r"\.conv([123])\.", r".conv\1.0.", name))


def as_mmaction(name: str) -> str:
    """The encoder's key as mmaction2 writes it."""
    if name.startswith(("conv1.", "bn1.")):
        return "backbone." + name.replace("conv1.", "conv1.conv.").replace("bn1.", "conv1.bn.")
    name = re.sub(r"\.conv([123])\.", r".conv\1.conv.", name)
    name = re.sub(r"\.bn([123])\.", r".conv\1.bn.", name).replace(".conv2.", ".conv2.0.")
    return "backbone." + name.replace("downsample.0.", "downsample.conv.").replace("downsample.1.", "downsample.bn.")


@pytest.mark.parametrize(
    ("layout", "head", "example"),
    [
        (as_vmz, "fc.weight", "layer1.0.conv2.1.running_var"),
        (as_mmaction, "cls_head.fc_cls.weight", "backbone.layer1.0.conv2.0.bn.running_var"),
        (lambda name: f"module.{name}", "module.fc.bias", "module.layer1.0.bn2.running_var"),
        (
            lambda name: f"module.encoder.{name}",
            "module.decoders.0.pred2.bias",
            "module.encoder.layer1.0.bn2.running_var",
        ),
    ],
    ids=["VMZ", "mmaction2", "3DC-Seg's ir-CSN", "official 3DC-Seg"],
)
def test_a_published_encoder_is_taken_under_each_of_its_names(layout, head: str, example: str) -> None:
    donor, network = tiny.network(), Seg3DC(**tiny.TINY)
    raw = {layout(k): v for k, v in donor.encoder.state_dict().items() if "num_batches" not in k}
    assert example in raw
    network.load_encoder({**raw, head: torch.zeros(400)})
    own = network.encoder.state_dict()
    assert all(torch.equal(own[k], v) for k, v in donor.encoder.state_dict().items() if "num_batches" not in k)
    with pytest.raises(CheckpointError, match=r"missing: layer1\.0\.bn2\.running_var"):
        network.load_encoder({k: v for k, v in raw.items() if k != example})


def test_an_encoder_that_does_not_fit_is_named() -> None:
    donor, network = tiny.network(), Seg3DC(**tiny.TINY)
    raw = {as_vmz(k): v for k, v in donor.encoder.state_dict().items()}
    ip = {**raw, "layer1.0.conv2.0.0.weight": torch.zeros(1)}  # an ip-CSN has one convolution more
    with pytest.raises(CheckpointError, match=r"unknown keys: layer1\.0\.conv2\.0\.0\.weight\. Give an ir-CSN"):
        network.load_encoder(ip)
    wide = Seg3DC(**{**tiny.TINY, "base_width": 16})
    with pytest.raises(CheckpointError, match=r"other shapes: stem\.0\.weight \(8, 3, 3, 7, 7\), not \(16"):
        wide.load_encoder(raw)


def test_the_official_files_stale_copy_of_the_encoder_is_not_taken() -> None:
    network = Seg3DC(**tiny.TINY)
    network.load_encoder(dict(reversed(official().items())))
    assert network.encoder.bn1.weight.all()
    network.load_encoder(official())
    assert network.encoder.bn1.weight.all()
