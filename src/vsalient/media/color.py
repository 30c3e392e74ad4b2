"""Stored pictures to upright RGB: colour matrix, range, bit depth, rotation and mirroring."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from vsalient.errors import DecodeError
from vsalient.media.hdr import ToneMap, is_hdr
from vsalient.types import Pixels

# swscale's numbers of the matrices (SWS_CS_*).
_BT709, _FCC, _BT601, _SMPTE240M, _BT2020 = 1, 4, 5, 7, 9
# AVColorSpace number -> (swscale's matrix, our name). 2 is "unspecified": see `matrix_of`.
_MATRICES = {
    1: (_BT709, "bt709"),
    4: (_FCC, "bt601"),
    5: (_BT601, "bt601"),
    6: (_BT601, "bt601"),
    7: (_SMPTE240M, "bt709"),
    9: (_BT2020, "bt2020"),
    10: (_BT2020, "bt2020"),
}
_NEWER_KINDS = 16  # how many kinds of side data FFmpeg may have that the binding lacks
_UNTAGGED = (0, 2, 3)
"""Numbers of primaries and transfer functions that say nothing."""
HD_WIDTH, HD_HEIGHT = 1280, 720
"""Untagged pictures at least this wide or high are BT.709, smaller ones BT.601."""


def matrix_of(frame: VideoFrame) -> tuple[int, str]:
    """The YCbCr matrix of `frame` as (swscale's number, "bt601" | "bt709" | "bt2020" | "rgb")."""
    if frame.format.is_rgb or frame.format.has_palette:
        return _BT601, "rgb"
    if frame.colorspace in _MATRICES:
        return _MATRICES[frame.colorspace]
    if frame.width >= HD_WIDTH or frame.height >= HD_HEIGHT:
        return _BT709, "bt709"
    return _BT601, "bt601"


def color_tags(frame: VideoFrame) -> tuple[int, int, int]:
    """A frame's primaries, transfer function and matrix, BT.709's where it does not say."""
    primaries, transfer = (1 if tag in _UNTAGGED else tag for tag in (frame.color_primaries, frame.color_trc))
    return int(primaries), int(transfer), int(frame.colorspace) if frame.colorspace in _MATRICES else 1


def scaler_matrix(tag: int) -> int:
    """The number of a matrix in swscale."""
    return _MATRICES[tag][0]


def is_full_range(frame: VideoFrame) -> bool:
    """Whether luma spans all codes. Untagged YCbCr is limited; RGB, "yuvj" and untagged gray are full."""
    name = frame.format.name
    if frame.format.is_rgb or frame.format.has_palette or name.startswith("yuvj"):
        return True
    if frame.color_range == ColorRange.UNSPECIFIED:
        return name.startswith(("gray", "mono", "ya"))
    return bool(frame.color_range == ColorRange.JPEG)


class RgbConverter:
    """Turn decoded frames into upright (H, W, 3) uint8 RGB of one fixed size.

    Holds one swscale context, single-threaded: making one for every frame costs more than the conversion.

    Args:
        width: stored width (before rotation); frames of another size, as some streams send, are scaled to it.
        height: stored height.
        matrix: the stream's display matrix. Not asked of every frame: a frame whose side data was looked at is part of
            a reference cycle, so that hundreds of them would wait for the garbage collector.
    """

    def __init__(self, width: int, height: int, matrix: tuple[int, int, int, int] | None = None) -> None:
        self._width, self._height, self._matrix = width, height, matrix
        self._reformatter = VideoReformatter()
        self._tone_map: ToneMap | None = None

    def __call__(self, frame: VideoFrame) -> Pixels:
        """Convert one frame; the result shares no memory with the decoder (its rows may be padded).

        Raises:
            DecodeError: a pixel format that FFmpeg's scaler does not take.
        """
        with _convertible(frame):
            if is_hdr(frame):
                if self._tone_map is None:
                    self._tone_map = ToneMap(self._width, self._height, frame.color_trc)
                frame = self._tone_map(self._convert(frame, ToneMap.format))
            rgb = self._convert(frame, "rgb24")
        return upright(np.asarray(rgb.to_ndarray(), np.uint8), self._matrix)

    def deep(self, frame: VideoFrame) -> NDArray[np.uint16]:
        """The frame as it is coded, HDR too: upright (H, W, 3) uint16 RGB, 0 to 65535.

        Raises:
            DecodeError: a pixel format that FFmpeg's scaler does not take.
        """
        with _convertible(frame):
            rgb = self._convert(frame, "rgb48le")
        return upright(np.asarray(rgb.to_ndarray(), np.uint16), self._matrix)

    def _convert(self, frame: VideoFrame, pixel_format: str) -> VideoFrame:
        """To RGB of the size asked for, full range, by the frame's own matrix."""
        matrix, name = matrix_of(frame)
        return self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format=pixel_format,
            src_colorspace=None if name == "rgb" else matrix,
            src_color_range=ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )


@contextlib.contextmanager
def _convertible(frame: VideoFrame) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, av.FFmpegError):
        raise DecodeError(
            f"pictures stored as {frame.format.name} cannot be turned into RGB here; convert the film first, for "
            "example to H.264 or FFV1 in yuv420p"
        ) from None


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of the frame's display matrix, 16.16 fixed point, None when it has none."""
    try:
        side_data: Any = frame.side_data
    except ValueError:  # a kind of side data that FFmpeg knows and the binding does not
        side_data = _without_unknown(frame).side_data
    data = side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return a, b, c, d


def _without_unknown(frame: VideoFrame) -> VideoFrame:
    """The frame less the side data that PyAV has no name for, such as EXIF or the view of a stereo film."""
    graph = av.filter.Graph()
    source = last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
    )
    newest = max(int(kind.value) for kind in SideDataType)  # type: ignore[call-overload]
    for kind in range(newest + 1, newest + 1 + _NEWER_KINDS):
        link = graph.add("sidedata", f"mode=delete:type={kind}")
        last.link_to(link)
        last = link
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    source.push(frame)
    return cast(VideoFrame, sink.pull())


def is_transposed(matrix: tuple[int, int, int, int] | None) -> bool:
    """Whether the display matrix swaps width and height (a turn by 90 or 270 degrees)."""
    return matrix is not None and abs(matrix[1]) > abs(matrix[0])


def rotation_of(matrix: tuple[int, int, int, int] | None) -> int:
    """Counter-clockwise degrees, in quarter turns, that the matrix turns the stored picture by."""
    if matrix is None:
        return 0
    a, _, c, d = matrix
    if is_transposed(matrix):
        return 90 if c > 0 else 270
    return 180 if a < 0 and d < 0 else 0


def upright(pixels: NDArray[Any], matrix: tuple[int, int, int, int] | None) -> NDArray[Any]:
    """Apply a display matrix: quarter turns and mirroring, nearest quarter turn for any other angle.

    The matrix sends the stored (x, y) to (a x + c y, b x + d y), y pointing down.
    """
    if matrix is None:
        return pixels
    a, b, c, d = matrix
    if is_transposed(matrix):
        pixels = np.asarray(cv2.transpose(pixels))
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    if flip_x or flip_y:
        # cv2's code: 0 about the x axis (up-down), 1 about the y axis (left-right), -1 both.
        pixels = np.asarray(cv2.flip(pixels, -1 if flip_x and flip_y else int(flip_x)))
    return pixels
