"""Convolutions handed to oneDNN: the same values as PyTorch's own, for every network, and nothing loaded for it."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from test_planar import SMALL, build
from vsalient.engine import fold_batch_norms, onednn
from vsalient.engine.choose import open_torch
from vsalient.engine.place import place
from vsalient.models.lite_blocks import Conv3dNorm
from vsalient.models.lite_encoder import ConvNorm2d
from vsalient.models.network import describe
from vsalient.models.planar import PlanarConv3d, make_planar

pytestmark = pytest.mark.skipif(not onednn.possible(torch.float32), reason="this PyTorch has no oneDNN")


@pytest.mark.parametrize("architecture", SMALL)
def test_every_network_computes_the_same(architecture: str) -> None:
    network, clip, priors = build(architecture)
    with torch.inference_mode():
        expected = network(clip, **priors)
        fold_batch_norms(network)
        make_planar(network)
        convolutions = [m for m in network.modules() if type(m) in (nn.Conv2d, PlanarConv3d)]
        assert onednn.fuse(network, torch.float32, keep=True) == len(convolutions) > 0
        place(network, clip.device, torch.float32, reorder=True)
        for _ in range(2):  # with weights ordered now, and before
            got = network(clip, **priors)
            scale = float(expected.abs().max())
            torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_move_into_their_convolutions(dtype: torch.dtype) -> None:
    if not onednn.possible(dtype):
        pytest.skip("this CPU is slow in bfloat16")
    torch.manual_seed(0)
    blocks = [
        (ConvNorm2d(3, 8, 3, stride=2), torch.randn(1, 3, 12, 16)),
        (ConvNorm2d(8, 8, 3, groups=8, act=False), torch.randn(1, 8, 12, 16)),
        (Conv3dNorm(4, 8, (1, 3, 3)), torch.randn(1, 4, 3, 12, 16)),
        (Conv3dNorm(4, 8, (3, 3, 3)), torch.randn(1, 4, 3, 12, 16)),
        (Conv3dNorm(4, 8, (1, 1, 1)), torch.randn(1, 4, 1, 12, 16)),
    ]
    for block, x in blocks:
        block.eval()
        nn.init.normal_(block.conv.weight, std=3)
        plain = copy.deepcopy(block)
        fold_batch_norms(block)
        make_planar(block)
        onednn.fuse(block, dtype, keep=False)
        place(block, x.device, dtype, reorder=True)
        assert not block.act
        with torch.inference_mode():
            expected, got = plain(x), block(x.to(dtype)).float()
        assert plain.act == bool((expected == 0).any())
        if isinstance(block, ConvNorm2d) and plain.act:
            assert float(expected.max()) == 6
        torch.testing.assert_close(
            got, expected, rtol=1e-5 if dtype == torch.float32 else 0.03, atol=1e-4 if dtype == torch.float32 else 0.2
        )


def test_a_norm_that_stays_keeps_its_activation() -> None:
    block = ConvNorm2d(3, 8, 3).eval()
    onednn.fuse(block, torch.float32, keep=False)
    assert block.act
    assert block.conv.activation == "none"
    with torch.inference_mode():
        assert float(block(torch.randn(1, 3, 8, 8)).min()) >= 0


def test_frames_of_another_size_have_weights_of_their_own() -> None:
    block = ConvNorm2d(3, 8, 3).eval()
    fold_batch_norms(block)
    onednn.fuse(block, torch.float32, keep=True)
    with torch.inference_mode():
        for size in ((8, 8), (12, 20), (8, 8)):
            x = torch.randn(1, 3, *size)
            expected = F.relu6(F.conv2d(x, block.conv.weight, block.conv.bias, padding=1))
            torch.testing.assert_close(block(x), expected)
            assert [tuple(shape) for shape in block.conv.ordered] == [(1, 3, *size)]


def test_padding_that_is_not_zero_stays_pytorchs() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(4, 4, 3, padding="same"))
    assert onednn.fuse(network, torch.float32, keep=False) == 0


def test_an_operation_that_is_not_there_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "possible", lambda dtype: False)
    network, _, _ = build("lite3dc")
    open_torch(describe(network), device="cpu", dtype="float32")
    assert not any(isinstance(m, onednn.Fused2d | onednn.Fused3d) for m in network.modules())


def test_float16_is_left_alone() -> None:
    assert not onednn.possible(torch.float16)


def test_loading_a_model_does_not_load_pytorchs_compiler() -> None:
    code = (
        "import sys, vsalient\nvsalient.load_model('3dc-lite', device='cpu', engine='torch')\n"
        "sys.exit(' '.join(n for n in ('torch._dynamo', 'torch._inductor', 'sympy') if n in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
