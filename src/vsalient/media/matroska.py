"""The shape of pixels in Matroska and WebM: the one thing of their headers that PyAV cannot set.

FFmpeg writes the display size of a track from a field of the stream that the binding does not reach. What it does reach
is the display matrix: for half a turn FFmpeg writes a Projection element of 14 bytes, which is as long as a display
width, a display height and a unit. So a placeholder turn is asked for, and once the file is whole its bytes become the
display size. Nothing else in the file moves.

Source: RFC 9559 (Matroska), sections 5.1.4.1.28 (Video); RFC 8794 (EBML), sections 4 to 6 and 11.3.1 (CRC-32).
"""

import zlib
from fractions import Fraction
from pathlib import Path

from av.video.stream import VideoStream

_TRACKS = bytes.fromhex("1654ae6b")
_CRC = b"\xbf\x84"
_PROJECTION = b"\x76\x70"
_WIDTH, _HEIGHT, _UNIT = b"\x54\xb0\x82", b"\x54\xba\x82", b"\x54\xb2\x81"
_PIXELS, _ASPECT, _UNKNOWN = b"\0", b"\3", b"\4"  # DisplayUnit
_LENGTH = 14
_LARGEST = 0xFFFF
_HEADER = 1 << 20  # bytes in which the tracks are found: attachments come after them


def reserve_display_size(stream: VideoStream) -> None:
    """Ask for the placeholder; to be called before anything is encoded."""
    stream.set_display_rotation(180)


def write_display_size(path: Path, width: int, height: int, aspect: Fraction) -> None:
    """Put the display size of the only video track in its reserved place.

    Args:
        path: the finished file.
        width: of the stored picture.
        height: of the stored picture.
        aspect: width over height of a pixel.
    """
    with path.open("r+b") as file:
        header = bytearray(file.read(_HEADER))
        # The seek head names the tracks' number first; the element itself comes last before the track's own bytes.
        place = header.index(_PROJECTION + bytes([0x80 | (_LENGTH - 3)]))
        start = header.rindex(_TRACKS, 0, place)
        size_at = start + len(_TRACKS)
        used = 9 - header[size_at].bit_length()
        length = int.from_bytes(header[size_at : size_at + used], "big") & ((1 << (7 * used)) - 1)
        body = size_at + used
        shape = aspect * width / height
        unknown = header.find(_UNIT + _UNKNOWN, body, body + length)
        if unknown >= 0 and max(shape.numerator, shape.denominator) <= _LARGEST:
            # As FFmpeg does it: the ratio itself, exactly.
            shown, unit = (shape.numerator, shape.denominator), _ASPECT
        else:
            wide = Fraction(width) * aspect
            shown, unit = (min(round(wide), _LARGEST), height), _PIXELS
        element = _WIDTH + shown[0].to_bytes(2, "big") + _HEIGHT + shown[1].to_bytes(2, "big")
        if unknown >= 0:
            header[unknown : unknown + 4] = _UNIT + unit
            element += b"\xec\x82\0\0"  # Void
        else:
            element += _UNIT + unit
        header[place : place + _LENGTH] = element
        if header[body : body + 2] == _CRC:
            checked = bytes(header[body + 6 : body + length])
            header[body + 2 : body + 6] = zlib.crc32(checked).to_bytes(4, "little")
        file.seek(0)
        file.write(header)
