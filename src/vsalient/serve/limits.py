"""What a service allows, and what a job may ask for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vsalient.errors import OptionError

SERVED_KINDS = {
    "predict": ("video", "mask-video", "overlay", "heatmap", "alpha", "foreground", "maps", "masks"),
    "segment": ("masks", "overlay", "alpha", "csv", "json", "coco"),
}
"""Verb -> the kinds of output that a job may ask for."""
THRESHOLD = re.compile(r"adaptive|otsu|0?\.\d{1,6}")
SECONDS = re.compile(r"\d{1,6}(\.\d{1,3})?")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one service accepts.

    Attributes:
        upload: bytes of one video.
        seconds: length of one video.
        frames: of one video; what the container says of itself is never relied upon.
        pixels: width times height.
        work: seconds that one job may take.
        memory: bytes that a child may allocate.
        jobs: children at work side by side.
        queued: jobs that may wait.
        stored: bytes of uploads and outputs together.
        idle: seconds an upload may pause.
        transfer: seconds an upload may take in all.
        keep: seconds that a finished job's files are kept.
    """

    upload: int = 2 << 30
    seconds: float = 600.0
    frames: int = 40_000
    pixels: int = 3840 * 2160
    work: float = 3600.0
    memory: int = 8 << 30
    jobs: int = 1
    queued: int = 1000
    stored: int = 50 << 30
    idle: float = 20.0
    transfer: float = 1800.0
    keep: float = 24 * 3600.0


def job_arguments(asked: Mapping[str, str], models: frozenset[str]) -> list[str]:
    """The command line of a job: nothing but known options with checked values gets into it.

    Args:
        asked: verb, write, model, threshold, start, end, as a request has them.
        models: the names that may be asked for; never a file, never code.

    Raises:
        OptionError: an unknown field or a value that is not allowed.
    """
    unknown = sorted(set(asked) - {"verb", "write", "model", "threshold", "start", "end", "name"})
    if unknown:
        raise OptionError(
            f"field '{unknown[0][:40]}' is unknown: give verb, write, model, threshold, start, end or name"
        )
    verb = asked.get("verb") or "predict"
    if verb not in SERVED_KINDS:
        raise OptionError(f"verb '{verb[:40]}' is unknown: choose {' or '.join(SERVED_KINDS)}")
    arguments = [verb]
    kinds = [kind for kind in (asked.get("write") or SERVED_KINDS[verb][0]).split(",") if kind]
    for kind in kinds:
        if kind not in SERVED_KINDS[verb]:
            raise OptionError(f"write '{kind[:40]}' is unknown for {verb}: choose from {', '.join(SERVED_KINDS[verb])}")
    arguments += ["--write", ",".join(dict.fromkeys(kinds))]
    for name, pattern in (("threshold", THRESHOLD), ("start", SECONDS), ("end", SECONDS)):
        if value := asked.get(name):
            if not pattern.fullmatch(value):
                raise OptionError(f"{name} '{value[:40]}' is not allowed")
            arguments += [f"--{name}", value]
    if model := asked.get("model"):
        if not NAME.fullmatch(model) or model not in models:
            raise OptionError(f"model '{model[:40]}' is not offered here: choose from {', '.join(sorted(models))}")
        arguments += ["--model", model]
    return arguments
