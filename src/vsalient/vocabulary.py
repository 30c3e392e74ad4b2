"""The words that parts of the package and the registry share: tails, geometries, dtypes, devices, protocols, priors."""

import re
from typing import Literal, get_args

DEFAULT_MODEL = "3dc-lite"

Tail = Literal["shift", "repeat-first", "repeat-last", "centred", "causal"]
"""What happens where frames run out; `vsalient.clips` explains each."""
TAILS: tuple[Tail, ...] = get_args(Tail)
PER_FRAME_TAILS: tuple[Tail, ...] = ("centred", "causal")
"""Those with one clip a frame."""

GEOMETRY = re.compile(r"(native)|(short):([1-9]\d*)|(exact|area):([1-9]\d*)x([1-9]\d*)")
"""How a frame's size becomes the network's; `vsalient.transforms` explains each form."""
GEOMETRY_FORMS = "native, short:480, exact:112x112 or area:256x448 (height x width)"

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
DTYPE_NAMES: tuple[DtypeName, ...] = get_args(DtypeName)
EngineName = Literal["auto", "torch", "openvino"]
"""The library that computes."""
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DEVICE_FORMS = "auto, cpu, cuda, cuda:N, mps"

Protocol = Literal["default", "paper"]
"""Whose procedure a network is run by: ours, or that of the model's authors."""
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

Cuts = Literal["auto", "off"]
"""Whether each scene between hard cuts is a sequence of its own."""
CUTS: tuple[Cuts, ...] = get_args(Cuts)

RESIDUAL = ("residual", "residual_speed", "residual_mean", "camera_share")
PRIORS: tuple[str, ...] = ("motion", "flow", *RESIDUAL)
"""Maps that a network may take beside the frame; `vsalient.priors.stream` explains each."""


def is_device_name(text: str) -> bool:
    """Whether this is the name of a device, there or not."""
    kind, colon, number = text.partition(":")
    return kind == "cuda" and number.isdecimal() if colon else text in ("auto", "cpu", "cuda", "mps")
