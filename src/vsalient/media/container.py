"""Opening a media file with FFmpeg: one clear line when it is not a video, the video stream, where time begins."""

import os
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vsalient.errors import DecodeError, InputError
from vsalient.media.addresses import ADDRESS_PATIENCE, address_of, check_address, wait_for_pipe

# FFmpeg reads any text file as ANSI art under these names; nobody means that.
_TEXT_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}
PLAIN_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mxf,gif,ivf,h264,hevc,mpegvideo,m4v,dv,nut,yuv4mpegpipe"
"""Containers that hold their pictures themselves."""
# FFmpeg's AVFMT_TS_DISCONT.
_TS_DISCONT = 0x0200
_FASTEST = 1000  # frames a second that an average is believed to be


def ffmpeg_name(path: Path) -> str:
    """The path as FFmpeg must be given it: what stands before a colon would be a protocol, as in `12:30.mp4`."""
    return f"./{path}" if ":" in str(path) and not path.is_absolute() else str(path)


_SHORT = {"analyzeduration": "500000"}


def open_container(path: Path, *, live: bool = False) -> InputContainer:
    """Open `path` for reading; `live` looks at half a second of it to learn what it is, not at up to five.

    Raises:
        InputError: no such file, a folder, or no permission.
        DecodeError: an empty file, or one that FFmpeg does not recognise.
    """
    if (address := address_of(path)) is not None and not path.exists():
        return _open_address(address)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the name.")
    if path.is_dir():
        raise InputError(f"{path} is a folder where a video file was expected.")
    if path.is_file() and path.stat().st_size == 0:
        raise DecodeError(f"{path} is empty (0 bytes); copy or record it again.")
    wait_for_pipe(path)
    try:
        container = av.open(
            ffmpeg_name(path), "r", metadata_errors="replace", options=_restrictions() | (_SHORT if live else {})
        )
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, PermissionError):
            raise InputError(f"{path} cannot be read: permission denied.") from None
        raise DecodeError(f"{path} is not a video that can be read ({_why(path, error)}).") from None
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise DecodeError(f"{path} is a text file, not a video.")
    return container


def _restrictions() -> dict[str, str]:
    """What FFmpeg may do for a file of a stranger's: a playlist must neither be read nor lead anywhere.

    `vsalient serve` sets the variable for its children.
    """
    if not os.environ.get("VSALIENT_PLAIN_MEDIA"):
        return {}
    return {"protocol_whitelist": "file", "format_whitelist": PLAIN_FORMATS}


def _open_address(address: str) -> InputContainer:
    check_address(address)
    if os.environ.get("VSALIENT_PLAIN_MEDIA"):
        raise InputError(f"{address} is an address, which is not read here: give a file.")
    try:
        return av.open(address, "r", metadata_errors="replace", timeout=ADDRESS_PATIENCE)
    except (av.FFmpegError, OSError) as error:
        late = isinstance(error, av.ExitError | TimeoutError)
        reason = f"no answer within {ADDRESS_PATIENCE[0]:g} s" if late else (error.strerror or str(error)).lower()
        raise InputError(f"{address} cannot be read: {reason}.") from None


def _why(path: Path, error: Exception) -> str:
    """The most helpful short reason for a file that does not open."""
    with path.open("rb") as file:
        head = file.read(4096)
    if head[4:8] == b"ftyp":
        return "its index, the moov atom, is missing: the recording or the copy was cut short"
    if head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "it holds text"
    return (getattr(error, "strerror", None) or str(error)).strip().lower()


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The main video stream; cover pictures of music files do not count.

    Raises:
        DecodeError: there is none (says so when there is only audio), or FFmpeg has no decoder for it.
    """
    streams = [s for s in container.streams.video if Disposition.attached_pic not in s.disposition]
    tiles = [s for s in streams if Disposition.dependent in s.disposition]
    if len(tiles) > 1:
        raise DecodeError(
            f"{path} holds one picture in {len(tiles)} tiles, which are not put together here; save it as JPEG or PNG."
        )
    if not streams:
        what = "only audio" if container.streams.audio else "no video"
        raise DecodeError(f"{path} holds {what}; give a file with a video stream.")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    assert isinstance(stream, VideoStream)
    if stream.codec_context is None or stream.time_base is None:
        raise DecodeError(f"{path} holds video in a codec that FFmpeg cannot decode here.")
    return stream


def restarts_clocks(container: InputContainer) -> bool:
    """Whether the format allows that its clock starts anew in the middle: transport and program streams."""
    return bool(container.format.flags & _TS_DISCONT)


def sane_rate(stream: VideoStream) -> Fraction | None:
    """Frames a second. The average, unless it is one that no camera has, as for raw DV: then FFmpeg's guess."""
    average, guess = stream.average_rate, stream.guessed_rate
    if average and guess and average > _FASTEST >= guess:
        return guess
    return average or guess


def time_origin(container: InputContainer) -> Fraction:
    """Seconds on the file's own clock that count as time zero.

    MPEG transport and program streams start their clock anywhere, hours into it for a TV recording, so their first
    audio or video packet is time zero. In all other formats timestamps count from zero as they are stored.
    """
    if not restarts_clocks(container):
        return Fraction(0)
    starts = [
        stream.start_time * stream.time_base
        for stream in (*container.streams.video, *container.streams.audio)
        if stream.start_time is not None and stream.time_base is not None
    ]
    return min(starts, default=Fraction(0))
