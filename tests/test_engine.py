import os

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from golden import make_seg3dc as tiny
from vsalient import devices
from vsalient.devices import available_devices, cpu_bfloat16, resolve_device, self_check
from vsalient.engine import Engine, fold_batch_norms, trust
from vsalient.errors import DeviceError, OptionError

CPU = torch.device("cpu")


class PerFrame(nn.Module):
    """A network with a per-frame encoder that notes how often, and on how many frames, it ran."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fine = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.coarse = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.head = nn.Conv3d(10, 1, 3, padding=1)
        self.batches: list[int] = []

    def encode(self, frames: Tensor) -> tuple[Tensor, ...]:
        self.batches.append(len(frames))
        fine = self.fine(frames)
        return fine, self.coarse(fine)

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        fine, coarse = (level.transpose(1, 2) for level in features)
        return self.head(torch.cat([fine, coarse.repeat_interleave(2, 3).repeat_interleave(2, 4)], 1))

    def forward(self, clip: Tensor) -> Tensor:
        b, _, t = clip.shape[:3]
        features = self.encode(clip.transpose(1, 2).flatten(0, 1))
        return self.decode(tuple(level.unflatten(0, (b, t)) for level in features))

    def probability(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits[:, 0])


class Plain(nn.Module):
    """One convolution on the clip and its priors; `outputs` slots come out."""

    def __init__(self, outputs: slice = slice(None), priors: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(3 + len(priors), 1, 1)
        self.outputs, self.priors, self.runs = outputs, priors, 0

    def forward(self, clip: Tensor, **priors: Tensor) -> Tensor:
        self.runs += 1
        x = self.convolution(torch.cat([clip, *(priors[name] for name in self.priors)], 1))
        return x[:, :, self.outputs]

    def probability(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits[:, 0])


def video(count: int, height: int = 8, width: int = 12, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8))


def clip_of(frames: list[Tensor]) -> Tensor:
    return torch.stack(frames, 1)[None].float() / 255


def exact_maps(network: nn.Module, frames: list[Tensor]) -> np.ndarray:
    with torch.inference_mode():
        return network.eval().probability(network(clip_of(frames)))[0].numpy()


# ---- whole clips


def test_exact_engine_is_the_network_itself() -> None:
    frames = list(tiny.clip()[0].transpose(0, 1))
    maps = Engine(tiny.network(), device="cpu", exact=True).run(frames, range(4))
    assert maps.dtype == np.float32
    assert maps.shape == (4, 32, 64)
    np.testing.assert_array_equal(maps, exact_maps(tiny.network(), frames))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05), ("float16", 0.01)])
def test_fast_engine_stays_close(dtype: str, tolerance: float) -> None:
    frames = list(tiny.clip()[0].transpose(0, 1))
    maps = Engine(tiny.network(), device="cpu", dtype=dtype).run(frames, range(4))
    difference = np.abs(maps - exact_maps(tiny.network(), frames)).max()
    assert difference < tolerance
    assert (difference > 0) or dtype == "float32"


@pytest.mark.parametrize("bridge", ["nl3d", "aspp"])
def test_reduced_dtype_with_norms_that_cannot_be_folded(bridge: str) -> None:
    frames = list(tiny.clip()[0].transpose(0, 1))
    maps = Engine(tiny.network(bridge=bridge), device="cpu", dtype="bfloat16", fuse=False).run(frames, range(4))
    assert np.abs(maps - exact_maps(tiny.network(bridge=bridge), frames)).max() < 0.05


def test_constants_stay_float32_in_a_reduced_dtype() -> None:
    network = tiny.network()
    mean = network.encoder.mean.clone()
    Engine(network, device="cpu", dtype="bfloat16")
    assert torch.equal(network.encoder.mean, mean)
    assert network.encoder.conv1.weight.dtype == torch.bfloat16


def test_same_pixels_are_not_computed_twice() -> None:
    network, frames = Plain(), video(2)
    runner = Engine(network, device="cpu", dtype="float32")
    first = runner.run(frames, (0, 1))
    first_copy = first.copy()
    first[:] = -1  # the caller's to change
    np.testing.assert_array_equal(runner.run(frames, (5, 6)), first_copy)
    assert network.runs == 1
    runner.run(frames[::-1], (7, 8))
    assert network.runs == 2
    runner.reset()
    runner.run(frames[::-1], (7, 8))
    assert network.runs == 3


def test_outputs_choose_slots() -> None:
    frames = video(5)
    whole, middle = Plain(), Plain(outputs=slice(2, 3))
    middle.load_state_dict(whole.state_dict())
    maps = Engine(whole, device="cpu").run(frames, range(5))
    np.testing.assert_array_equal(Engine(whole, device="cpu").run(frames, range(5), outputs=[2]), maps[2:3])
    np.testing.assert_array_equal(Engine(middle, device="cpu").run(frames, range(5), outputs=[2]), maps[2:3])


def test_priors_reach_the_network() -> None:
    frames, motion = video(3), [torch.rand(1, 8, 12) for _ in range(3)]
    network = Plain(priors=("motion",))
    maps = Engine(network, device="cpu", dtype="float32").run(frames, range(3), priors={"motion": motion})
    expected = network.probability(network(clip_of(frames), motion=torch.stack(motion, 1)[None]))[0]
    np.testing.assert_allclose(maps, expected.detach().numpy(), atol=1e-6)
    with pytest.raises(OptionError, match="Plain needs the prior motion"):
        Engine(network, device="cpu").run(frames, range(3))


# ---- per-frame features


def test_each_frame_is_encoded_once() -> None:
    network, frames = PerFrame(), video(11)
    runner = Engine(network, device="cpu", dtype="float32")
    for start, frames_so_far in ((0, 5), (3, 8), (6, 11)):
        runner.run(frames[start : start + 5], range(start, start + 5))
        assert network.batches == [1] * frames_so_far  # one by one on a CPU


def test_cached_features_give_what_the_whole_clip_gives() -> None:
    frames = video(11)
    runner = Engine(PerFrame(), device="cpu", dtype="float32")
    for start in (0, 3, 6):
        maps = runner.run(frames[start : start + 5], range(start, start + 5))
        np.testing.assert_allclose(maps, exact_maps(PerFrame(), frames[start : start + 5]), atol=1e-5)


def test_repeated_frames_are_encoded_once() -> None:
    network, frames = PerFrame(), video(2)
    chosen = [0, 0, 0, 1]
    maps = Engine(network, device="cpu", dtype="float32").run([frames[i] for i in chosen], chosen, outputs=[3, 0])
    assert network.batches == [1, 1]
    expected = exact_maps(PerFrame(), [frames[i] for i in chosen])[[3, 0]]
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_features_do_not_pile_up() -> None:
    network, frames = PerFrame(), video(4)
    runner = Engine(network, device="cpu", dtype="float32")
    for start in range(0, 400, 2):
        runner.run(frames, range(start, start + 4))
        assert len(runner._sides[0].features) <= 4
    for start in range(1000, 1400):  # clips that never let go of the first frame
        runner.run(frames, (1000, start + 1, start + 2, start + 3))
        assert len(runner._sides[0].features) <= 16


def test_priors_are_encoded_with_their_frames() -> None:
    class Guided(PerFrame):
        priors = ("motion",)

        def encode(self, frames: Tensor, motion: Tensor) -> tuple[Tensor, ...]:
            return super().encode(frames * motion)

    network, frames, motion = Guided(), video(4), [torch.rand(1, 8, 12) for _ in range(4)]
    runner = Engine(network, device="cpu", dtype="float32")
    for start in (0, 1):
        chosen = range(start, start + 3)
        given = {"motion": [motion[i] for i in chosen]}
        maps = runner.run([frames[i] for i in chosen], chosen, priors=given)
    assert network.batches == [1] * 4
    masked = clip_of(frames[1:]) * torch.stack(motion[1:], 1)[None]
    plain = PerFrame().eval()
    with torch.inference_mode():
        expected = plain.probability(plain(masked))[0].numpy()
    np.testing.assert_allclose(maps, expected, atol=1e-5)


@pytest.mark.parametrize("network", [PerFrame, Plain])
def test_flip_is_the_mean_with_the_mirror_image(network: type[nn.Module]) -> None:
    torch.manual_seed(3)
    plain = network().eval()
    frames = video(5)
    expected = (exact_maps(plain, frames) + exact_maps(plain, [f.flip(-1) for f in frames])[..., ::-1]) / 2
    engine = Engine(plain, device="cpu", exact=True, flip=True)
    assert engine.run(frames, range(5)) == pytest.approx(expected, abs=1e-6)
    mirrored = engine.run([f.flip(-1) for f in frames], range(5, 10))
    assert mirrored[..., ::-1] == pytest.approx(expected, abs=1e-6)
    assert "mirrored too" in engine.description


def test_flip_keeps_the_features_of_both_sides_and_mirrors_priors() -> None:
    network = PerFrame()
    engine = Engine(network, device="cpu", exact=True, flip=True)
    frames = video(6)
    engine.run(frames[:4], range(4))
    engine.run(frames[2:], range(2, 6))
    assert network.batches == [4, 4, 2, 2]
    guided = Plain(priors=("motion",))
    engine = Engine(guided, device="cpu", exact=True, flip=True)
    motion = [torch.linspace(0, 1, 12).expand(1, 8, 12)] * 2
    maps = engine.run(video(2), range(2), priors={"motion": motion})
    flipped = engine.run([f.flip(-1) for f in video(2)], range(2, 4), priors={"motion": [m.flip(-1) for m in motion]})
    assert flipped[..., ::-1] == pytest.approx(maps, abs=1e-6)


def test_reset_forgets_the_video() -> None:
    runner = Engine(PerFrame(), device="cpu", dtype="float32")
    runner.run(video(3), range(3))
    runner.reset()
    other = video(3, seed=1)
    np.testing.assert_allclose(runner.run(other, range(3)), exact_maps(PerFrame(), other), atol=1e-5)


def test_another_frame_size_forgets_the_video() -> None:
    runner = Engine(PerFrame(), device="cpu", dtype="float32")
    runner.run(video(3), range(3))
    assert runner.run(video(3, 16, 16), range(3)).shape == (3, 16, 16)


# ---- folding


def spread(network: nn.Module) -> nn.Module:
    """Give batch norms statistics that matter."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)) and module.running_mean is not None:
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.2)
    return network.eval()


@pytest.mark.parametrize(
    ("layers", "folded", "shape"),
    [
        ([nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()], 1, (2, 3, 7, 9)),
        ([nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.BatchNorm2d(4, eps=1e-3)], 1, (2, 4, 7, 9)),
        ([nn.Conv3d(3, 8, (1, 3, 3)), nn.BatchNorm3d(8)], 1, (2, 3, 2, 7, 9)),
        ([nn.ConvTranspose3d(3, 8, 2, stride=2), nn.BatchNorm3d(8)], 1, (2, 3, 2, 4, 5)),
        ([nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)], 0, (2, 3, 7, 9)),
        ([nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3)], 0, (2, 3, 7, 9)),
        ([nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)], 0, (2, 3, 7, 9)),
    ],
)
def test_folding_changes_nothing_but_rounding(layers: list[nn.Module], folded: int, shape: tuple[int, ...]) -> None:
    network = spread(nn.Sequential(*layers))
    x = torch.randn(shape)
    with torch.inference_mode():
        before = network(x)
        assert fold_batch_norms(network) == folded
        torch.testing.assert_close(network(x), before, atol=1e-5, rtol=1e-5)


def test_every_batch_norm_of_3dc_seg_is_folded() -> None:
    network = tiny.network()
    norms = sum(isinstance(module, nn.BatchNorm3d) for module in network.modules())
    runner = Engine(network, device="cpu", dtype="float32")
    assert not any(isinstance(module, nn.BatchNorm3d) for module in network.modules())
    assert f"{norms} batch norms folded" in runner.description


def test_memory_format() -> None:
    network = tiny.network()
    Engine(network, device="cpu", dtype="float32")
    weight = network.decoder.head.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert not weight.is_contiguous()


# ---- devices and dtypes


def test_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        DeviceError, match=r"^device 'cuda:3' is not there; this machine has .*cpu; choose one, or auto$"
    ):
        Engine(Plain(), device="cuda:3")


def test_second_gpu_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    assert available_devices()[0] == "cuda:0"
    with pytest.raises(DeviceError, match="'cuda:1' is not there; this machine has cuda:0"):
        resolve_device("cuda:1")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:0", ""])
def test_unknown_device(name: str) -> None:
    with pytest.raises(OptionError, match="allowed: auto, cpu, cuda, cuda:N, mps"):
        resolve_device(name)


def test_unknown_dtype() -> None:
    with pytest.raises(OptionError, match="'int8'; allowed: auto, float32, bfloat16, float16"):
        Engine(Plain(), device="cpu", dtype="int8")


def test_exact_in_a_reduced_dtype_is_a_contradiction() -> None:
    with pytest.raises(OptionError, match="exact means float32, not bfloat16"):
        Engine(Plain(), device="cpu", dtype="bfloat16", exact=True)


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", "AVX512-BF16"),
        ("flags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n", "AMX"),
        ("flags\t\t: fpu avx2\n", None),
        ("Features\t: fp asimd bf16\n", None),
    ],
)
def test_cpu_flags(monkeypatch: pytest.MonkeyPatch, cpuinfo: str, expected: str | None) -> None:
    monkeypatch.setattr(devices.Path, "is_file", lambda path: True)
    monkeypatch.setattr(devices.Path, "read_text", lambda path, errors: cpuinfo)
    assert cpu_bfloat16() == expected


def test_auto_takes_float32_without_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cpu_bfloat16", lambda: None)
    runner = Engine(Plain(), device="cpu")
    assert runner.dtype == "float32"
    assert "float32: this CPU has neither AVX512-BF16 nor AMX" in runner.description
    assert "slow on this CPU" in Engine(Plain(), device="cpu", dtype="bfloat16").description


def test_auto_takes_bfloat16_only_after_the_self_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cpu_bfloat16", lambda: "AMX")
    runner = Engine(Plain(), device="cpu")
    assert runner.dtype == "bfloat16"
    assert "bfloat16: AMX, self-check passed (error 0." in runner.description
    monkeypatch.setitem(trust.TOLERANCES, torch.bfloat16, 0.0)
    runner = Engine(Plain(), device="cpu")
    assert runner.dtype == "float32"
    assert "float32: in place of bfloat16; cpu fails the self-check in bfloat16 (probabilities are off by 0." in (
        runner.description
    )
    with pytest.raises(DeviceError, match="fails the self-check in bfloat16"):
        Engine(Plain(), device="cpu", dtype="bfloat16")


def test_self_check_sees_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_check(CPU, torch.bfloat16) < devices.SELF_CHECK_TOLERANCE
    true = nn.functional.conv3d

    def broken(x: Tensor, *rest: object) -> Tensor:
        out = true(x, *rest)
        return out.roll(1, -1) if x.dtype == torch.bfloat16 else out

    monkeypatch.setattr(nn.functional, "conv3d", broken)
    assert self_check(CPU, torch.bfloat16) > devices.SELF_CHECK_TOLERANCE


def test_self_check_survives_a_missing_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*arguments: object) -> Tensor:
        raise RuntimeError("\"conv\" not implemented for 'BFloat16'")

    monkeypatch.setattr(nn.functional, "conv3d", absent)
    assert self_check(CPU, torch.bfloat16) == float("inf")


def failing(message: str) -> nn.Module:
    network = Plain()

    def fail(module: nn.Module, inputs: object) -> None:
        raise RuntimeError(message)

    network.register_forward_pre_hook(fail)
    return network


@pytest.mark.parametrize(
    ("message", "dtype", "expected"),
    [
        (
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes",
            "float32",
            r"ran out of memory on a clip of 2 frames at 12×8; try a smaller size or shorter clips$",
        ),
        ("\"avg_pool3d\" not implemented for 'BFloat16'\nmore", "bfloat16", r"not implemented.*; try dtype float32$"),
    ],
)
def test_failures_say_what_to_try(message: str, dtype: str, expected: str) -> None:
    with pytest.raises(DeviceError, match=expected) as caught:
        Engine(failing(message), device="cpu", dtype=dtype).run(video(2), range(2))
    assert "\n" not in str(caught.value)


def test_our_own_bugs_are_not_explained_away() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        Engine(failing("mat1 and mat2 shapes cannot be multiplied"), device="cpu").run(video(2), range(2))
    assert not isinstance(caught.value, DeviceError)


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "weights are broken"), ("bfloat16", "try dtype float32")])
def test_values_that_are_not_numbers(dtype: str, expected: str) -> None:
    network = Plain()
    nn.init.constant_(network.convolution.bias, float("nan"))
    with pytest.raises(DeviceError, match=expected):
        Engine(network, device="cpu", dtype=dtype).run(video(2), range(2))


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [("auto", 0.05), ("float16", 0.01), ("float32", 2e-3)])
def test_gpu_agrees_with_the_cpu(dtype: str, tolerance: float) -> None:
    if not torch.cuda.is_available():
        if os.environ.get("VSALIENT_REQUIRE_GPU"):
            pytest.fail("VSALIENT_REQUIRE_GPU is set, and there is no CUDA device")
        pytest.skip("needs a CUDA device")
    frames = list(tiny.clip()[0].transpose(0, 1))
    expected = exact_maps(tiny.network(), frames)
    maps = Engine(tiny.network(), device="cuda", dtype=dtype).run(frames, range(4))
    assert np.abs(maps - expected).max() < tolerance
    exact = Engine(tiny.network(), device="cuda", exact=True).run(frames, range(4))
    np.testing.assert_allclose(exact, expected, atol=1e-4)
