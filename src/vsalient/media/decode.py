"""Packets to pictures in presentation order, with a stand-in for every picture that damage took away."""

import contextlib
import heapq
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vsalient.media.demux import Demuxer, is_absurd, usual_step

log = logging.getLogger(__name__)

# In these every picture has a packet with its true presentation time, so a time without a picture is a loss.
_EXACT_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv", "nut", "ivf"}
# How many pictures are held back where stored times are those of decoding (AVI with B-frames): see `_sorted`.
_REORDER_WINDOW = 4
_JUMP_SECONDS = 10
# Packets and bytes that are kept to decode the end once more: more than a decoder's threads have at hand at once.
_TAIL_PACKETS, _TAIL_BYTES = 32, 16 * 2**20


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """One picture in presentation order.

    Attributes:
        frame: what the decoder gave, None when nothing could be decoded.
        pts: in the stream's time base, strictly increasing.
        corrupt: damaged (the decoder patched it up) or, with `frame` None, lost.
        duration: how long it stands by itself, in the stream's time base; 0 when the file does not say.
    """

    frame: VideoFrame | None
    pts: int
    corrupt: bool
    duration: int = 0


class PictureStream:
    """Demux and decode one video stream, packet by packet, from where the container stands.

    Count: every packet that should show a picture gives exactly one. When the decoder refuses a packet, or drops it
    in silence, the picture's time is known from the packet, and a `DecodedPicture` without a frame takes its place.

    Times: pictures leave in presentation order. A missing or absurd pts becomes the last one plus a frame's duration;
    one that is not later than the last becomes the last plus one tick. Where the clock of a transport or program stream
    starts anew (see `SteadyClock`), and in other formats after a backward jump of more than 10 s (recordings put
    together), times are moved so that they go on a frame's duration after the last.

    Args:
        container, stream: what is read.
        live: hold no picture back, at the price of the order of those whose stored times are shuffled.

    Attributes:
        stream: the stream that is decoded.
        step: a frame's usual duration, in the stream's time base.
        errors: packets the demuxer or decoder refused so far.
        interlaced: whether a picture so far was stored as two fields.
        encrypted: whether a packet said so.
        demuxer: where the packets come from; knows how far the tracks reach, and whether it ended with an error.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, *, live: bool = False) -> None:
        assert stream.time_base is not None
        self._window = 0 if live else _REORDER_WINDOW
        self.stream, self.demuxer = stream, Demuxer(container, [stream])
        self._time_base: Fraction = stream.time_base
        self.step = usual_step(stream)
        self._exact = container.format.name in _EXACT_FORMATS
        self._expected: list[int] = []  # heap of the pts of packets whose picture has not come yet
        self._damaged: set[int] = set()
        self._recent: deque[int] = deque(maxlen=3)  # pts of the last packets
        self._excused: set[int] = set()
        self._started = False  # a key frame's packet has come
        self._first_key: int | None = None
        self._timed = True  # all packets have a pts
        self.interlaced = False  # two packets, one a field, may share one picture
        self._untold = 0  # packets without pts that still owe a picture
        self._tail: deque[list[Packet[VideoStream]]] = deque()  # the last groups of pictures
        self._last: int | None = None  # the latest pts that the decoder gave
        self.errors = 0
        self.encrypted = False

    def __iter__(self) -> Iterator[DecodedPicture]:
        """Yield all pictures of the stream."""
        return self._repaired(self._completed(self._sorted(self._decoded())))

    def _packets(self) -> "Iterator[Packet[VideoStream] | None]":
        """Packets of the stream, then None to flush the decoder, whatever the demuxer meets."""
        for packet in self.demuxer:
            if self.demuxer.leapt:
                # The demuxer takes the seam of two recordings for lost packets.
                self._excused.update(self._recent)
            if packet.pts is not None:
                self._recent.append(packet.pts)
            yield cast("Packet[VideoStream]", packet)
        self.errors += self.demuxer.errors
        yield None

    def _decoded(self) -> Iterator[VideoFrame | None]:
        """Frames as the decoder gives them; None where it refused a packet."""
        for packet in self._packets():
            if packet is not None:
                self._expect(packet)
                if packet.is_corrupt:
                    self.errors += 1
                self._keep(packet)
            try:
                frames = self.stream.codec_context.decode(packet)
            except av.FFmpegError as error:
                if not isinstance(error, EOFError):
                    log.debug("decoder: %s", error)
                    self.errors += 1
                    if self._started:
                        yield None
                continue
            for frame in frames:
                if frame.pts is not None:
                    self._last = frame.pts if self._last is None else max(self._last, frame.pts)
                yield frame
        yield from self._left_behind()

    def _keep(self, packet: "Packet[VideoStream]") -> None:
        """Remember the last groups, from a key frame on."""
        if packet.is_keyframe:
            self._tail.append([])
        if self._tail:
            self._tail[-1].append(packet)
        while len(self._tail) > 1 and sum(map(len, self._tail)) - len(self._tail[0]) >= _TAIL_PACKETS:
            self._tail.popleft()
        if sum(kept.size for group in self._tail for kept in group) > _TAIL_BYTES:
            self._tail.clear()

    def _left_behind(self) -> Iterator[VideoFrame]:
        """The last pictures, where damage among them ended the decoder before its threads had handed over the rest."""
        owed = {pts for pts in self._expected if self._last is None or pts > self._last}
        if not owed or not self._timed:
            return
        old = self.stream.codec_context
        try:
            alone = cast("av.VideoCodecContext", av.CodecContext.create(old.name, "r"))
            alone.extradata, alone.thread_count = old.extradata, 1
            alone.width, alone.height, alone.codec_tag = old.width, old.height, old.codec_tag
        except (av.FFmpegError, ValueError, TypeError) as error:
            log.debug("the end cannot be decoded once more: %s", error)
            return
        found = []
        for packet in (*(packet for group in self._tail for packet in group), None):
            with contextlib.suppress(av.FFmpegError):
                found += [frame for frame in alone.decode(packet) if frame.pts in owed]
        # Damage can also undo the order that a decoder gives.
        yield from sorted(found, key=lambda frame: frame.pts or 0)

    def _expect(self, packet: "Packet[VideoStream]") -> None:
        """Note the pts of a packet that must show a picture."""
        self.encrypted |= packet.has_sidedata("encryption_info")
        if packet.is_discard:
            return  # outside an edit list: decoded, but never shown
        if self.stream.codec_context.name == "vp8" and not memoryview(packet)[0] & 0x10:
            return  # an alternate reference: never shown
        pts = packet.pts
        if not self._started:
            if not packet.is_keyframe:
                return  # the file joins in the middle of a group: nothing to decode it from
            self._started, self._first_key = True, pts
        if pts is None or self._first_key is None:
            self._timed = False
        if not self._timed:
            self._untold += 1
            return
        assert pts is not None and self._first_key is not None
        if pts >= self._first_key:  # leading pictures of an open group have lost their reference
            heapq.heappush(self._expected, pts)
        if packet.is_corrupt:
            self._damaged.add(pts)

    def _sorted(self, frames: Iterator[VideoFrame | None]) -> Iterator[VideoFrame | None]:
        """Put shuffled pts in order: hold back a few frames and give each the smallest pts among them.

        Decoders deliver in presentation order; only where a format stores decoding times do pts come shuffled.
        """
        if self._exact:
            yield from frames
            return
        held: deque[VideoFrame | None] = deque()
        times: list[int] = []
        last: int | None = None
        for frame in frames:
            if frame is not None and frame.pts is not None:
                if last is not None and abs(frame.pts - last) * self._time_base > _JUMP_SECONDS:
                    yield from _release(held, times, 0)
                heapq.heappush(times, frame.pts)
                last = frame.pts
            held.append(frame)
            yield from _release(held, times, self._window)
        yield from _release(held, times, 0)

    def _completed(self, frames: Iterator[VideoFrame | None]) -> Iterator[tuple[VideoFrame | None, int | None, bool]]:
        """Add what was lost: (frame or None, pts or None, corrupt).

        Losses are told by times that no picture came for; without times, by refused packets and, at the end, by count.
        """
        damaged = False
        for frame in frames:
            if frame is None:
                if not self._timed or self.interlaced:
                    self._untold -= 1
                    yield None, None, True
                continue
            self.interlaced |= frame.interlaced_frame
            self._untold -= 1
            if frame.pts is not None:
                yield from self._lost_before(frame.pts)
            corrupt = frame.is_corrupt or frame.pts in self._damaged
            damaged |= frame.is_corrupt
            yield frame, frame.pts, corrupt and frame.pts not in self._excused
        yield from self._lost_before(None)
        if not self._timed and not self.interlaced and (damaged or self.errors):
            yield from ((None, None, True) for _ in range(self._untold))

    def _lost_before(self, pts: int | None) -> Iterator[tuple[None, int, bool]]:
        """Drop what is expected up to `pts` (all when None); what lies before it never came."""
        while self._expected and (pts is None or self._expected[0] <= pts):
            expected = heapq.heappop(self._expected)
            # Formats with inexact times also hold packets that show nothing: believe a loss after an error only.
            if expected != pts and self._timed and not self.interlaced and (self._exact or self.errors):
                yield None, expected, True

    def _repaired(self, pictures: Iterator[tuple[VideoFrame | None, int | None, bool]]) -> Iterator[DecodedPicture]:
        """Make pts strictly increasing."""
        last: int | None = None
        offset = 0
        for frame, stored, corrupt in pictures:
            if stored is None or is_absurd(stored, self._time_base):
                pts = 0 if last is None else last + self.step
            else:
                pts = stored + offset
                if last is not None and pts <= last:
                    if (last - pts) * self._time_base > _JUMP_SECONDS:
                        offset += last + self.step - pts
                        pts = last + self.step
                    else:
                        pts = last + 1
            last = pts
            yield DecodedPicture(frame, pts, corrupt, max(frame.duration or 0, 0) if frame is not None else 0)


def _release(held: deque[VideoFrame | None], times: list[int], keep: int) -> Iterator[VideoFrame | None]:
    """Let all but `keep` frames go, in order, each with the smallest pts still held."""
    while len(held) > keep:
        frame = held.popleft()
        if frame is not None and frame.pts is not None:
            frame.pts = heapq.heappop(times)
        yield frame
