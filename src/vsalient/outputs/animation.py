"""Animations for web pages and chats: GIF with a palette for each frame, and WebP with soft alpha, looping for ever."""

import contextlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vsalient.files import StagedFile, writing
from vsalient.media.container import ffmpeg_name
from vsalient.outputs.output import Opening, Output
from vsalient.types import Result

_UNIT = {".gif": Fraction(1, 100), ".webp": Fraction(1, 1000)}
"""What the formats count time in; browsers slow down a GIF faster than 50 frames a second."""


class AnimationOutput(Output):
    """One looping animation, .gif or .webp.

    Times are rounded to what the format can say, and never doubled: of frames nearer to each other than that (more than
    100 a second in a GIF) the later one is left out.

    Args:
        given: where, of what, and how.
        paint: result -> (H, W, 3) RGB or (H, W, 4) RGBA, always the same.

    Raises:
        OutputError: the file exists, or the place cannot be written to.
    """

    def __init__(self, given: Opening, paint: Callable[[Result], NDArray[np.uint8]]) -> None:
        self.path = given.path
        self._paint = paint
        self._ending = given.path.suffix.lower()
        self._unit = _UNIT[self._ending]
        self._begin: Fraction | None = None
        self._last = -1
        self._graph: Graph | None = None
        self._container: OutputContainer | None = None
        self._staged = StagedFile(given.path, overwrite=given.overwrite)
        try:
            with writing(given.path, av.FFmpegError):
                options = {"loop": "0"}
                self._container = av.open(ffmpeg_name(self._staged.place), "w", options=options)
                gif = self._ending == ".gif"
                quality = given.looks.encoding.quality if given.looks.encoding else None
                own = {} if gif else {"quality": f"{quality if quality is not None else 80:g}", "loop": "0"}
                stream = self._container.add_stream(
                    "gif" if gif else "libwebp_anim", rate=given.info.rate or Fraction(25), options=own
                )
                assert isinstance(stream, VideoStream)
                stream.width, stream.height = given.info.width, given.info.height
                stream.pix_fmt = "pal8" if gif else "yuva420p"
                stream.time_base = stream.codec_context.time_base = self._unit
                self._stream = stream
        except BaseException:
            self.abort()
            raise

    def write(self, result: Result) -> None:
        """Paint and encode one frame."""
        assert self._container is not None, "the file is closed"
        time = result.frame.pts * result.frame.time_base
        self._begin = time if self._begin is None else self._begin
        at = round((time - self._begin) / self._unit)
        if at <= self._last:
            return
        self._last = at
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(_with_alpha(self._paint(result))), "rgba")
        frame.pts, frame.time_base = at, self._unit
        with writing(self.path, av.FFmpegError):
            if self._ending == ".webp":
                self._container.mux(
                    self._stream.encode(frame.reformat(format="yuva420p", src_color_range=2, dst_color_range=1))
                )
                return
            if self._graph is None:
                self._graph = _palette_graph(frame, self._unit)
            self._graph.push(frame)
            self._drain()

    def _drain(self) -> None:
        assert self._graph is not None and self._container is not None
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, EOFError):
                return
            assert isinstance(frame, VideoFrame)
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Flush and write the end; a second call does nothing."""
        if self._container is None:
            return
        try:
            with writing(self.path, av.FFmpegError):
                if self._graph is not None:
                    self._graph.push(None)
                    self._drain()
                self._container.mux(self._stream.encode(None))
                container, self._container = self._container, None
                container.close()
                if self._ending == ".webp":
                    _mark_transparent(self._staged.place)
        except BaseException:
            self.abort()
            raise

    def close(self) -> None:
        """Finish and take the final name."""
        self.finish()
        self._staged.commit()

    def abort(self) -> None:
        """Remove what was written; does nothing once closed."""
        if self._container is not None:
            with contextlib.suppress(OSError, av.FFmpegError):
                self._container.close()
            self._container = None
        self._staged.discard()


def _mark_transparent(path: Path) -> None:
    """Say in a WebP file's header that it has alpha.

    libwebp does not where all that it stores is opaque, as of an object that fills its own box: then readers take what
    is around it for opaque, too. Source: WebP Container Specification, "Extended File Format".
    """
    with path.open("r+b") as file:
        head = file.read(21)
        if head[12:16] == b"VP8X":
            file.seek(20)
            file.write(bytes([head[20] | 0x10]))


def _with_alpha(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    if picture.shape[2] == 4:
        return picture
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def _palette_graph(frame: VideoFrame, unit: Fraction) -> Graph:
    """RGBA in, pictures with 255 colours of their own and one for transparent out."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=unit)
    split = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=1")
    use = graph.add("paletteuse", "new=1:dither=sierra2_4a:alpha_threshold=128")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph
