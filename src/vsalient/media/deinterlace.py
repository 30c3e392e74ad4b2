"""Interlaced pictures to whole ones, by FFmpeg's bwdif: one for each frame, those that are whole already untouched."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import cast

import av
from av.video.frame import VideoFrame

from vsalient.media.decode import DecodedPicture


def deinterlaced(pictures: Iterator[DecodedPicture]) -> Iterator[DecodedPicture]:
    """Yield the same pictures, at their own times, one behind; lost ones stay lost.

    The filter is set up with the first interlaced picture, so that a progressive film costs nothing.
    """
    graph: _Graph | None = None
    for picture in pictures:
        frame = picture.frame
        if graph is not None and frame is not None and not graph.takes(frame):
            yield from graph.finish()
            graph = None
        if graph is None and frame is not None and frame.interlaced_frame:
            graph = _Graph(frame)
        if graph is None:
            yield picture
        else:
            yield from graph.push(picture)
    if graph is not None:
        yield from graph.finish()


class _Graph:
    """The filter for pictures of one size and format."""

    def __init__(self, frame: VideoFrame) -> None:
        self._kind = (frame.width, frame.height, frame.format.name)
        self._waiting: deque[DecodedPicture] = deque()
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 90_000)
        )
        filter_ = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        sink = graph.add("buffersink")
        source.link_to(filter_)
        filter_.link_to(sink)
        graph.configure()
        self._count = 0

    def takes(self, frame: VideoFrame) -> bool:
        """Whether a picture is of the kind that the filter was set up for."""
        return (frame.width, frame.height, frame.format.name) == self._kind

    def push(self, picture: DecodedPicture) -> Iterator[DecodedPicture]:
        """Take the next picture; give those that are done."""
        self._waiting.append(picture)
        if picture.frame is not None:
            # The filter goes by times only to tell frames apart: the pictures keep their own.
            picture.frame.pts, picture.frame.time_base = self._count, Fraction(1, 90_000)
            self._count += 1
            self._graph.push(picture.frame)
        yield from self._done()

    def finish(self) -> Iterator[DecodedPicture]:
        """Give what is held back."""
        self._graph.push(None)
        yield from self._done()
        yield from self._waiting
        self._waiting.clear()

    def _done(self) -> Iterator[DecodedPicture]:
        while True:
            try:
                frame = cast(VideoFrame, self._graph.pull())
            except (av.BlockingIOError, EOFError):
                return
            while self._waiting and self._waiting[0].frame is None:
                yield self._waiting.popleft()
            if self._waiting:
                yield replace(self._waiting.popleft(), frame=frame)
