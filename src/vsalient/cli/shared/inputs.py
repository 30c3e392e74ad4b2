"""From what was typed to the videos and frame folders that are meant."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from vsalient.cli.shared.standard_input import read_inputs
from vsalient.errors import InputError
from vsalient.scale.agenda import Outcome
from vsalient.types import VideoInfo


def find_inputs(inputs: Sequence[str], *, keep_going: bool, quiet: bool = False) -> tuple[list[Path], list[Outcome]]:
    """Expand globs and folders; `-` stands for what comes on stdin: a film, or paths, one a line.

    Returns:
        The videos and frame folders, without repeats, and with `keep_going` the inputs that failed.

    Raises:
        InputError: an input is missing or holds no frames, and `keep_going` is off; or there is none at all.
    """
    from vsalient.media import find_sources

    if quiet:
        logging.getLogger("vsalient").setLevel(logging.ERROR)
    found: dict[Path, None] = {}
    failed: list[Outcome] = []
    for text in _with_stdin(inputs):
        try:
            if not text.strip():  # an unset variable of the shell; a path of no length would be the current folder
                raise InputError("an input has an empty name: give a video or a folder")
            found |= dict.fromkeys(find_sources([text]))
        except InputError as error:
            if not keep_going:
                raise
            failed.append(Outcome(text, "failed", str(error)))
    if not found and not failed:
        raise InputError("there are no inputs: the list on stdin is empty")
    return list(found), failed


def _with_stdin(inputs: Sequence[str]) -> Iterable[str]:
    for text in inputs:
        if text == "-":
            yield from read_inputs()
        else:
            yield text


def expected_frames(info: VideoInfo, start: float | None, end: float | None) -> int | None:
    """About how many frames will come, for a progress bar; None when the source does not say."""
    if start is None and end is None and info.frames_estimate:
        return info.frames_estimate
    if info.duration is None or info.rate is None:
        return None
    seconds = min(info.duration, info.duration if end is None else end) - (start or 0.0)
    return max(1, round(seconds * info.rate))
