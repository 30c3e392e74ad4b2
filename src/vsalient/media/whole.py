"""Whether a file was cut short, told by its video track and by what the container says of its own length in bytes."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ISO = "mov,mp4,m4a,3gp,3g2,mj2"
_MATROSKA = "matroska,webm"


def is_cut_short(
    path: Path, container: InputContainer, stream: VideoStream, *, reach: Fraction, furthest: Fraction, step: Fraction
) -> bool:
    """Judge a file that was read to its end.

    A file whose container fits into it is whole, whatever durations it names. Where it does not fit, or the container
    does not know its length in bytes, pictures are missing if the video track ends before its own duration; a track
    that has none of its own is judged by the file's, which some track must reach.

    Args:
        path: the file; what is no regular file (a pipe, an address) is judged by durations alone.
        container: open, read to the end.
        stream: the video track.
        reach: seconds on the file's clock at which the last picture that was there ends.
        furthest: the same for whichever track goes on longest.
        step: seconds that a picture usually lasts.
    """
    layout = _LAYOUTS.get(container.format.name)
    outside: str | None = None
    if layout is not None and path.is_file():
        size = path.stat().st_size
        with path.open("rb") as file:
            outside = layout(file, size)
        if outside == "":
            return False
        if outside in ("fragment", "pictures"):
            return True
        if outside is not None and container.format.name == _ISO and (entries := stream.index_entries):
            # Only the last few can lie outside, but no order is promised.
            return any(entry.pos + entry.size > size for entry in entries)
    # Durations are rounded and guessed; of a file that ends within its data no more than a picture is forgiven.
    allowed = step * 3 / 4 if outside else max(3 * step, Fraction(1, 4))
    own = own_end(container, stream)
    if own is not None:
        return own - reach > allowed
    if container.duration:
        promised = Fraction(container.duration + max(container.start_time or 0, 0), 1_000_000)
        return promised - furthest > allowed
    return False


def own_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Seconds on the file's clock at which the video track says that it ends, None where only the file says it."""
    if container.format.name == _MATROSKA:
        for name, text in stream.metadata.items():
            if name.upper().startswith("DURATION"):
                return _clock_time(text)
        return None
    if container.format.name in (_ISO, "avi") and stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    return None


def _clock_time(text: str) -> Fraction | None:
    """Seconds of a text such as 00:00:01.500000000."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except ValueError:
        return None


# What of a file lies beyond its end: "" nothing, "fragment" or "pictures" where pictures must be among it, "data" where
# they may be, None where the container does not say how long it is.


def _iso_outside(file: BinaryIO, size: int) -> str | None:
    """MP4 and MOV: boxes, one after the other."""
    fragmented, at = False, 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            return ""  # "to the end of the file"
        fragmented |= kind in (b"moof", b"styp", b"sidx")
        if length < 8:
            return None
        at += length
    if at == size:
        return ""
    return "fragment" if fragmented else "data"


def _riff_outside(file: BinaryIO, size: int) -> str | None:
    """AVI: RIFF chunks, each with a list of pictures and sound, then an index."""
    at = 0
    while at + 12 <= size:
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            return None
        end, inner = at + 8 + length, at + 12
        while end > size >= inner + 12:
            file.seek(inner)
            chunk = file.read(12)
            inner += 8 + (held := int.from_bytes(chunk[4:8], "little")) + held % 2
            if chunk[:4] == b"LIST" and chunk[8:] == b"movi" and inner > size:
                return "pictures"
        at = end + length % 2
    return ""


def _asf_outside(file: BinaryIO, size: int) -> str | None:
    """WMV: a header object, then the data object."""
    head = file.read(24)
    file.seek(at := int.from_bytes(head[16:24], "little"))
    data = file.read(24)
    length = int.from_bytes(data[16:24], "little")
    if data[:16] != _ASF_DATA or not length:
        return None
    return "pictures" if at + length > size else ""


def _ebml_outside(file: BinaryIO, size: int) -> str | None:
    """Matroska and WebM: one segment; that of a live recording has no length."""
    at = 0
    while at + 2 <= size:
        file.seek(at)
        head = file.read(12)
        kind, used = _vint(head, keep_marker=True)
        length, more = _vint(head[used:], keep_marker=False)
        at += used + more
        if length == (1 << (7 * more)) - 1:
            return None
        at += length
        if kind == _SEGMENT:
            return "data" if at > size else ""
        if kind != _EBML or more == 0:
            return None
    return None


def _vint(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """EBML's number of variable length: (value, bytes used); (0, 0) for none."""
    if not data or not data[0]:
        return 0, 0
    used = 9 - data[0].bit_length()
    value = int.from_bytes(data[:used], "big")
    return (value if keep_marker else value & ((1 << (7 * used)) - 1)), used


_LAYOUTS: dict[str, Callable[[BinaryIO, int], str | None]] = {
    _ISO: _iso_outside,
    "avi": _riff_outside,
    "asf": _asf_outside,
    _MATROSKA: _ebml_outside,
}
