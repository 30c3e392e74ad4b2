"""A video on stdout, for another program to go on with: NUT of uncompressed pictures, `-f nut -i -` for ffmpeg."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsalient.errors import OutputError
from vsalient.outputs.output import Opening, Output
from vsalient.outputs.painters import Painter
from vsalient.types import Result

STDOUT = Path("-")
"""The name that stands for it."""
_FORMATS = {2: "gray", 3: "rgb24", 4: "rgba"}  # by axes, or channels


class _Pipe:
    """A file that only takes bytes: FFmpeg must not try to go back in it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        """Pass them on."""
        self._stream.write(data)
        self._stream.flush()
        return len(data)


class StdoutVideo(Output):
    """Pictures as they are painted, gray, RGB or RGBA, at their own times; no sound.

    Args:
        given: facts of the source; where its time begins.
        paint: result -> picture.
        release: called at the end, however it comes.

    Raises:
        OutputError: stdout is a terminal, or nobody reads from it any more.
    """

    def __init__(self, given: Opening, paint: Painter, release: Callable[[], None] | None = None) -> None:
        if sys.stdout.isatty():
            raise OutputError("-o - writes a video to stdout, which is a terminal here: pipe it into another program")
        self.path = STDOUT
        self._given, self._paint, self._release = given, paint, release or (lambda: None)
        self._shift = Fraction(given.span[0] or 0).limit_denominator(10**6)
        self._container: OutputContainer | None = None
        self._stream: VideoStream

    def write(self, result: Result) -> None:
        """Paint and send one frame."""
        picture = self._paint(result)
        form = _FORMATS[picture.ndim if picture.ndim == 2 else picture.shape[2]]
        frame = VideoFrame.from_ndarray(picture, form)
        frame.time_base = result.frame.time_base
        frame.pts = result.frame.pts - round(self._shift / frame.time_base)
        with self._reader_there():
            if self._container is None:
                sys.stdout.flush()
                self._container = av.open(
                    _Pipe(sys.stdout.buffer), "w", format="nut", container_options={"flush_packets": "1"}
                )
                stream = self._container.add_stream("rawvideo", rate=self._given.info.rate or Fraction(25))
                assert isinstance(stream, VideoStream)
                self._stream = stream
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = form
                stream.time_base = stream.codec_context.time_base = frame.time_base
                stream.codec_context.sample_aspect_ratio = self._given.info.pixel_aspect
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Send the rest."""
        if self._container is not None:
            with self._reader_there():
                self._container.mux(self._stream.encode(None))
                container, self._container = self._container, None
                container.close()
                sys.stdout.flush()

    def close(self) -> None:
        """Finish."""
        self._release()
        self.finish()

    def abort(self) -> None:
        """Stop: what was sent cannot be taken back."""
        self._release()
        if self._container is not None:
            with contextlib.suppress(OSError, av.FFmpegError):
                self._container.close()
            self._container = None

    @contextlib.contextmanager
    def _reader_there(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise OutputError("the program that reads stdout has ended") from None
