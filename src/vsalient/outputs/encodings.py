"""How videos are encoded: the usual way for each role and file ending, and what the user may choose instead."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from vsalient.errors import OptionError
from vsalient.media.encoder import Encoding
from vsalient.outputs.kinds import Kind
from vsalient.outputs.looks import Choice

Role = Literal["colour", "levels", "alpha"]
"""Pictures to look at, gray levels to compute with, or pictures with alpha."""

# Without B-frames, since MP4 counts durations in the order of decoding: only so does a film of uneven times end at the
# same moment for every reader.
_H264 = Encoding("libx264", "yuv420p", {"preset": "veryfast", "crf": "18", "bf": "0"})
_H265 = Encoding("libx265", "yuv420p", {"preset": "fast", "crf": "22", "x265-params": "bframes=0:log-level=error"})
_AV1 = Encoding("libsvtav1", "yuv420p", {"preset": "8", "crf": "28", "svtav1-params": "pred-struct=1"})
# No frames to look ahead at: libvpx takes 0.7 GB for them with alpha at 4K, though it uses none in real time.
_VP9 = Encoding(
    "libvpx-vp9",
    "yuv420p",
    {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1", "lag-in-frames": "0"},
)
_PRORES = Encoding("prores_ks", "yuv422p10le", {"profile": "hq", "vendor": "apl0"})
_H264_LEVELS = Encoding("libx264", "gray", {"preset": "ultrafast", "qp": "4"})
_FFV1_LEVELS = Encoding("ffv1", "gray")
_VP9_ALPHA = replace(_VP9, pixel_format="yuva420p", options={**_VP9.options, "auto-alt-ref": "0"})
_PRORES_ALPHA = Encoding("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"})
_H265_ALPHA = replace(_H265, pixel_format="yuva420p")

_TABLE: dict[Role, dict[str, dict[str, Encoding]]] = {
    "colour": {
        ".mp4": {"h264": _H264, "h265": _H265, "av1": _AV1},
        ".mkv": {"h264": _H264, "h265": _H265, "av1": _AV1, "vp9": _VP9, "ffv1": Encoding("ffv1", "bgr0")},
        ".mov": {"h264": _H264, "h265": _H265, "prores": _PRORES},
    },
    "levels": {
        ".mp4": {"h264": _H264_LEVELS},
        ".mov": {"h264": _H264_LEVELS},
        ".mkv": {"ffv1": _FFV1_LEVELS, "h264": _H264_LEVELS},
    },
    "alpha": {
        ".webm": {"vp9": _VP9_ALPHA},
        ".mov": {"prores": _PRORES_ALPHA, "h265": _H265_ALPHA},
    },
}
"""Role -> file ending -> codec -> encoding; the first codec is the usual one."""
_H265_10, _AV1_10, _H264_10 = (
    replace(encoding, pixel_format="yuv420p10le", deep=True) for encoding in (_H265, _AV1, _H264)
)
_DEEP: dict[Role, dict[str, dict[str, Encoding]]] = {
    "colour": {
        ".mp4": {"h265": _H265_10, "av1": _AV1_10, "h264": _H264_10},
        ".mkv": {
            "h265": _H265_10,
            "av1": _AV1_10,
            "h264": _H264_10,
            "ffv1": Encoding("ffv1", "yuv444p10le", deep=True),
        },
        ".mov": {"prores": replace(_PRORES, deep=True), "h265": _H265_10, "h264": _H264_10},
    },
    "alpha": {".mov": {"prores": replace(_PRORES_ALPHA, deep=True)}},
}
"""The same in 10 bits. The VP9 that PyAV brings has 8."""
CODECS = ("h264", "h265", "av1", "vp9", "prores", "ffv1")
"""Every codec that may be chosen somewhere."""
_QUALITY = {"libx264": ("crf", 51), "libx265": ("crf", 51), "libsvtav1": ("crf", 63), "libvpx-vp9": ("crf", 63)}
"""Encoder -> the option of its constant quality, and its largest value."""
_X26_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_PRESETS = {
    "libx264": ("preset", _X26_PRESETS),
    "libx265": ("preset", _X26_PRESETS),
    "libsvtav1": ("preset", tuple(str(number) for number in range(14))),
    "libvpx-vp9": ("cpu-used", tuple(str(number) for number in range(10))),
    "prores_ks": ("profile", ("proxy", "lt", "standard", "hq", "4444", "4444xq")),
}


def chosen(choice: Choice, role: Role, ending: str) -> Encoding:
    """The encoding that somebody chose, for a role and a file ending.

    Raises:
        OptionError: the ending cannot hold the codec, or the encoder knows no such quality or preset.
    """
    offered = _offered(role, choice)[ending]
    codec = choice.codec or next(iter(offered))
    if codec not in offered:
        raise OptionError(
            f"--codec {codec} does not go into {ending} here{_in_bits(choice)}: choose {' or '.join(offered)}"
        )
    encoding = offered[codec]
    options = dict(encoding.options)
    if choice.quality is not None:
        name, most = _QUALITY.get(encoding.codec, ("", 0))
        if not name:
            raise OptionError(f"--quality is not for {codec}, which has none to choose: leave it out")
        if not 0 <= choice.quality <= most:
            raise OptionError(f"--quality {choice.quality:g} is outside 0 (best) to {most} of {codec}")
        options.pop("qp", None)
        options[name] = f"{choice.quality:g}"
    if choice.preset is not None:
        name, known = _PRESETS.get(encoding.codec, ("", ()))
        if choice.preset not in known:
            allowed = f"choose {', '.join(known)}" if known else "leave it out"
            raise OptionError(f"--preset '{choice.preset}' is unknown to {codec}: {allowed}")
        options[name] = choice.preset
    if encoding is _H265_ALPHA and not has_hevc_alpha():
        raise OptionError(
            "--codec h265 with alpha needs an x265 built with alpha layers, which this PyAV does not bring: "
            "use ProRes (.mov) or VP9 (.webm)"
        )
    return replace(encoding, options=options)


def encodings(role: Role, choice: Choice | None = None) -> Mapping[str, Encoding]:
    """File ending -> encoding, for all endings that can hold the chosen codec."""
    choice = choice or Choice()
    if role == "levels" and choice.codec not in (None, "h264", "ffv1"):
        choice = Choice()
    return {
        ending: chosen(choice, role, ending)
        for ending, offered in _offered(role, choice).items()
        if choice.codec is None or choice.codec in offered
    }


def eight_bits(choice: Choice | None) -> Choice | None:
    """A choice without its 10 bits, for kinds that have none."""
    return choice and replace(choice, bits=8)


def _offered(role: Role, choice: Choice) -> dict[str, dict[str, Encoding]]:
    return (_DEEP if choice.bits == 10 and role in _DEEP else _TABLE)[role]


def _in_bits(choice: Choice) -> str:
    return " in 10 bits" if choice.bits == 10 else ""


def role_of(kind: Kind) -> Role | None:
    """What a kind's pictures are for; None where it is no video."""
    if kind.name == "alpha":
        return "alpha"
    if not kind.endings or kind.endings[0] not in _TABLE["colour"]:
        return None
    return "levels" if kind.levels else "colour"


def ending_for(kind: Kind, choice: Choice, usual: str | None = None) -> str:
    """The file ending to use by default, so that the chosen codec fits.

    Args:
        kind: a kind of video.
        choice: what was chosen.
        usual: the ending that would be used without.

    Raises:
        OptionError: no file of this kind can hold the codec, or it knows no such quality or preset.
    """
    role, choice = role_of(kind), choice if kind.deep else replace(choice, bits=8)
    usual = usual or kind.endings[0]
    if choice.bits == 10:
        _check_deep(kind, usual, default=usual == kind.endings[0])
    if role is None or usual not in _TABLE[role] or (role == "levels" and choice.codec not in (None, "h264", "ffv1")):
        return usual
    table = _offered(role, choice)
    able = [ending for ending, offered in table.items() if choice.codec is None or choice.codec in offered]
    if not able:
        known = dict.fromkeys(codec for offered in table.values() for codec in offered)
        raise OptionError(
            f"--codec {choice.codec} is not for {kind.what}{_in_bits(choice)}: choose {' or '.join(known)}"
        )
    ending = usual if usual in able else able[0]
    chosen(choice, role, ending)
    return ending


def check_place(kind: Kind, choice: Choice, ending: str) -> None:
    """Refuse a codec that a file of this ending cannot hold.

    Raises:
        OptionError: names those that it can.
    """
    role, choice = role_of(kind), choice if kind.deep else replace(choice, bits=8)
    if choice.bits == 10:
        _check_deep(kind, ending)
    if role is not None and ending in _TABLE[role] and (role != "levels" or choice.codec in (None, "h264", "ffv1")):
        chosen(choice, role, ending)


def _check_deep(kind: Kind, ending: str, *, default: bool = False) -> None:
    """Refuse a file that cannot hold 10 bits, unless the name is not chosen yet."""
    role = role_of(kind)
    if role is not None and ending not in _DEEP[role] and not default:
        able = " or ".join(_DEEP[role])
        raise OptionError(f"--bits 10: {kind.what} of 10 bits does not go into {ending or 'stdout'}; use {able}")


@functools.cache
def has_hevc_alpha() -> bool:
    """Whether the x265 that FFmpeg was built with encodes an alpha layer: tried, on one small picture."""
    import av

    try:
        context = av.CodecContext.create("libx265", "w")
        context.width, context.height, context.pix_fmt = 64, 64, "yuva420p"
        context.time_base = Fraction(1, 25)
        context.options = {"x265-params": "log-level=none"}
        context.open()
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True
