"""Training in several processes: who takes part, on which device, and how they agree."""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

from vsalient.devices import resolve_device
from vsalient.errors import DeviceError, OptionError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Processes:
    """One process among those that train one network.

    Attributes:
        device: where it trains.
        rank: its number; 0 writes the files.
        world: how many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    def any(self, flag: bool) -> bool:
        """Whether any process says so: all get the same answer, so that all stop at the same step."""
        if self.world == 1:
            return flag
        said = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return bool(said)

    def gather(self, value: Answer) -> list[Answer]:
        """What every process has, by rank."""
        if self.world == 1:
            return [value]
        values = [value] * self.world
        dist.all_gather_object(values, value)
        return values


def training_device(name: str) -> torch.device:
    """The device that `--device` means: "auto" is a CUDA GPU or else the CPU.

    Raises:
        OptionError: not a device's name.
        DeviceError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return resolve_device(name)


def default_workers(kind: str) -> int:
    """How many processes make clips for a kind of device: a GPU needs all there are, a CPU would lose its cores."""
    if kind == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1)


def join(device: str) -> Processes:
    """Join the processes that torchrun started; alone where it did not.

    Of several GPUs each process takes the one of its local rank, and makes it the current one before the group is
    made: pinned memory and collectives use the current device.

    Raises:
        OptionError: not a device's name, or a numbered GPU for several processes.
        DeviceError: the device is not there, or there are fewer GPUs than processes.
    """
    chosen = training_device(device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        if chosen.type == "cuda":
            chosen = torch.device("cuda", chosen.index if ":" in device else torch.cuda.current_device())
            torch.cuda.set_device(chosen)  # takes a device with its number only
        return Processes(chosen)
    if chosen.type == "cuda":
        if ":" in device:
            raise OptionError(f"--device {device}: several processes take a GPU each; use --device cuda")
        local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= count:
            raise DeviceError(f"process {local} has no GPU: this machine has {count}; start {count} processes here")
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        if chosen.type == "cuda":
            dist.init_process_group("nccl", device_id=chosen)
        else:
            dist.init_process_group("gloo")
    return Processes(chosen, dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Take the process group down, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
