"""A video file as a source of frames: the range asked for, upright RGB, damage counted."""

import itertools
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vsalient.errors import DecodeError
from vsalient.media.color import (
    RgbConverter,
    color_tags,
    display_matrix,
    is_full_range,
    is_transposed,
    matrix_of,
    rotation_of,
)
from vsalient.media.container import open_container, sane_rate, time_origin, video_stream
from vsalient.media.decode import DecodedPicture, PictureStream
from vsalient.media.deinterlace import deinterlaced
from vsalient.media.extras import read_extras
from vsalient.media.hdr import NAMES
from vsalient.media.source import Source, check_range, empty_range
from vsalient.media.whole import is_cut_short, own_end
from vsalient.types import Frame, Pixels, VideoInfo

log = logging.getLogger(__name__)

# Seconds before `start` to seek to, in turn: some indexes lead to a key frame past the time asked for.
_SEEK_BACK = (0, 10)

_MANY_PIXELS = 3000 * 2000  # pixels
_WIDEST = 20  # width over height of a pixel: beyond, the file is not believed


class VideoSource(Source):
    """Frames of a video file, decoded in several threads, in presentation order.

    A damaged picture comes as the decoder patched it up, a lost one as a repeat of the last picture (of the next one
    when none came before). Both have `corrupt=True`: the number of frames is that of the pictures in the file.

    Args:
        path: the file.
        start: seconds; frames shown earlier are left out.
        end: seconds; frames shown at or after it are left out.
        deinterlace: make whole pictures of interlaced ones.
        deep: give frames their `deep` pictures too.

    Raises:
        InputError: no such file, or no frame in the range.
        DecodeError: not a video, no video stream, or nothing in it can be decoded.
        OptionError: an impossible range.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: float | None = None,
        end: float | None = None,
        deinterlace: bool = True,
        deep: bool = False,
        live: bool = False,
    ) -> None:
        check_range(start, end)
        self._path, self._deinterlace, self._deep, self._live = path, deinterlace, deep, live
        self._start, self._end = _exact(start), _exact(end)
        self._container: InputContainer | None = None
        self._converter: RgbConverter | None = None
        self.corrupt_frames = 0
        try:
            frames = self._deliver(self._pictures())
            first = next(frames, None)
            if first is None:
                if self._converter is None:
                    raise self._nothing_decoded()
                raise empty_range(path, start, end, self.info.duration)
        except BaseException:
            self.close()
            raise
        self._last = first
        self._frames = itertools.chain([first], frames)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames once; says at the end, in the log, what was damaged or missing."""
        for frame in self._frames:
            self._last = frame
            self.corrupt_frames += frame.corrupt
            yield frame
        self._conclude(self._last)

    def close(self) -> None:
        """Let go of the file; calling it twice does no harm."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _nothing_decoded(self) -> DecodeError:
        if self._decoder.encrypted or self._decoder.stream.codec_context.codec_tag in ("encv", "drmi"):
            return DecodeError(f"{self._path} is encrypted; only its seller's player can show it. Give a free copy.")
        return DecodeError(f"{self._path}: not one picture could be decoded; the file is damaged throughout.")

    def _open(self) -> tuple[InputContainer, VideoStream]:
        self.close()
        self._container = container = open_container(self._path, live=self._live)
        stream = video_stream(container, self._path)
        # Threads that share out whole frames hold back as many as there are.
        stream.thread_type = "SLICE" if self._live else "AUTO"
        if stream.codec_context.width * stream.codec_context.height >= _MANY_PIXELS:
            # Every thread keeps pictures of its own, 12 to 50 megabytes each.
            stream.codec_context.thread_count = 2
        assert stream.time_base is not None
        self._time_base: Fraction = stream.time_base
        self._origin = round(time_origin(container) / stream.time_base)
        return container, stream

    def _pictures(self) -> Iterator[DecodedPicture]:
        """Pictures from the last key frame before the start, or from the beginning where seeking fails."""
        for back in _SEEK_BACK if self._start else ():
            container, stream = self._open()
            assert self._start is not None
            target = round((self._start - back) / self._time_base) + self._origin
            try:
                container.seek(target, stream=stream)
            except (OSError, ValueError) as error:
                log.debug("%s: cannot seek (%s); reading from the beginning", self._path, error)
                break
            self._decoder = PictureStream(container, stream, live=self._live)
            pictures = iter(self._decoder)
            first = next(pictures, None)
            if first is not None and first.frame is not None and first.pts <= target:
                return itertools.chain([first], pictures)
        self._decoder = PictureStream(*self._open(), live=self._live)
        return iter(self._decoder)

    def _deliver(self, pictures: Iterator[DecodedPicture]) -> Iterator[Frame]:
        """Keep the range, convert to RGB, let a neighbour stand in for what was lost; the range's end ends all."""
        latest: VideoFrame | None = None
        pixels: Pixels | None = None  # of `latest`, once they are needed, like `deep`
        deep: NDArray[np.uint16] | None = None
        waiting: list[tuple[int, int | None]] = []  # lost before any picture came: time and duration
        indices = itertools.count()
        if self._deinterlace:
            pictures = deinterlaced(pictures)
        # The next picture's time tells how long one stands; the last one must say so itself, and so must each where the
        # next cannot be waited for.
        for picture, following in ((each, None) for each in pictures) if self._live else _with_next(pictures):
            pts = picture.pts - self._origin
            time = pts * self._time_base
            if self._end is not None and time >= self._end:
                return
            if picture.frame is not None:
                latest, pixels = picture.frame, None
                if self._converter is None:
                    self._converter = RgbConverter(latest.width, latest.height, display_matrix(latest))
                    self.info = self._describe(latest)
                    if self.info.hdr:
                        log.warning(
                            "%s: HDR (%s) is mapped to standard dynamic range%s; what is brighter than reference "
                            "white becomes white.",
                            self._path,
                            self.info.hdr,
                            " but in outputs of 10 bits" if self._deep else "",
                        )
            if self._start is not None and time < self._start:
                continue
            if self._live:
                duration: int | None = picture.duration or self._decoder.step
            else:
                duration = self._last_duration(picture) if following is None else following.pts - picture.pts
            if latest is None or self._converter is None:
                waiting.append((pts, duration))
                continue
            if pixels is None:
                pixels = self._converter(latest)
                deep = self._converter.deep(latest) if self._deep else None
            for lost, stood in waiting:
                yield Frame(pixels, next(indices), lost, self._time_base, corrupt=True, duration=stood, deep=deep)
            waiting.clear()
            yield Frame(
                pixels, next(indices), pts, self._time_base, corrupt=picture.corrupt, duration=duration, deep=deep
            )

    def _last_duration(self, picture: DecodedPicture) -> int:
        """How long the last picture stands: to the end of its track, which it says itself where the track does not."""
        assert self._container is not None
        end = max(self._reach, own_end(self._container, self._decoder.stream) or 0)
        left = round(end / self._time_base) - picture.pts
        self.cut_short = self._end is None and self._is_cut_short()
        if left <= 0 or self.cut_short:
            left = picture.duration
        return left or self._decoder.step

    def _is_cut_short(self) -> bool:
        assert self._container is not None
        decoder = self._decoder
        return decoder.demuxer.failed or is_cut_short(
            self._path,
            self._container,
            decoder.stream,
            reach=self._reach,
            furthest=decoder.demuxer.furthest,
            step=decoder.step * self._time_base,
        )

    @property
    def _reach(self) -> Fraction:
        """Seconds on the file's clock at which the last of the pictures ends that were found."""
        return self._decoder.demuxer.ends.get(self._decoder.stream.index, Fraction(0))

    def _describe(self, frame: VideoFrame) -> VideoInfo:
        container, stream = self._container, self._decoder.stream
        assert container is not None
        matrix = display_matrix(frame)
        width, height = frame.width, frame.height
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if not 1 / _WIDEST <= aspect <= _WIDEST:
            aspect = Fraction(1)
        if is_transposed(matrix):
            width, height, aspect = height, width, 1 / aspect
        return VideoInfo(
            path=self._path,
            width=width,
            height=height,
            rate=sane_rate(stream),
            time_base=self._time_base,
            rotation=rotation_of(matrix),
            codec=stream.codec_context.name,
            pixel_format=frame.format.name,
            bit_depth=frame.format.components[0].bits,
            color_space=matrix_of(frame)[1],
            full_range=is_full_range(frame),
            frames_estimate=stream.frames or None,
            duration=container.duration / 1e6 if container.duration else None,
            has_audio=bool(container.streams.audio),
            pixel_aspect=aspect,
            interlaced=self._decoder.interlaced,
            hdr=NAMES.get(frame.color_trc, ""),
            color_tags=color_tags(frame),
            extras=read_extras(container, stream),
        )

    def _conclude(self, last: Frame) -> None:
        """Say in the log what was wrong with the file."""
        if self.corrupt_frames:
            log.warning(
                "%s: %d of %d frames were damaged; the nearest good picture stands in for those that were lost.",
                self._path,
                self.corrupt_frames,
                last.index + 1,
            )
        if self.cut_short:
            log.warning(
                "%s ends early, at %.2f s: the file was cut short. What is there was read.",
                self._path,
                float((last.pts + (last.duration or 0)) * last.time_base),
            )


def _with_next(pictures: Iterator[DecodedPicture]) -> Iterator[tuple[DecodedPicture, DecodedPicture | None]]:
    """Each picture with the one after it, None after the last."""
    held = next(pictures, None)
    while held is not None:
        following = next(pictures, None)
        yield held, following
        held = following


def _exact(seconds: float | None) -> Fraction | None:
    """A time as it was meant: 0.48 is 12/25, though no float is."""
    return None if seconds is None else Fraction(seconds).limit_denominator(10**6)
