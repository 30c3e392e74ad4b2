"""TF32 is off while a float32 network runs on CUDA, and what the program had is put back: settings need no card."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from vsalient.engine.precision import full_float32

CUDA = torch.device("cuda", 0)
KINDS: Any = torch.backends.cudnn

pytestmark = pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="PyTorch 2.9's names")


def settings() -> tuple[object, ...]:
    matmul: Any = torch.backends.cuda.matmul
    return matmul.fp32_precision, KINDS.conv.fp32_precision, torch.backends.cudnn.deterministic


@pytest.fixture(params=["highest", "high"])
def before(request: pytest.FixtureRequest) -> Iterator[tuple[object, ...]]:
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield settings()
    torch.set_float32_matmul_precision(usual)


def test_convolutions_and_products_are_full_within(before: tuple[object, ...]) -> None:
    with full_float32(CUDA):
        assert settings() == ("ieee", "ieee", before[2])
    assert settings() == before
    torch.get_float32_matmul_precision()  # raises where old and new settings disagree


def test_exact_is_deterministic_too(before: tuple[object, ...]) -> None:
    with full_float32(CUDA, deterministic=True):
        assert settings() == ("ieee", "ieee", True)
    assert settings() == before


def test_other_devices_are_left_alone(before: tuple[object, ...]) -> None:
    with full_float32(torch.device("cpu"), deterministic=True):
        assert settings() == before


def test_the_last_of_several_threads_puts_back(before: tuple[object, ...]) -> None:
    inside, leave, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        with full_float32(CUDA):
            inside.set()
            leave.wait(30)
            seen.append(settings())

    thread = threading.Thread(target=other)
    with full_float32(CUDA):
        thread.start()
        assert inside.wait(30)
    assert settings()[:2] == ("ieee", "ieee")  # the other one is still at work
    leave.set()
    thread.join()
    assert seen[0][:2] == ("ieee", "ieee") and settings() == before


def test_put_back_after_an_error(before: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="lost"), full_float32(CUDA):
        raise ValueError("lost")
    assert settings() == before
