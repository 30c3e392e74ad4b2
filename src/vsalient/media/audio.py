"""The sound of the source, carried into an output: copied where the container takes the codec, else encoded anew."""

import io
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer

from vsalient.media.container import open_container, time_origin
from vsalient.media.demux import Demuxer

log = logging.getLogger(__name__)

# What to encode to where the source's codec does not fit.
_FALLBACK = {".webm": "libopus", ".mkv": "libopus", ".mp4": "aac", ".mov": "aac"}
_RATE = 48000  # of what is encoded anew; surround becomes stereo then
# What players of a container know. FFmpeg writes more into MP4, PCM among it, that others play as noise or not at all.
_KNOWN_CODECS = {
    ".webm": {"opus", "vorbis"},
    ".mp4": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac", "dts"},
    ".mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_mulaw", "pcm_alaw", "pcm_s8", "pcm_u8"}
    | {f"pcm_{kind}{bits}{end}" for kind, bits in (("s", 16), ("s", 24), ("s", 32), ("f", 32)) for end in ("le", "be")},
}
_SAMPLE_FORMATS = {".webm": "webm", ".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}
# QuickTime numbers languages, and FFmpeg knows the numbers by one of the two ISO 639-2 codes only.
_QUICKTIME_NAMES = {
    **{"deu": "ger", "fre": "fra", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi", "cze": "ces"},
    **{"slo": "slk", "rum": "ron", "fas": "per", "sqi": "alb", "hye": "arm", "eus": "baq", "mya": "bur", "kat": "geo"},
    **{"mkd": "mac", "msa": "may", "bod": "tib", "cym": "wel"},
}
_LABELS = ("language", "title", "handler_name")


class _Track:
    """One audio stream on its way into the output."""

    def __init__(self, source: AudioStream, output: OutputContainer, suffix: str) -> None:
        self.source = source
        self._encoder: AudioStream | None = None
        self._last: int | None = None
        if _fits(source, suffix):
            self._copy = output.add_stream_from_template(source)
            _label(self._copy, source, suffix)
        else:
            encoder = output.add_stream(_FALLBACK[suffix], rate=_RATE)
            assert isinstance(encoder, AudioStream)
            encoder.layout = "mono" if source.codec_context.channels == 1 else "stereo"
            self._resampler = AudioResampler(encoder.format, encoder.layout, _RATE)
            self._encoder = encoder
            _label(encoder, source, suffix)
            name = source.codec_context.codec.canonical_name
            log.info("the sound (%s) does not fit into %s and is encoded as %s", name, suffix, _FALLBACK[suffix])

    def pass_on(self, packet: "av.Packet[AudioStream]", shift: int, output: OutputContainer) -> None:
        """Write one packet of the source, `shift` ticks earlier."""
        if self._encoder is None:
            assert packet.pts is not None and packet.dts is not None
            if self._last is not None and packet.dts <= self._last:
                return  # muxers refuse what does not advance, and players would drop it
            self._last = packet.dts
            packet.dts -= shift
            packet.pts = max(packet.pts - shift, packet.dts)
            packet.stream = self._copy
            try:
                output.mux(packet)
            except av.FFmpegError as error:
                if isinstance(error, OSError):
                    raise
                log.debug("a damaged packet of sound is left out (%s)", error)
            return
        try:
            frames = self.source.codec_context.decode(packet)
        except av.FFmpegError:
            return  # a damaged packet of sound is a gap
        for frame in frames:
            assert isinstance(frame, av.AudioFrame)
            if frame.pts is not None:
                frame.pts -= shift
            for fitted in self._resampler.resample(frame):
                output.mux(self._encoder.encode(fitted))

    def finish(self, output: OutputContainer) -> None:
        """Empty the encoder."""
        if self._encoder is not None:
            for frame in self._resampler.resample(None):
                output.mux(self._encoder.encode(frame))
            output.mux(self._encoder.encode(None))


def _label(track: AudioStream, source: AudioStream, suffix: str) -> None:
    """Language, title and role, so that a player takes the same track by itself."""
    track.metadata.update({name: source.metadata[name] for name in _LABELS if name in source.metadata})
    if suffix == ".mov" and "language" in track.metadata:
        language = track.metadata["language"]
        track.metadata["language"] = _QUICKTIME_NAMES.get(language, language)
    track.disposition = source.disposition


def _fits(source: AudioStream, suffix: str) -> bool:
    """Whether a container takes a stream as it is; some codecs (Opus in MOV) are refused with the header only."""
    known = _KNOWN_CODECS.get(suffix)
    if known is not None and source.codec_context.codec.canonical_name not in known:
        return False
    try:
        with av.open(io.BytesIO(), "w", format=_SAMPLE_FORMATS[suffix]) as trial:
            trial.add_stream_from_template(source)
            trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _is_known(stream: AudioStream) -> bool:
    """Whether enough is known of a stream to write it elsewhere; in damaged files it may not be."""
    context = stream.codec_context
    known = context is not None and stream.time_base is not None and context.sample_rate and context.channels
    if not known:
        log.warning("%s: a sound track of an unknown kind is left out", stream.container.name)
    return bool(known)


class AudioTracks:
    """All audio streams of a source, written along with the pictures so that the file stays interleaved.

    Args:
        source: the file whose sound it is.
        output: the container to write to; its streams are added here.
        suffix: the output's kind, such as ".mp4".
        start: seconds of the source at which the output begins.
        end: seconds of the source at which it ends.
    """

    def __init__(
        self, source: Path, output: OutputContainer, suffix: str, *, start: Fraction, end: Fraction | None
    ) -> None:
        self._container = open_container(source)
        self._output = output
        self._cut = start > 0
        self._begin = start + time_origin(self._container)
        self._end = None if end is None else end + time_origin(self._container)
        self._tracks = [_Track(stream, output, suffix) for stream in self._container.streams.audio if _is_known(stream)]
        self._by_index = {track.source.index: track for track in self._tracks}
        self._packets = self._wanted() if self._tracks else iter(())
        self._next: av.Packet[AudioStream] | None = next(self._packets, None)

    def _wanted(self) -> "Iterator[av.Packet[AudioStream]]":
        if self._cut:
            try:
                self._container.seek(int(self._begin * av.time_base))
            except (OSError, ValueError):
                log.debug("cannot seek in the sound; reading from the beginning")
        demuxer = Demuxer(self._container, [track.source for track in self._tracks])
        beyond: set[int] = set()  # tracks that have come to the end
        for packet in demuxer:
            if packet.dts is None or packet.pts is None:
                continue
            time = packet.pts * packet.time_base
            if self._cut and time < self._begin:
                continue
            if self._end is not None and time >= self._end:
                beyond.add(packet.stream_index)
                if len(beyond) == len(self._tracks):
                    return
                continue
            yield cast("av.Packet[AudioStream]", packet)
        if demuxer.failed:
            log.warning("%s: the sound ends early: the file cannot be read to its end", self._container.name)

    def write_until(self, seconds: Fraction | None) -> None:
        """Write the sound up to a time of the output; all the rest when None."""
        while (packet := self._next) is not None:
            time = packet.pts * packet.time_base - self._begin if packet.pts is not None else Fraction(0)
            if seconds is not None and time > seconds:
                return
            track = self._by_index[packet.stream_index]
            assert track.source.time_base is not None
            track.pass_on(packet, round(self._begin / track.source.time_base), self._output)
            self._next = next(self._packets, None)

    def finish(self, end: Fraction | None = None) -> None:
        """Write the rest, or what is left up to a time of the output, and empty the encoders."""
        self.write_until(end)
        for track in self._tracks:
            track.finish(self._output)

    def close(self) -> None:
        """Let go of the source."""
        self._container.close()
