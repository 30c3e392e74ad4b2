"""One video file being written: exact times, tagged colours, sound beside it, a temporary name until it is whole."""

import contextlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vsalient.files import StagedFile, writing
from vsalient.media.audio import AudioTracks
from vsalient.media.color import scaler_matrix
from vsalient.media.container import ffmpeg_name
from vsalient.media.extras import write_extras
from vsalient.media.matroska import reserve_display_size, write_display_size
from vsalient.types import VideoInfo

log = logging.getLogger(__name__)

_FINEST = 10**9  # units a second
_LARGE = 3000 * 2000  # pixels
_SPARING: dict[str, dict[str, str]] = {"libx264": {"rc-lookahead": "3"}}
"""Encoder -> what spares memory for large pictures: those that it looks ahead at, ten otherwise, weigh 16 MB each."""
_BT709 = 1  # in FFmpeg's enums of primaries, transfer and matrix alike


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pictures are encoded.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pixel_format: what it is given. "gray" means full-range levels, held as 4:2:0 where the codec is H.264 and the
            size is even, because most players know no H.264 in gray.
        options: the encoder's own.
        deep: pictures come in 16 bits as the source codes them, and keep its colour tags.
    """

    codec: str
    pixel_format: str
    options: Mapping[str, str] = field(default_factory=dict)
    deep: bool = False


class VideoEncoder:
    """Write pictures with the source's own times to a video file.

    Times: a picture's pts and time base go into the file as they are, in MP4 and MOV exactly, in Matroska and WebM to
    the nearest millisecond (these formats know nothing finer). The last picture stands as long as it is told to.

    Args:
        path: final name; its suffix chooses the container.
        info: facts of the source: size, rate, time base.
        encoding: codec and pixel format.
        source: file to take sound from.
        audio: whether to carry the sound over.
        overwrite: replace a file that exists.
        start: seconds of the source that become time zero of the output (the source was cut there).
        end: seconds of the source at which it was cut.

    Raises:
        OutputError: the file exists, or the place cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        encoding: Encoding,
        *,
        source: Path | None = None,
        audio: bool = True,
        overwrite: bool = False,
        start: float | None = None,
        end: float | None = None,
    ) -> None:
        self.path = path
        self._encoding = encoding
        self._shift = Fraction(start or 0).limit_denominator(10**6)
        self._reformatter = VideoReformatter()
        self._staged = StagedFile(path, overwrite=overwrite)
        self._container: OutputContainer | None = None
        self._audio: AudioTracks | None = None
        self._held: Packet[VideoStream] | None = None  # the newest packet: its duration is known when the next comes
        self._durations: dict[int, int] = {}  # of pictures whose packets have not come, by pts
        self._end = 0  # pts at which the last picture ends
        self._aspect, self._breaks_off = info.pixel_aspect, info.breaks_off
        # libvpx counts in nothing finer than a nanosecond; where the file holds milliseconds, nothing is lost.
        coarse = path.suffix.lower() in (".mkv", ".webm") and info.time_base.denominator > _FINEST
        self._unit = Fraction(1, 1_000_000) if coarse else info.time_base
        even = info.width % 2 == 0 and info.height % 2 == 0
        # H.264 in 4:2:0 has even sizes only: colour gets its last column or row twice, data stays gray.
        self._pad = not even and encoding.pixel_format.startswith("yuv420p")
        self._tags = info.color_tags if encoding.deep else (_BT709, _BT709, _BT709)
        self._as_420 = encoding.pixel_format == "gray" and encoding.codec == "libx264" and even
        try:
            with writing(path, av.FFmpegError):
                if path.suffix.lower() in (".mkv", ".webm"):
                    # Sound often starts a little before zero (its codec's run-in): that must not move the pictures.
                    options = {"avoid_negative_ts": "disabled"}
                else:
                    # Where a track begins is kept in units of its own, thousandths of a second if nothing is said.
                    options = {"movie_timescale": str(_timescale(self._unit))}
                self._container = av.open(ffmpeg_name(self._staged.place), "w", options=options)
                self._stream = self._add_stream(self._container, info)
                until = None if end is None else Fraction(end).limit_denominator(10**6)
                write_extras(self._container, self._stream, info, start=self._shift, end=until)
                if source is not None and info.extras is not None and info.extras.left_out:
                    log.warning("%s: left out of it: %s.", path, ", ".join(info.extras.left_out))
                if source is not None and audio and info.has_audio:
                    self._audio = AudioTracks(
                        source, self._container, path.suffix.lower(), start=self._shift, end=until
                    )
        except BaseException:
            self.abort()
            raise

    def _add_stream(self, container: OutputContainer, info: VideoInfo) -> VideoStream:
        rate = info.rate or Fraction(25)
        large = info.width * info.height >= _LARGE and self._encoding.pixel_format != "gray"
        sparing = _SPARING.get(self._encoding.codec, {}) if large else {}
        options = {**sparing, **self._encoding.options}
        stream = container.add_stream(self._encoding.codec, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = info.width, info.height
        if self._pad:
            stream.width, stream.height = info.width + info.width % 2, info.height + info.height % 2
        stream.pix_fmt = "yuv420p" if self._as_420 else self._encoding.pixel_format
        stream.time_base = self._unit
        context = stream.codec_context
        context.time_base = self._unit
        context.sample_aspect_ratio = info.pixel_aspect
        if self._shaped:
            reserve_display_size(stream)
        if self._encoding.pixel_format == "gray":
            context.color_range = ColorRange.JPEG
        else:
            context.color_range = ColorRange.MPEG
        context.color_primaries, context.color_trc, context.colorspace = self._tags
        return stream

    @property
    def _shaped(self) -> bool:
        """Whether the display size must be put into a Matroska file: see `matroska`."""
        return self._aspect != 1 and self.path.suffix.lower() in (".mkv", ".webm")

    def write(self, picture: NDArray[Any], pts: int, time_base: Fraction, duration: int | None = None) -> None:
        """Encode one picture: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA, as the pixel format needs.

        It is uint8, or uint16 where the encoding is deep.

        Args:
            picture: the pixels.
            pts: when it is shown, in units of `time_base`.
            time_base: seconds per unit.
            duration: how long it stands; only the last one's matters, since others stand until the next is shown.

        Raises:
            OutputError: the place cannot be written to.
        """
        assert self._container is not None, "the file is closed"
        frame = self._to_frame(picture)
        at = pts - round(self._shift / time_base)
        # Multiplied out, not rounded, where the units are the source's own.
        frame.pts = at if time_base == self._unit else round(at * time_base / self._unit)
        frame.time_base = self._unit
        if duration:
            self._durations[frame.pts] = max(1, round(duration * time_base / self._unit))
        self._end = frame.pts + self._durations.get(frame.pts, 0)
        with writing(self.path, av.FFmpegError):
            self._mux(self._stream.encode(frame))
            if self._audio is not None:
                self._audio.write_until(frame.pts * self._unit)

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        """Write packets with their durations, the newest only when the next one has come."""
        assert self._container is not None
        for packet in packets:
            if packet.pts is not None and packet.dts is not None:
                packet.duration = self._durations.pop(packet.pts, packet.duration or 0)
            if self._held is not None:
                self._container.mux(self._held)
            self._held = packet

    def _mux_last(self) -> None:
        """Write the last packet.

        Encoders that reorder (none of ours does now) may have its picture stand before the last one shown.
        """
        packet, self._held = self._held, None
        if packet is None:
            return
        assert self._container is not None
        if packet.pts is not None:
            packet.duration = max(packet.duration or 0, self._end - packet.pts)
        self._container.mux(packet)

    def _to_frame(self, picture: NDArray[Any]) -> VideoFrame:
        if picture.ndim == 2:
            if not self._as_420:
                frame = VideoFrame.from_ndarray(picture, "gray")
            else:
                height, width = picture.shape
                planes = np.full((height * 3 // 2, width), 128, np.uint8)
                planes[:height] = picture
                frame = VideoFrame.from_ndarray(planes, "yuv420p")
            frame.color_range = ColorRange.JPEG
            frame.colorspace = _BT709
            return frame
        if self._pad:
            height, width = picture.shape[:2]
            picture = np.asarray(cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))
        form = ("rgba64le", "rgb48le") if self._encoding.deep else ("rgba", "rgb24")
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(picture, form[picture.shape[2] == 3]),
            format=self._encoding.pixel_format,
            dst_colorspace=scaler_matrix(self._tags[2]),
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        # ProRes tags every picture by itself.
        frame.color_primaries, frame.color_trc, frame.colorspace = self._tags
        return frame

    def finish(self) -> None:
        """Flush and write the index; a second call does nothing.

        Raises:
            OutputError: the place cannot be written to; nothing is left behind then.
        """
        if self._container is None:
            return
        try:
            with writing(self.path, av.FFmpegError):
                self._mux(self._stream.encode(None))
                self._mux_last()
                if self._audio is not None:
                    self._audio.finish(self._end * self._unit if self._breaks_off else None)
                container, self._container = self._container, None
                width, height = self._stream.width, self._stream.height
                container.close()
                if self._shaped:
                    write_display_size(self._staged.place, width, height, self._aspect)
        except BaseException:
            self.abort()
            raise
        finally:
            self._close_audio()

    def close(self) -> None:
        """Finish and move to the final name; calling it twice does no harm.

        Raises:
            OutputError: the place cannot be written to; nothing is left behind then.
        """
        self.finish()
        self._staged.commit()

    def abort(self) -> None:
        """Remove what was written; does nothing once closed."""
        self._close_audio()
        if self._container is not None:
            with contextlib.suppress(OSError, av.FFmpegError):
                self._container.close()
            self._container = None
        self._staged.discard()

    def _close_audio(self) -> None:
        if self._audio is not None:
            self._audio.close()
            self._audio = None


def _timescale(time_base: Fraction) -> int:
    """Units a second in which times in `time_base` and in milliseconds are whole; at most what a file can hold."""
    scale = math.lcm(time_base.denominator, 1000)
    return scale if scale < 2**31 else min(time_base.denominator, 2**31 - 1)
