"""Devices without a card: mixed devices found, a device that fails where one likes, errors in every wording."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from test_planar import SMALL, build
from vsalient import devices
from vsalient.engine import Engine, TorchRunner, choose, failures, layout, policy, torch_runner, trust
from vsalient.errors import DeviceError
from vsalient.models.network import Network, Running, describe

CPU, CUDA, CARD = torch.device("cpu"), torch.device("cuda", 0), torch.device("meta")


# ---- a stand-in for a card: tensors without values on a device that is not the CPU


class OneDevice(TorchDispatchMode):
    """Raises where an operation mixes devices, as CUDA does; PyTorch's own meta kernels look at some of them only."""

    MOVES = ("aten._to_copy", "aten.copy_", "aten.to.", "prim.device")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.dim()]
        if len({x.device for x in tensors}) > 1 and not str(func).startswith(self.MOVES):
            raise RuntimeError(f"{func} mixes devices: {[str(x.device) for x in tensors]}")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("architecture", SMALL)
def test_every_network_stays_on_its_device(
    architecture: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def noted(maps: Tensor) -> NDArray[np.float32]:
        seen.append(maps)
        return np.zeros(maps.shape, np.float32)

    monkeypatch.setattr(torch_runner, "to_numpy", noted)
    network, clip, priors = build(architecture)
    runner = TorchRunner(describe(network), CARD, dtype, kind="cuda")
    assert all(value.device == CARD for value in network.state_dict().values())
    assert all(value.device == CARD for value in network.buffers())
    engine = Engine(runner, flip=True)
    frames = list((clip[0] * 255).to(torch.uint8).transpose(0, 1))
    given = {name: list(values[0].transpose(0, 1)) for name, values in priors.items()}
    with OneDevice():
        for start in (0, 1):  # the second clip takes frames from the cache
            engine.run(frames, range(start, start + len(frames)), priors=given or None)
    assert len(seen) in (2, 4) and all(maps.device == CARD and maps.dtype == torch.float32 for maps in seen)


@pytest.mark.parametrize("architecture", SMALL)
def test_every_network_trains_on_its_device(architecture: str) -> None:
    network, clip, priors = build(architecture)
    network.train().to(CARD)
    with OneDevice():
        outputs = describe(network).training_outputs(clip.to(CARD), **{n: x.to(CARD) for n, x in priors.items()})
        torch.stack([output.square().mean() for output in outputs]).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.device == CARD for gradient in gradients)


@pytest.mark.parametrize("attribute", ["plain", "cat"])
def test_mixed_devices_are_found(attribute: str) -> None:
    class Mixed(nn.Module):
        def forward(self, clip: Tensor) -> Tensor:
            other = torch.rand(1, 1, 2, 8, 8)
            return clip[:, :1] * other if attribute == "plain" else torch.cat([clip, other], 1)

    runner = TorchRunner(describe(Mixed()), CARD, torch.float32, kind="cuda")
    with OneDevice(), pytest.raises(RuntimeError, match="device"):
        runner.whole(torch.zeros(1, 3, 2, 8, 8, dtype=torch.uint8), {})


# ---- a device that fails at an operation of one's choice


class Failing(TorchDispatchMode):
    """Raises at an operation, in one dtype or all."""

    def __init__(self, operation: str, error: Exception, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.operation, self.error, self.dtype = operation, error, dtype

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [x for x in args if isinstance(x, Tensor)]
        if self.operation in str(func) and (self.dtype is None or any(x.dtype == self.dtype for x in tensors)):
            raise self.error
        return func(*args, **(kwargs or {}))


class Pooled(nn.Module):
    running = Running(multiple=8)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1), bias=False), nn.BatchNorm3d(4))
        self.head = nn.Conv3d(4, 1, 1)

    def forward(self, clip: Tensor) -> Tensor:
        x = nn.functional.max_pool3d(self.body(clip).float(), (1, 2, 2))
        return self.head(nn.functional.interpolate(x, scale_factor=(1, 2, 2), mode="trilinear"))


class Card(choose.TorchRunner):
    """A runner whose device, in truth the CPU, fails as it is told when it is not the plain CPU's float32."""

    mode: TorchDispatchMode

    def whole(self, clip: Tensor, priors: Any) -> Any:
        with self.mode if self.kind != "cpu" else torch.no_grad():
            return super().whole(clip, priors)

    def __init__(self, *args: Any, **options: Any) -> None:
        self.kind = options["kind"]
        super().__init__(*args, **options)


def places(*kinds: str) -> list[choose.Place]:
    return [choose.Place(CPU, kind) for kind in kinds]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> type[Card]:
    monkeypatch.setattr(choose, "TorchRunner", Card)
    monkeypatch.setattr(devices, "cpu_bfloat16", lambda: "AMX")
    return Card


MISSING = NotImplementedError(
    "The operator 'aten::max_pool3d_with_indices' is not currently implemented for the MPS device."
)


def test_auto_falls_back_to_the_cpu_and_says_why(card: type[Card]) -> None:
    card.mode = Failing("max_pool3d", MISSING)
    runner = choose.first_sound(describe(Pooled()), places("mps", "cpu"), "float32")
    assert runner.kind == "cpu"
    assert "asked for; cpu lacks an operation in float32 (The operator 'aten::max_pool3d" in runner.description
    maps = runner.whole(torch.zeros(1, 3, 2, 16, 16, dtype=torch.uint8), {})
    assert np.isfinite(maps).all()


def test_auto_falls_back_to_float32_on_the_same_device(card: type[Card]) -> None:
    card.mode = Failing("max_pool3d", RuntimeError("\"max_pool3d\" not implemented for 'BFloat16'"), torch.bfloat16)

    class Reduced(Pooled):
        def forward(self, clip: Tensor) -> Tensor:
            x = nn.functional.max_pool3d(self.body(clip), (1, 2, 2))
            return self.head(nn.functional.interpolate(x.float(), scale_factor=(1, 2, 2), mode="trilinear"))

    runner = choose.first_sound(describe(Reduced()), places("cuda", "cpu"), "auto")
    assert (runner.kind, runner.dtype) == ("cuda", "float32")
    assert "in place of bfloat16; cpu lacks an operation in bfloat16" in runner.reason
    assert "self-check passed" in runner.reason


def test_a_device_that_was_asked_for_is_not_left(card: type[Card]) -> None:
    card.mode = Failing("max_pool3d", MISSING)
    with pytest.raises(DeviceError, match=r"lacks an operation in float32 .*max_pool3d.*; try ") as caught:
        choose.first_sound(describe(Pooled()), places("mps"), "float32")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors ..."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_float32_is_tried_too(card: type[Card], error: Exception) -> None:
    card.mode = Failing("conv", error)
    runner = choose.first_sound(describe(Pooled()), places("cuda", "cpu"), "auto")
    assert runner.kind == "cpu" and runner.description.count("; cpu ") >= 1


def test_wrong_numbers_are_found_and_not_used(card: type[Card]) -> None:
    class Wrong(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            return out.roll(3, -1) if "conv" in str(func) else out

    card.mode = Wrong()
    runner = choose.first_sound(describe(Pooled()), places("cuda", "cpu"), "float32")
    assert runner.kind == "cpu" and "fails the self-check in float32 (probabilities are off by" in runner.description
    with pytest.raises(DeviceError, match="fails the self-check"):
        choose.first_sound(describe(Pooled()), places("cuda"), "float32")


def test_our_own_mistakes_are_not_taken_for_the_devices(card: type[Card]) -> None:
    card.mode = Failing("max_pool3d", RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        choose.first_sound(describe(Pooled()), places("cuda", "cpu"), "float32")


def test_a_network_of_one_size_runs_without_the_trial() -> None:
    class Picky(Pooled):
        def forward(self, clip: Tensor) -> Tensor:
            assert clip.shape[3:] == (24, 24), "only 24"
            return super().forward(clip)

    runner = Engine(Picky(), device="cpu", dtype="bfloat16")
    assert runner.run(list(torch.zeros(2, 3, 24, 24, dtype=torch.uint8)), (0, 1)).shape == (2, 24, 24)


@pytest.mark.parametrize("architecture", SMALL)
def test_the_sample_suits_every_network_and_it_passes(architecture: str) -> None:
    network, _, _ = build(architecture)
    described = describe(network)
    clip, priors = trust.sample(described)
    expected = trust.reference(described, clip, priors)
    assert expected.isfinite().all() and clip.shape[2] <= 4
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, trust.TOLERANCES[torch.bfloat16])):
        runner = TorchRunner(copy.deepcopy(described), CPU, dtype)
        maps = runner.whole(clip, priors)
        assert trust.largest_error(torch.from_numpy(maps), expected, dtype) < tolerance


# ---- errors, in every wording

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, other allocations: 1 GB, max allowed: 9.07 GB)"),
    RuntimeError("Invalid buffer size: 12.50 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError(
        "[enforce fail at CPUAllocator.cpp:68] . DefaultCPUAllocator: not enough memory: you tried to allocate"
    ),
    RuntimeError("std::bad_alloc"),
    RuntimeError("could not allocate memory for a primitive"),
    RuntimeError("HIP out of memory. Tried to allocate 1.00 GiB"),
    MemoryError(),
]
LACKING = [
    MISSING,
    NotImplementedError("Could not run 'aten::slow_conv3d_forward' with arguments from the 'MPS' backend."),
    RuntimeError("\"avg_pool3d_out_frame\" not implemented for 'BFloat16'"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("Conv3D is not supported on MPS"),
    TypeError("BFloat16 is not supported on MPS"),
    TypeError("Trying to convert BFloat16 to the MPS backend but it does not have support for that dtype."),
    RuntimeError("cuDNN Frontend error: No valid execution plans built."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:30])
@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps"])
def test_out_of_memory_in_each_wording(error: Exception, device: str) -> None:
    problem = failures.explain(error, torch.device(device), "bfloat16", "a clip of 8 frames at 448x256")
    assert problem is not None
    end = "" if device == "cpu" else ", or device cpu"
    assert str(problem) == (
        f"{device} ran out of memory on a clip of 8 frames at 448x256; try a smaller size or shorter clips{end}"
    )


@pytest.mark.parametrize("error", LACKING, ids=lambda error: str(error)[:30])
def test_missing_operations_in_each_wording(error: Exception) -> None:
    for device, dtype, retry in (
        ("mps", "float32", "device cpu, or set PYTORCH_ENABLE_MPS_FALLBACK=1"),
        ("cuda:0", "float32", "device cpu"),
        ("cuda:0", "float16", "dtype float32"),
        ("cpu", "bfloat16", "dtype float32"),
    ):
        problem = failures.explain(error, torch.device(device), dtype, "a clip")
        assert problem is not None and f"{device} lacks an operation in {dtype} (" in str(problem)
        assert f"; try {retry}" in str(problem) and "\n" not in str(problem)


@pytest.mark.parametrize(
    "text", ["mat1 and mat2 shapes cannot be multiplied", "index 3 is out of range", "", "a memory"]
)
def test_other_errors_are_not_explained(text: str) -> None:
    assert failures.explain(RuntimeError(text), CPU, "float32", "a clip") is None


def test_a_broken_driver_is_one_line() -> None:
    error = RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for ...")
    problem = failures.explain(error, CUDA, "float32", "a clip")
    assert str(problem) == (
        "cuda:0 failed on a clip (CUDA error: an illegal memory access was encountered); try device cpu"
    )


def test_memory_is_given_back_after_it_ran_out() -> None:
    """What a failed clip holds (features, the traceback's tensors) is gone when the error reaches the caller."""
    import gc
    import weakref

    held: list[weakref.ref[Tensor]] = []

    class Greedy(nn.Module):
        def encode(self, frames: Tensor) -> tuple[Tensor, ...]:
            return (frames.clone(),)

        def decode(self, features: tuple[Tensor, ...]) -> Tensor:
            large = features[0] * 2
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

        def forward(self, clip: Tensor) -> Tensor:
            return clip[:, :1]

    engine = Engine(Greedy(), device="cpu", dtype="float32")
    with pytest.raises(DeviceError, match="ran out of memory on a clip of 2 frames"):
        engine.run(list(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)), (0, 1))
    gc.collect()
    assert held and held[0]() is None
    assert not engine._sides[0].features


def test_two_timed_clips_choose_the_layout(card: type[Card], monkeypatch: pytest.MonkeyPatch) -> None:
    card.mode = torch.no_grad()  # type: ignore[assignment]  # nothing fails
    network, _, _ = build("seg3dc")
    for seconds, reorder, words in (
        ([2.0, 1.0], False, "contiguous memory (2.0 times as fast"),
        ([1.0, 1.0], True, ""),
        ([1.0, 2.0], True, ""),
    ):
        times = iter(seconds)
        monkeypatch.setattr(layout, "_seconds", lambda runner, clip, priors, times=times: next(times))
        runner = choose.first_sound(describe(copy.deepcopy(network)), places("cuda"), "bfloat16")
        weight = runner._network.module.encoder.conv1.weight
        assert weight.is_contiguous() != reorder and words in runner.reason
        assert ("channels last" in runner.description) == reorder
        clip, priors = trust.sample(describe(network))
        assert np.isfinite(runner.whole(clip, priors)).all()
        assert len(runner._network.module.encoder.conv1._forward_pre_hooks) == 1


def test_every_kind_of_device_has_a_policy_and_a_reason() -> None:
    assert set(policy.POLICIES) == {"cpu", "cuda", "mps"}
    assert all(row.why for row in policy.POLICIES.values())
    assert policy.candidates()[-1] == CPU


def test_a_descriptor_is_copied_with_its_module() -> None:
    network = describe(build("lite3dc")[0])
    twin = copy.deepcopy(network)
    assert isinstance(twin, Network) and twin.module is not network.module
    assert twin.forward is twin.module and twin.encode.__self__ is twin.module  # type: ignore[union-attr]
