"""The thresholds by their names on the command line."""

from pathlib import Path
from typing import Literal

from vsalient.errors import OptionError
from vsalient.segment.binarise import (
    AdaptiveThreshold,
    ClipAdaptiveThreshold,
    FixedThreshold,
    FrameThreshold,
    OtsuThreshold,
    Threshold,
)
from vsalient.segment.hysteresis import HysteresisThreshold
from vsalient.segment.maxf import MaxFThreshold

__all__ = [
    "THRESHOLD_FORMS",
    "AdaptiveThreshold",
    "ClipAdaptiveThreshold",
    "FixedThreshold",
    "FrameThreshold",
    "HysteresisThreshold",
    "MaxFThreshold",
    "OtsuThreshold",
    "Threshold",
    "parse_frame_threshold",
    "parse_threshold",
]

THRESHOLD_FORMS = "adaptive, otsu, fixed:0.5, hysteresis:0.3,0.7 or max-f:GROUND_TRUTH"


def parse_threshold(text: str, *, scope: Literal["frame", "clip"] = "frame", clip_length: int = 4) -> Threshold:
    """Return the threshold that `text` names.

    Args:
        text: "adaptive", "otsu", "fixed:P" or a bare P, "hysteresis:LOW,HIGH" or "max-f:FOLDER"; levels are
            in [0, 1].
        scope: whether "adaptive" takes its mean and deviation from one map or from a clip's maps.
        clip_length: maps a clip when the scope is "clip"; the paper (dsrfcn3d) feeds 4 frames.

    Raises:
        OptionError: the text names no threshold, a level is unreadable or out of range, or the scope does not
            apply.
    """
    name, colon, argument = text.strip().partition(":")
    name = name.strip().lower()
    if scope == "clip" and name != "adaptive":
        raise OptionError(f"The clip scope is for the adaptive threshold, not for '{text}'; leave one of them out.")
    if name in ("adaptive", "otsu") and colon:
        raise OptionError(f"Threshold '{name}' takes no value, '{argument}' is too much; write just {name}.")
    if name == "adaptive":
        return AdaptiveThreshold() if scope == "frame" else ClipAdaptiveThreshold(clip_length)
    if name == "otsu":
        return OtsuThreshold()
    if name == "fixed":
        return FixedThreshold(_number_of(argument, text))
    if name == "hysteresis":
        low, comma, high = argument.partition(",")
        if not comma:
            raise OptionError(f"Threshold '{text}' needs two levels, for example hysteresis:0.3,0.7.")
        return HysteresisThreshold(_number_of(low, text), _number_of(high, text))
    if name == "max-f":
        if not argument:
            raise OptionError("Threshold 'max-f' needs a ground truth: write max-f:FOLDER.")
        return MaxFThreshold(Path(argument).expanduser())
    if not colon:
        return FixedThreshold(_number_of(name, text))
    raise OptionError(f"Unknown threshold '{text}'; use {THRESHOLD_FORMS}.")


def parse_frame_threshold(text: str) -> FrameThreshold:
    """Return the threshold that `text` names, for callers that need a mask from each map alone.

    Raises:
        OptionError: as `parse_threshold`, or the threshold needs more than one map.
    """
    threshold = parse_threshold(text)
    if not isinstance(threshold, FrameThreshold):
        raise OptionError(
            f"Threshold '{text}' looks at several frames and is not possible here; "
            "use adaptive, otsu or fixed:0.5, or run vsalient segment."
        )
    return threshold


def _number_of(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise OptionError(f"Unknown threshold '{whole}'; use {THRESHOLD_FORMS}.") from None
    if not 0.0 <= value <= 1.0:  # NaN too
        raise OptionError(f"Threshold '{whole}': {text.strip()} is outside 0 to 1; give a probability.")
    return value
