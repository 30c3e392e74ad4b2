"""Small videos and pictures, encoded on the spot: what the media tests read."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def ramp(index: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """(H, W, 3) picture whose brightness tells `index` and whose corners tell the orientation."""
    pixels = np.full((height, width, 3), 40 + 8 * index, np.uint8)
    pixels[: height // 4, : width // 4] = (220, 30, 30)  # top left: red
    pixels[: height // 4, -(width // 4) :] = (30, 220, 30)  # top right: green
    pixels[-(height // 4) :, : width // 4] = (30, 30, 220)  # bottom left: blue
    return pixels


def blob(width: int = 64, height: int = 48, at: int = 20) -> NDArray[np.float32]:
    """(H, W) soft saliency: a disc with a smooth edge."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(x - at, y - height / 2)
    return np.clip((height / 3 - distance) / 6 + 0.5, 0, 1).astype(np.float32)


def write_video(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    options: dict[str, str] | None = None,
    matrix: int | None = None,
    full_range: bool = False,
    tag: bool = True,
    rotation: int | None = None,
    hflip: bool = False,
    audio_seconds: float = 0.0,
    audio_codec: str = "aac",
    container_options: dict[str, str] | None = None,
    planes: Sequence[NDArray[np.uint8]] | None = None,
) -> Path:
    """Encode `pictures` (RGB) with exact pts; `matrix` is an `AVColorSpace` number (1 = 709, 5 = 601, 9 = 2020)."""
    height, width = pictures[0].shape[:2]
    sws = {1: 1, 5: 5, 6: 5, 9: 9, None: 5}[matrix]
    with av.open(str(path), "w", options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=Fraction(25), options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.time_base = time_base
        context = stream.codec_context
        context.time_base = time_base
        if rotation is not None or hflip:
            stream.set_display_rotation(rotation or 0, hflip=hflip)
        if tag and matrix is not None:
            context.colorspace = matrix
            context.color_range = 2 if full_range else 1
        audio = out.add_stream(audio_codec, rate=48000) if audio_seconds else None
        if audio is not None:
            audio.layout = "mono"
            _write_audio(out, audio, audio_seconds)
        for number, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            if pixel_format != "rgb24":
                frame = frame.reformat(
                    format=pixel_format,
                    dst_colorspace=sws,
                    src_color_range=2,
                    dst_color_range=2 if full_range else 1,
                )
            frame.pts = pts[number] if pts is not None else number
            frame.time_base = time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _write_audio(out: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    size = 960
    for number in range(int(seconds * 48000 / size)):
        tone = (np.sin(np.arange(size) / 20 + number) * 8000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, number * size, Fraction(1, 48000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def read_pts(path: Path, kind: str = "video") -> list[Fraction]:
    """Presentation times of all decoded frames (video) or packets (audio), in exact seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.get(**{kind: 0})[0]
        if kind == "video":
            return [frame.pts * frame.time_base for frame in container.decode(stream)]
        return [packet.pts * packet.time_base for packet in container.demux(stream) if packet.size]


def packets(path: Path) -> list[bytes]:
    """The bytes of every video packet, in decoding order."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def zero_packet(path: Path, number: int) -> None:
    """Overwrite one video packet's bytes with zeros."""
    payload = packets(path)[number]
    data = path.read_bytes()
    assert data.count(payload) == 1, "the packet's bytes must be unique in the file"
    path.write_bytes(data.replace(payload, bytes(len(payload))))
