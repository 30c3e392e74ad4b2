"""What suits which kind of device, one row each, with the reason; and the order in which "auto" tries devices."""

from dataclasses import dataclass

import torch

from vsalient.devices import device_name


@dataclass(frozen=True, slots=True)
class Policy:
    """What suits a kind of device.

    Attributes:
        reorder: whether weights and inputs go channels last.
        why: the measurement or the document behind it.
    """

    reorder: bool
    why: str


POLICIES: dict[str, Policy] = {
    "cpu": Policy(True, "channels last: 1.3 to 1.6 times as fast for 3D ResNets on AVX-512, 10 times depthwise"),
    "cuda": Policy(
        True,
        "PyTorch's documentation: tensor cores want channels last; nobody has timed it here, and networks with "
        "depthwise 3D convolutions decide by two timed clips (layout.py)",
    ),
    "mps": Policy(False, "Metal's kernels take contiguous tensors and would copy others; nobody has timed it here"),
}
"""Kind of device -> policy. A row that nobody has timed says so."""


def candidates() -> list[torch.device]:
    """The devices that "auto" tries, best first; the CPU is always the last."""
    found = []
    if torch.cuda.is_available():
        found.append(torch.device("cuda"))
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return [*found, torch.device("cpu")]


def named(device: torch.device) -> str:
    """A device's name for people; its plain name where the driver does not answer."""
    try:
        return device_name(device)
    except (RuntimeError, AssertionError):
        return str(device)
