"""Lite3DC: shapes, counts, the correlation against its definition, the motion cue's signs, and a short training."""

import numpy as np
import pytest
import torch
from torch import nn

from vsalient import models
from vsalient.engine import Engine
from vsalient.errors import OptionError
from vsalient.models.lite import RESIDUAL_PRIORS, Lite3DC
from vsalient.models.lite_blocks import ClipAttention, MotionGate
from vsalient.models.lite_encoder import VARIANTS, EfficientNetLite, convert_lite_encoder
from vsalient.models.lite_motion import MotionCue, local_correlation
from vsalient.training.losses import deep_supervision

SMALL = {"channels": (16, 16, 8, 8, 8), "motion": 8, "match": 8, "residual": 4}


def lively(network: Lite3DC) -> Lite3DC:
    """The residual branch, which begins silent, given a voice."""
    with torch.no_grad():
        for layer in (network.residual.to4, network.residual.to8, network.residual.to16, network.residual.to32):
            layer.weight.normal_(0, 0.5)
    return network


@pytest.fixture
def small() -> Lite3DC:
    torch.manual_seed(0)
    return Lite3DC(**SMALL).eval()


def test_encoder_taps_have_the_strides_and_channels_of_efficientnet_lite0():
    taps = EfficientNetLite("lite0").eval()(torch.rand(2, 3, 64, 96))
    assert [tuple(t.shape) for t in taps] == [
        (2, 16, 32, 48),
        (2, 24, 16, 24),
        (2, 40, 8, 12),
        (2, 112, 4, 6),
        (2, 320, 2, 3),
    ]


def test_parameter_counts():
    with torch.device("meta"):
        encoder = {name: sum(p.numel() for p in EfficientNetLite(name).parameters()) for name in VARIANTS}
        whole = sum(p.numel() for p in Lite3DC().parameters())
    # The published classifier has 4,652,008 parameters, with its last convolution, norm and 1000-way layer.
    assert encoder["lite0"] == 4_652_008 - (1280 * 320 + 2 * 1280) - 1000 * 1281
    assert encoder["lite0"] < encoder["lite1"] < encoder["lite2"]
    assert whole == 5_179_461
    assert 2 * whole <= 12e6  # fp16 bytes


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
def test_forward_gives_a_logit_per_pixel_and_frame(small, frames):
    with torch.inference_mode():
        logits = small(torch.rand(2, 3, frames, 64, 96))
        probability = small.probability(logits)
    assert logits.shape == (2, 1, frames, 64, 96)
    assert probability.shape == (2, frames, 64, 96)
    assert probability.min() >= 0 and probability.max() <= 1


def test_training_outputs_are_finest_first(small):
    shapes = [tuple(x.shape[2:]) for x in small.training_outputs(torch.rand(1, 3, 2, 64, 96))]
    assert shapes == [(2, 64, 96), (2, 16, 24), (2, 8, 12), (2, 4, 6)]


def test_without_motion_cue(small):
    network = Lite3DC(channels=(16, 16, 8, 8, 8), motion=0, residual=0).eval()
    assert network.priors == ()
    assert network(torch.rand(1, 3, 2, 64, 64)).shape == (1, 1, 2, 64, 64)


def test_residual_motion_begins_silent_and_can_speak(small):
    clip, maps = torch.rand(1, 3, 3, 64, 96), {name: torch.rand(1, 1, 3, 64, 96) for name in RESIDUAL_PRIORS}
    without = Lite3DC(**{**SMALL, "residual": 0}).eval()
    without.load_state_dict({k: v for k, v in small.state_dict().items() if not k.startswith("residual.")})
    with torch.inference_mode():
        assert small.priors == RESIDUAL_PRIORS
        assert torch.equal(small(clip, **maps), without(clip))
        lively(small)
        assert not torch.allclose(small(clip, **maps), small(clip), atol=1e-3)
        still = {name: torch.zeros_like(values) for name, values in maps.items()}
        assert torch.equal(small(clip, **still), small(clip))  # a prior that is not given says that nothing moves
        names = list(RESIDUAL_PRIORS)
        swapped = {names[0]: maps[names[1]], names[1]: maps[names[0]]}
        assert not torch.allclose(small(clip, **maps), small(clip, **swapped), atol=1e-3)  # told apart by name


def test_residual_cue_keeps_frames_and_scales(small):
    sizes = [tuple(x.shape) for x in small.residual(torch.rand(2, 2, 3, 16, 24))]
    assert sizes == [(2, 8, 3, 16, 24), (2, 8, 3, 8, 12), (2, 16, 3, 4, 6), (2, 16, 3, 2, 3)]


def test_local_correlation_is_the_window_of_inner_products():
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 2, 3, 5, 7, generator=generator).unbind(0)
    radius_y, radius_x = 1, 2
    got = local_correlation(first, second, radius_y, radius_x)
    assert got.shape == (2, 5, 7, 15)
    for n in range(2):
        for dy in range(-radius_y, radius_y + 1):
            for dx in range(-radius_x, radius_x + 1):
                channel = (dy + radius_y) * (2 * radius_x + 1) + dx + radius_x
                for y in range(5):
                    for x in range(7):
                        inside = 0 <= y + dy < 5 and 0 <= x + dx < 7
                        expected = float(first[n, :, y, x] @ second[n, :, y + dy, x + dx]) if inside else 0.0
                        assert float(got[n, y, x, channel]) == pytest.approx(expected, abs=1e-5)


def test_displacement_points_from_the_first_frame_to_the_second():
    cue = MotionCue(4, 16, 8)
    generator = torch.Generator().manual_seed(2)
    first = nn.functional.normalize(torch.randn(1, 16, 12, 20, generator=generator), dim=1)
    second = torch.roll(first, shifts=(2, -3), dims=(2, 3))  # down by 2, left by 3
    scores = local_correlation(first, second, cue.radius_y, cue.radius_x)
    cue.temperature.data.fill_(20.0)
    flow = cue.displacement(scores)[0, 4:8, 8:12] * 4
    assert flow[..., 0].mean().item() == pytest.approx(2, abs=0.05)
    assert flow[..., 1].mean().item() == pytest.approx(-3, abs=0.05)


def test_motion_cue_is_nought_for_a_still_and_alive_for_a_clip(small):
    still = small.motion(torch.rand(1, 1, 8, 8, 8))
    assert still.abs().max() == 0
    clip = nn.functional.normalize(torch.rand(1, 3, 8, 8, 8), dim=2)
    assert small.motion(clip).abs().max() > 0


def test_clip_attention_starts_as_the_identity():
    x = torch.rand(1, 16, 2, 3, 4)
    assert torch.equal(ClipAttention(16)(x), x)


def test_encode_then_decode_is_forward(small):
    lively(small)
    clip, maps = torch.rand(1, 3, 4, 64, 64), {name: torch.rand(1, 1, 4, 64, 64) for name in RESIDUAL_PRIORS}
    with torch.inference_mode():
        features = small.encode(clip[0].transpose(0, 1), **{k: v[0].transpose(0, 1) for k, v in maps.items()})
        decoded = small.decode(tuple(f[None] for f in features))
        assert torch.allclose(decoded, small(clip, **maps), atol=1e-5)


@pytest.mark.parametrize("options", [{"dtype": "float32"}, {"exact": True}])
def test_engine_agrees_with_the_network(small, options):
    frames = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(5)]
    maps = {name: [torch.rand(1, 64, 64) for _ in range(5)] for name in RESIDUAL_PRIORS}
    lively(small)

    def part(start: int) -> tuple[list[torch.Tensor], dict[str, list[torch.Tensor]]]:
        return frames[start : start + 4], {name: values[start : start + 4] for name, values in maps.items()}

    def expect(start: int) -> np.ndarray:
        some, priors = part(start)
        stacked = {name: torch.stack(values, 1)[None] for name, values in priors.items()}
        return small.probability(small(torch.stack(some, 1)[None].float() / 255, **stacked))[0].numpy()

    with torch.inference_mode():
        expected, later = expect(0), expect(1)
    engine = Engine(small, device="cpu", **options)
    for start, answer in ((0, expected), (1, later)):
        some, priors = part(start)
        assert np.abs(engine.run(some, range(start, start + 4), priors=priors) - answer).max() < 1e-4


def test_convert_encoder_renames_every_key_of_the_published_layout():
    encoder = EfficientNetLite("lite1")
    state = encoder.state_dict()
    back = {"stem.conv.": "_conv_stem.", "stem.norm.": "_bn0."}
    inner = {"expand.conv": "_expand_conv", "expand.norm": "_bn0", "depthwise.conv": "_depthwise_conv"}
    inner |= {"depthwise.norm": "_bn1", "project.conv": "_project_conv", "project.norm": "_bn2"}
    number, raw, seen = -1, {}, None
    for key, value in state.items():
        if key.startswith("stem"):
            raw[back[key[:10]] + key[10:]] = value
            continue
        _, stage, block, part, kind, leaf = key.split(".")
        if (stage, block) != seen:
            number, seen = number + 1, (stage, block)
        raw[f"_blocks.{number}.{inner[f'{part}.{kind}']}.{leaf}"] = value
    raw |= {"_conv_head.weight": torch.zeros(1), "_bn1.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)}
    converted = convert_lite_encoder(raw, "lite1")
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[k], state[k]) for k in state)


def test_a_short_training_lowers_the_loss():
    torch.manual_seed(3)
    network = Lite3DC(**SMALL)
    clip, target = torch.rand(1, 3, 2, 64, 64) * 0.3, torch.zeros(1, 1, 2, 64, 64)
    clip[:, :, 0, 8:40, 8:40] += 0.7
    clip[:, :, 1, 8:40, 16:48] += 0.7
    target[:, :, 0, 8:40, 8:40] = 1
    target[:, :, 1, 8:40, 16:48] = 1
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = deep_supervision(network.training_outputs(clip), target, {"cross-entropy": 1.0, "iou": 1.0}, (1.0, 0.5))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None for n, p in network.named_parameters() if "attention.qkv" not in n)


GATED = {**SMALL, "separable": True, "gated": True, "priors": ("residual", "residual_speed", "residual")}


def test_gated_and_separable_network_costs_at_most_1_7_gmac_a_frame():
    from torch.utils.flop_counter import FlopCounterMode

    channels = {"channels": (64, 64, 48, 24, 16), "motion": 32, "residual": 12}
    with torch.device("meta"):
        network = Lite3DC(**channels, **{k: v for k, v in GATED.items() if k not in (*SMALL, "residual")}).eval()
        frames, prior = torch.empty(8, 3, 256, 448), torch.empty(8, 1, 256, 448)
        with torch.no_grad(), FlopCounterMode(display=False) as flops:
            features = network.encode(frames, **dict.fromkeys(network.priors, prior))
            encoder = flops.get_total_flops() / 2 / 8
            network.decode(tuple(x[None] for x in features))
            # Clips of 8 that overlap by one: 7 new frames each.
            decoder = (flops.get_total_flops() / 2 - 8 * encoder) / 7
    assert encoder + decoder <= 1.7e9


def test_gates_begin_as_a_sum_and_learn_to_distrust_motion():
    gate = MotionGate(4)
    looks, motion = torch.rand(2, 4, 3, 5, 6), torch.rand(2, 4, 3, 5, 6)
    assert torch.allclose(gate(looks, motion), looks + motion)
    with torch.no_grad():
        gate.clip.bias[4:] = -30.0
    assert torch.allclose(gate(looks, motion), looks, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 4])
def test_gated_network_gives_as_many_outputs_and_trains(frames):
    torch.manual_seed(0)
    network = Lite3DC(**GATED)
    maps = {name: torch.rand(2, 1, frames, 64, 64) for name in set(network.priors)}
    outputs = network.training_outputs(torch.rand(2, 3, frames, 64, 64), **maps)
    assert [tuple(x.shape[2:]) for x in outputs] == [(frames, s, s) for s in (64, 16, 8, 4)]
    sum(x.square().mean() for x in outputs).backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None]
    # A clip of one frame has no motion between frames to match.
    assert all(frames == 1 and n.startswith("motion.") for n in silent), silent


def test_a_still_in_training_sees_what_it_sees_at_inference(small):
    clip = torch.rand(2, 3, 1, 64, 96)
    training = small(clip)
    with torch.no_grad():
        assert torch.allclose(training, small(clip), atol=1e-5)


def test_grafted_gates_change_nothing_at_first_and_can_distrust_motion():
    torch.manual_seed(0)
    plain = models.build("lite3dc", **SMALL).eval()
    torch.nn.init.normal_(plain.residual.to8.weight)
    grafted = models.build("lite3dc", **SMALL, grafted=True).eval()
    assert not grafted.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    clip, maps = torch.rand(1, 3, 3, 64, 64), {name: torch.rand(1, 1, 3, 64, 64) for name in plain.priors}
    with torch.no_grad():
        before = plain(clip, **maps)
        assert torch.allclose(grafted(clip, **maps), before, atol=1e-5)
        torch.nn.init.constant_(grafted.gate8.clip.bias, -20.0)  # neither looks nor motion at s8
        grafted.refine8.side.fill_(1.0)
        assert not torch.allclose(grafted(clip, **maps), before, atol=1e-3)
    outputs = grafted.train().describe().training_outputs(clip, **maps)
    sum(output.mean() for output in outputs).backward()
    assert all(grafted.get_parameter(f"refine{scale}.side").grad.abs() > 0 for scale in (4, 8))


def test_gates_are_placed_in_one_way():
    with pytest.raises(OptionError, match="gated and grafted"):
        models.build("lite3dc", **SMALL, gated=True, grafted=True)
