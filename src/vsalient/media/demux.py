"""Packets out of a file, whatever is wrong with it: times in order, one clock, errors counted, the end known."""

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from vsalient.media.clock import SteadyClock
from vsalient.media.container import restarts_clocks, sane_rate

log = logging.getLogger(__name__)

_RETRIES = 3
_LATEST_TIME = 10**9  # seconds, 30 years: what is further from zero is no time but garbage


def is_absurd(time: int | None, time_base: Fraction) -> bool:
    """Whether a stored time cannot be meant."""
    return time is not None and abs(time) * time_base > _LATEST_TIME


def usual_step(stream: Stream) -> int:
    """How long a packet of a stream lasts that does not say, in the stream's time base."""
    if not isinstance(stream, VideoStream) or not stream.time_base:
        return 0
    return max(1, round(1 / (sane_rate(stream) or Fraction(25)) / stream.time_base))


class Demuxer:
    """Packets of some tracks, in the file's order.

    Absurd times are taken away. Where a format's clock may start anew, the packets of all tracks with times are looked
    at, so that every reader of the file gives its track the same times.

    Args:
        container: open; is read from where it stands.
        tracks: whose packets are given.

    Attributes:
        errors: how often the file could not be read on.
        failed: whether the last thing that came was an error.
        leapt: whether the clock of the track started anew with the packet just given.
        ends: seconds at which each track's packets so far end, by the track's index, for all tracks with times.
    """

    def __init__(self, container: InputContainer, tracks: Sequence[Stream]) -> None:
        self._container = container
        self._wanted = {track.index for track in tracks}
        streams = container.streams
        timed: list[Stream] = [*streams.video, *streams.audio, *streams.subtitles]
        self._tracks = [track for track in timed if track.time_base]
        self._steps = {track.index: usual_step(track) for track in self._tracks}
        self._clock = SteadyClock() if restarts_clocks(container) else None
        self.errors = 0
        self.failed = self.leapt = False
        self.ends: dict[int, Fraction] = {}

    @property
    def furthest(self) -> Fraction:
        """Seconds at which the track ends that goes on longest."""
        return max(self.ends.values(), default=Fraction(0))

    def __iter__(self) -> "Iterator[Packet[Stream]]":
        """Yield packets that hold something."""
        for _ in range(_RETRIES):
            try:
                for packet in self._container.demux(*self._tracks):
                    if packet.size:
                        self.failed = False
                        self.leapt = self._keep_time(packet)
                        if packet.stream_index in self._wanted:
                            yield packet
                return
            except IndexError:
                return  # PyAV at the end of a file in which more tracks turned up on the way
            except (av.FFmpegError, OSError) as error:
                log.debug("demuxer: %s", error)
                self.errors += 1
                self.failed = True

    def _keep_time(self, packet: "Packet[Stream]") -> bool:
        if is_absurd(packet.pts, packet.time_base):
            packet.pts = None
        if is_absurd(packet.dts, packet.time_base):
            packet.dts = None
        track, step = packet.stream_index, self._steps[packet.stream_index]
        leapt = self._clock is not None and self._clock.mend(packet, step)
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or step)) * packet.time_base
            self.ends[track] = max(self.ends.get(track, end), end)
        return leapt
