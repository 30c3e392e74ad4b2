"""A newcomer's walk: how many functions of this project lie between a command and the network's `forward`."""

import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

import pytest
import torch

import tiny_model
from tiny_model import install, write_clip
from vsalient.cli.app import main

SOURCE = Path(__file__).resolve().parents[1] / "src" / "vsalient"
MOST = 10
"""The command, the batch around it, one input, maps into files; then the network's thread, the engine, PyTorch."""


def own(frames: list[FrameType]) -> list[str]:
    """This project's functions among them, outermost first; generator expressions and lambdas count as well."""
    found = []
    for frame in frames:
        path = Path(frame.f_code.co_filename)
        # workers.py is the hand-over between two threads: one step, counted below.
        if SOURCE in path.parents and path.name != "workers.py":
            found.append(f"{path.relative_to(SOURCE)}:{frame.f_code.co_name}")
    return found


def stack() -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_stack(sys._getframe(1))][::-1]


def test_from_the_command_to_the_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", 3)
    walks: list[tuple[list[str], str]] = []
    above: list[str] = []

    def started(thread: threading.Thread, *arguments: object, **options: object) -> None:
        # What stands on the stack of the one who starts the network's thread comes before what that thread does.
        if thread.name == "vsalient-model":
            above[:] = own(stack())
        start(thread)

    def forward(network: torch.nn.Module, clip: torch.Tensor) -> torch.Tensor:
        walks.append((own(stack()), threading.current_thread().name))
        return run(network, clip)

    start, run = threading.Thread.start, tiny_model.RedNet.forward
    monkeypatch.setattr(threading.Thread, "start", started)
    monkeypatch.setattr(tiny_model.RedNet, "forward", forward)
    with pytest.raises(SystemExit) as end:
        main(["predict", "clip.mp4", "-q"])
    assert end.value.code == 0
    walk = next(names for names, thread in walks if thread == "vsalient-model")
    begin = next(at for at, name in enumerate(above) if name.endswith(":command"))
    steps = [*above[begin:], "hand-over", *walk]
    assert len(steps) <= MOST, steps
