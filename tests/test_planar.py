"""3D convolutions as 2D ones over the frames: equal, for every network, and never PyTorch's slow path."""

import copy
import itertools
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from vsalient import models
from vsalient.engine import fold_batch_norms
from vsalient.models.planar import PlanarConv3d, conv3d, make_planar, planar, restore
from vsalient.models.planar import _by_frames as by_frames
from vsalient.models.seg3dc_decoder import VanillaConv3d

SMALL: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "lite3dc": ({"channels": (24, 24, 16, 16, 8), "motion": 8, "match": 8}, (4, 64, 96)),
    "seg3dc": ({"depths": (1, 1, 1, 1), "base_width": 8, "decoder_width": 16}, (8, 64, 96)),
    "dsrfcn3d": ({"width": 0.125}, (4, 48, 64)),
    "conv3dnet": ({"width": 0.125}, (3, 64, 64)),
    "scnn": ({"width": 0.125}, (1, 48, 64)),
    "stan": ({"width": 0.125}, (4, 48, 64)),
}
"""Architecture -> a small configuration, and frames, height and width of a clip that it takes."""


def build(architecture: str) -> tuple[nn.Module, Tensor, dict[str, Tensor]]:
    """A small network with weights that let values through, a clip and its priors."""
    config, (frames, height, width) = SMALL[architecture]
    torch.manual_seed(0)
    network = models.build(architecture, **config).eval()
    for parameter in network.parameters():  # layers that begin as the identity would hide what comes before them
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    clip = torch.rand(1, 3, frames, height, width)
    priors = {name: torch.rand(1, 1, frames, height, width) for name in getattr(network, "priors", ())}
    return network, clip, priors


class Backends(TorchDispatchMode):
    """Notes which implementation PyTorch chooses for each 3D convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default and args[0].dim() == 5:
            self.seen.append(str(torch._C._select_conv_backend(*args)))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_every_network_computes_the_same(architecture: str, layout: torch.memory_format) -> None:
    network, clip, priors = build(architecture)
    clip = clip.contiguous(memory_format=layout)
    keys = list(network.state_dict())
    with torch.inference_mode():
        expected = network(clip, **priors)
        with planar(network):
            assert list(network.state_dict()) == keys
            got = network(clip, **priors)
        again = network(clip, **priors)
    scale = float(expected.abs().max())
    assert scale > 1e-6
    torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-5)
    torch.testing.assert_close(again, expected, rtol=0, atol=0)


def test_default_network_is_off_the_slow_path_at_its_default_size() -> None:
    layer, x = nn.Conv3d(16, 1, (1, 3, 3)), torch.rand(1, 16, 8, 12, 20)
    network = models.build("lite3dc").eval()
    fold_batch_norms(network)
    make_planar(network)
    clip = torch.rand(1, 3, 8, 256, 448).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad(), Backends() as backends:
        layer(x)
        assert [name for name in backends.seen if "Slow3d" in name], "this test sees nothing"
        backends.seen.clear()
        network(clip)
    assert not [name for name in backends.seen if "Slow3d" in name]


CASES = list(
    itertools.product(
        (1, 5),
        ((1, 1, 1), (1, 3, 3), (3, 3, 3), (2, 3, 1), (5, 1, 3)),
        (1, (2, 1, 1), (1, 2, 2)),
        (0, 1, (2, 0, 1), "same"),
        (1, (2, 1, 1)),
    )
)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_function_equals_torchs_for_every_stride_padding_dilation_and_group() -> None:
    generator = torch.Generator().manual_seed(1)
    checked = 0
    for frames, kernel, stride, padding, dilation in CASES:
        x = torch.randn(1, 4, frames, 9, 8, generator=generator)
        weight = 0.2 * torch.randn(6, 4, *kernel, generator=generator)
        bias = torch.randn(6, generator=generator)
        try:
            expected = F.conv3d(x, weight, bias, stride, padding, dilation)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                conv3d(x, weight, bias, stride, padding, dilation)
            continue
        for form in (x, x.contiguous(memory_format=torch.channels_last_3d)):
            got = conv3d(form, weight, bias, stride, padding, dilation)
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
        checked += 1
    assert checked > 100
    torch.testing.assert_close(conv3d(x[0], weight, bias, 1, 2), F.conv3d(x[0], weight, bias, 1, 2))


@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular"])
def test_padding_that_is_not_zero(mode: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(4, 6, 3, padding=1, padding_mode=mode)
    x = torch.randn(1, 4, 5, 9, 8)
    expected = layer(x)
    make_planar(layer)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_the_same(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU(), nn.Conv3d(6, 4, 3, padding=1))
    ours = copy.deepcopy(plain)
    assert make_planar(ours) == 2
    x = torch.randn(1, 4, 4, 8, 10)
    gradients = []
    for network in (plain, ours):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = network(x).float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        gradients.append([parameter.grad for parameter in network.parameters()])
    for expected, got in zip(*gradients, strict=True):
        assert got is not None and got.dtype == torch.float32
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6 if dtype == torch.float32 else 0.02)


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("kernel", [3, 5])
def test_gradients_of_every_kernel_that_keeps_the_length(kernel: int, frames: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(3, 4, (kernel, 3, 3), stride=(1, 2, 1), padding=(kernel // 2, 1, 1), dtype=torch.float64)
    x = torch.randn(2, 3, frames, 5, 6, dtype=torch.float64).to(memory_format=torch.channels_last_3d).requires_grad_()
    expected = layer(x)
    weight = torch.randn_like(expected)
    inputs = (x, *layer.parameters())
    wanted = torch.autograd.grad(expected, inputs, weight)
    out = by_frames(x, layer.weight, layer.bias, (1, 2, 1), (kernel // 2, 1, 1), (1, 1, 1), 1)
    torch.testing.assert_close(out, expected)
    for got, want in zip(torch.autograd.grad(out, inputs, weight), wanted, strict=True):
        torch.testing.assert_close(got, want)


def test_bfloat16_training_keeps_one_frame_kernels_out_of_conv3d() -> None:
    """Their backward pass corrupts memory on AMX; the whole training step runs in a process of its own."""
    layer = nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1))
    make_planar(layer)
    with torch.autocast("cpu", torch.bfloat16), Backends() as backends:
        layer(torch.randn(2, 4, 4, 8, 10))
    assert backends.seen == []
    program = """
import torch
from vsalient.models.planar import make_planar
torch.manual_seed(0)
layers = torch.nn.Sequential(
    torch.nn.Conv3d(4, 16, (1, 3, 3), padding=(0, 1, 1)), torch.nn.ReLU(), torch.nn.Conv3d(16, 32, 1))
make_planar(layers)
for _ in range(8):
    with torch.autocast("cpu", torch.bfloat16):
        loss = layers(torch.randn(4, 4, 4, 56, 96)).square().mean()
    loss.backward()
print(all(p.grad.isfinite().all() for p in layers.parameters()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr[-500:]


def test_swap_keeps_the_module() -> None:
    bridge = VanillaConv3d(4, 6)
    weight, keys = bridge.weight, list(bridge.state_dict())
    assert make_planar(bridge) == 1
    assert make_planar(bridge) == 0
    assert isinstance(bridge, VanillaConv3d) and isinstance(bridge, PlanarConv3d)
    assert bridge.weight is weight and list(bridge.state_dict()) == keys
    restore(bridge)
    assert type(bridge) is VanillaConv3d
    layer = nn.Conv3d(2, 2, 1)
    make_planar(layer)
    assert isinstance(pickle.loads(pickle.dumps(layer)), PlanarConv3d)


def test_block_leaves_alone_what_was_changed_before() -> None:
    network = nn.Sequential(nn.Conv3d(2, 2, 1), nn.Conv3d(2, 2, 1))
    make_planar(network[0])
    with planar(network):
        assert all(isinstance(layer, PlanarConv3d) for layer in network)
    assert isinstance(network[0], PlanarConv3d)
    assert type(network[1]) is nn.Conv3d
