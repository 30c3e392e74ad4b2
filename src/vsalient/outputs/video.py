"""The outputs that are one video file: a painter, how its pictures are encoded, and the openers of the kinds."""

from collections.abc import Mapping

from vsalient.media.encoder import Encoding, VideoEncoder
from vsalient.outputs.painters import Heat, Painter, Tint, black_and_white, cut_out, gray, with_alpha
from vsalient.outputs.sink import Opening, Output
from vsalient.types import Result

# Without B-frames, since MP4 counts durations in the order of decoding: only so does a film of uneven times end at the
# same moment for every reader.
_H264 = Encoding("libx264", "yuv420p", {"preset": "veryfast", "crf": "18", "bf": "0"})
_H264_LEVELS = Encoding("libx264", "gray", {"preset": "ultrafast", "qp": "4"})
LEVELS = {".mp4": _H264_LEVELS, ".mov": _H264_LEVELS, ".mkv": Encoding("ffv1", "gray")}
"""For maps: in .mkv lossless, else levels come back within 2 of 255."""
COLOUR = dict.fromkeys((".mp4", ".mkv", ".mov"), _H264)
"""For looking at: plays everywhere, no visible loss."""
ALPHA = {
    ".webm": Encoding(
        "libvpx-vp9",
        "yuva420p",
        {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1", "auto-alt-ref": "0"},
    ),
    ".mov": Encoding("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}),
}
"""Straight (not premultiplied) alpha: VP9, or ProRes 4444."""


class VideoOutput(Output):
    """A video file with one picture for each frame, at the frame's own time.

    Args:
        given: where, of what, and how.
        encodings: file ending -> how to encode.
        paint: result -> the picture to write: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA.
        sound: whether this kind of video has any.

    Raises:
        OutputError: the file exists, or the place cannot be written to.
    """

    def __init__(
        self, given: Opening, encodings: Mapping[str, Encoding], paint: Painter, *, sound: bool = True
    ) -> None:
        self.path = given.path
        self._paint = paint
        self._encoder = VideoEncoder(
            given.path,
            given.info,
            encodings[given.path.suffix.lower()],
            source=given.source,
            audio=given.looks.audio and sound,
            overwrite=given.overwrite,
            start=given.span[0],
            end=given.span[1],
        )

    def write(self, result: Result) -> None:
        """Paint and encode one frame."""
        frame = result.frame
        assert result.saliency.shape == frame.pixels.shape[:2], f"{result.saliency.shape} for {frame.pixels.shape}"
        self._encoder.write(self._paint(result), frame.pts, frame.time_base, frame.duration)

    def finish(self) -> None:
        """Encode what was held back, and write the index."""
        self._encoder.finish()

    def close(self) -> None:
        """Finish the file and move it to its final name."""
        self._encoder.close()

    def abort(self) -> None:
        """Remove what was written."""
        self._encoder.abort()


def levels(given: Opening) -> Output:
    """The saliency maps as gray levels over the full range: white is salient."""
    return VideoOutput(given, LEVELS, gray, sound=False)


def masks(given: Opening) -> Output:
    """The masks as 0 and 255; in .mp4 and .mov within a few levels (threshold at 128 when reading)."""
    return VideoOutput(given, LEVELS, black_and_white, sound=False)


def overlay(given: Opening) -> Output:
    """The video with its salient object tinted and outlined, and the rest darkened."""
    return VideoOutput(given, COLOUR, Tint(given.looks.tint))


def contours(given: Opening) -> Output:
    """The video with a line around the mask, and nothing else changed."""
    return VideoOutput(given, COLOUR, Tint(given.looks.tint, strength=0.0, dim=0.0))


def heatmap(given: Opening) -> Output:
    """The video in gray under a heat map of its saliency."""
    return VideoOutput(given, COLOUR, Heat())


def alpha(given: Opening) -> Output:
    """The object cut out, for editors and web pages: its probability, or its mask, as alpha."""
    return VideoOutput(given, ALPHA, with_alpha)


def foreground(given: Opening) -> Output:
    """The object on a plain colour."""
    color = given.looks.background
    return VideoOutput(given, COLOUR, lambda result: cut_out(result.frame.pixels, result.cover, color))
