"""What a film carries beside pictures and sound: title, chapters, creation time, place, timecode."""

import logging
import math
import re
from fractions import Fraction
from typing import Any

from av.container import InputContainer, OutputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from vsalient.types import Chapter, Extras, VideoInfo

log = logging.getLogger(__name__)

_TAGS = {
    *("title", "artist", "author", "album", "comment", "description", "synopsis", "copyright", "genre", "date"),
    *("creation_time", "location", "make", "model", "show", "network"),
}
_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")


def read_extras(container: InputContainer, stream: VideoStream) -> Extras:
    """What an open file says of itself."""
    tags = {name.lower(): text for name, text in container.metadata.items() if name.lower() in _TAGS}
    own = {name.lower(): text for name, text in stream.metadata.items()}
    timecode = own.get("timecode") or container.metadata.get("timecode")
    chapters = []
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        chapters.append(Chapter(chapter["start"] * base, chapter["end"] * base, chapter["metadata"].get("title", "")))
    return Extras(tuple(tags.items()), tuple(chapters), timecode, tuple(_left_out(container, stream)))


def _left_out(container: InputContainer, stream: VideoStream) -> list[str]:
    """The tracks that no output has, in words."""
    found = []
    for other in container.streams:
        name = getattr(other, "name", None) or ""
        language = other.metadata.get("language", "und")
        if other.type == "subtitle" and other.discard != Discard.all:  # so are chapters marked that are kept as text
            found.append(f"subtitles ({language})" if language != "und" else "subtitles")
        elif other.type == "video" and other.index != stream.index:
            cover = Disposition.attached_pic in other.disposition
            found.append("a cover picture" if cover else "a further video track")
        elif (
            other.type == "data"
            and other.metadata.get("handler_name") != "TimeCodeHandler"
            and "timecode" not in (key.lower() for key in other.metadata)
        ):
            found.append(f"a data track ({other.metadata.get('handler_name', '').strip() or name or 'unknown'})")
        elif other.type == "attachment":
            found.append("an attached file")
    return found


def write_extras(
    container: OutputContainer, stream: VideoStream, info: VideoInfo, *, start: Fraction, end: Fraction | None
) -> None:
    """Carry over what the container can hold; called before anything is encoded.

    Args:
        container: being written.
        stream: its video track.
        info: of the source.
        start: seconds of the source that become time zero.
        end: seconds of the source at which it is cut, None at its end.
    """
    extras = info.extras
    if extras is None:
        return
    container.metadata.update(dict(extras.tags))
    if extras.timecode is not None and (moved := later_timecode(extras.timecode, start, info.rate)) is not None:
        stream.metadata["timecode"] = moved
    chapters: list[dict[str, Any]] = []
    for chapter in extras.chapters:
        begin, stop = max(chapter.start, start), chapter.end if end is None else min(chapter.end, end)
        if stop > begin:
            chapters.append(
                {
                    "id": len(chapters) + 1,
                    "start": round((begin - start) * 1000),
                    "end": round((stop - start) * 1000),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": chapter.title} if chapter.title else {},
                }
            )
    if chapters:
        container.set_chapters(chapters)  # type: ignore[arg-type]


def later_timecode(text: str, seconds: Fraction, rate: Fraction | None) -> str | None:
    """A timecode so many seconds on, None where it cannot be read or does not fit the rate.

    Drop-frame codes (with a semicolon) leave out the first two numbers of every minute but each tenth at 29.97
    frames/s, four at 59.94: SMPTE ST 12-1, section 5.2.2.
    """
    match = _TIMECODE.fullmatch(text.strip())
    if match is None or rate is None:
        return None
    hours, minutes, second, _, frame = match.groups()
    count = round(rate)
    if not 10 <= count <= 120 or int(frame) >= count:
        return None
    drop = 2 * count // 30 if match[4] != ":" and count % 30 == 0 else 0
    total_minutes = 60 * int(hours) + int(minutes)
    number = (60 * total_minutes + int(second)) * count + int(frame)
    number -= drop * (total_minutes - total_minutes // 10)
    number += math.floor(seconds * rate + Fraction(1, 2))
    if drop:
        tens, rest = divmod(number, 10 * 60 * count - 9 * drop)
        number += 9 * drop * tens + (drop * ((rest - drop) // (60 * count - drop)) if rest >= drop else 0)
    frames, whole = number % count, number // count
    mark = ";" if drop else ":"
    return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{frames:02d}"
