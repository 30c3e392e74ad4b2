"""The outputs that are one video file: a painter, how its pictures are encoded, and the openers of the kinds."""

from collections.abc import Callable, Mapping
from io import BytesIO

from PIL import Image

from vsalient.errors import OutputError
from vsalient.files import StagedFile
from vsalient.media.encoder import Encoding, VideoEncoder
from vsalient.outputs.encodings import eight_bits, encodings
from vsalient.outputs.output import Opening, Output
from vsalient.outputs.painters import Heat, Painter, Tint, black_and_white, gray
from vsalient.outputs.stdout import STDOUT, StdoutVideo
from vsalient.types import Result


class VideoOutput(Output):
    """A video file with one picture for each frame, at the frame's own time.

    Args:
        given: where, of what, and how.
        encodings: file ending -> how to encode.
        paint: result -> the picture to write: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA.
        sound: whether this kind of video has any.
        release: called at the end, however it comes.

    Raises:
        OutputError: the file exists, or the place cannot be written to.
    """

    def __init__(
        self,
        given: Opening,
        encodings: Mapping[str, Encoding],
        paint: Painter,
        *,
        sound: bool = True,
        release: Callable[[], None] | None = None,
    ) -> None:
        self.path = given.path
        self._paint = paint
        self._release = release or (lambda: None)
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
        self._release()
        self._encoder.close()

    def abort(self) -> None:
        """Remove what was written."""
        self._release()
        self._encoder.abort()


class StillOutput(Output):
    """One picture, for a source that is one picture: PNG, JPEG or WebP by the ending.

    Args:
        given: where, of what, and how.
        paint: result -> the picture: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA.
        release: called at the end, however it comes.

    Raises:
        OutputError: the file exists, or the place cannot be written to.
    """

    def __init__(self, given: Opening, paint: Painter, release: Callable[[], None] | None = None) -> None:
        self.path = given.path
        self._paint, self._release = paint, release or (lambda: None)
        self._staged = StagedFile(given.path, overwrite=given.overwrite)
        choice = given.looks.encoding
        self._quality = 92 if choice is None or choice.quality is None else round(100 - choice.quality)

    def write(self, result: Result) -> None:
        """Paint and encode the picture."""
        if result.index > 0:
            raise OutputError(f"{self.path} holds one picture, and more came; write a video, or a folder of PNGs.")
        picture = Image.fromarray(self._paint(result))
        form = {".png": "png", ".webp": "webp"}.get(self.path.suffix.lower(), "jpeg")
        settings = {"compress_level": 6} if form == "png" else {"quality": self._quality}
        encoded = BytesIO()
        picture.save(encoded, form, **settings)
        self._staged.write(encoded.getvalue())

    def close(self) -> None:
        """Take the final name."""
        self._release()
        self._staged.commit()

    def abort(self) -> None:
        """Remove what was written."""
        self._release()
        self._staged.discard()


def film(
    given: Opening,
    encodings: Mapping[str, Encoding],
    paint: Painter,
    *,
    sound: bool = True,
    release: Callable[[], None] | None = None,
) -> Output:
    """A video; or a picture, where the name that was let through is that of one. Arguments as of `VideoOutput`."""
    if given.path == STDOUT:
        return StdoutVideo(given, paint, release)
    if given.path.suffix.lower() in encodings:
        return VideoOutput(given, encodings, paint, sound=sound, release=release)
    return StillOutput(given, paint, release)


def levels(given: Opening) -> Output:
    """The saliency maps as gray levels over the full range: white is salient."""
    return film(given, encodings("levels", given.looks.encoding), gray, sound=False)


def mask_video(given: Opening) -> Output:
    """The masks as 0 and 255; in .mp4 and .mov within a few levels (threshold at 128 when reading)."""
    return film(given, encodings("levels", given.looks.encoding), black_and_white, sound=False)


def overlay(given: Opening) -> Output:
    """The video with its salient object tinted and outlined, and the rest darkened."""
    return film(given, encodings("colour", given.looks.encoding), Tint(given.looks.tint, transfer=_transfer_of(given)))


def contours(given: Opening) -> Output:
    """The video with a line around the mask, and nothing else changed."""
    paint = Tint(given.looks.tint, strength=0.0, dim=0.0, transfer=_transfer_of(given))
    return film(given, encodings("colour", given.looks.encoding), paint)


def heatmap(given: Opening) -> Output:
    """The video in gray under a heat map of its saliency."""
    return film(given, encodings("colour", eight_bits(given.looks.encoding)), Heat())


def _transfer_of(given: Opening) -> int | None:
    """The transfer function to paint in; None for 8 bits."""
    return given.info.color_tags[1] if given.looks.deep else None
