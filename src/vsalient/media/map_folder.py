"""The saliency maps as a folder of gray PNGs."""

from pathlib import Path

from vsalient.media.output import Output, StagedFolder
from vsalient.media.paint import to_gray
from vsalient.media.png import encode_png
from vsalient.types import Frame, SaliencyArray, VideoInfo


def picture_name(frame: Frame) -> str:
    """The frame's own name for a frame folder, else its index in five digits."""
    return f"{frame.name if frame.name is not None else f'{frame.index:05d}'}.png"


class MapFolder(Output):
    """8-bit gray PNGs, one a frame, 255 is salient; the folder appears when it is whole.

    Args:
        path: the folder.
        info: facts of the source; not needed, taken so that all outputs are opened alike.
        overwrite: replace a folder with content (see `StagedFolder`).

    Raises:
        OutputError: it exists with content, or the place cannot be written to.
    """

    def __init__(self, path: Path, info: VideoInfo | None = None, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._folder = StagedFolder(self.path, overwrite=overwrite)

    def write(self, frame: Frame, saliency: SaliencyArray) -> None:
        """Write one map."""
        self._folder.write(picture_name(frame), encode_png(to_gray(saliency)))

    def close(self) -> None:
        """Move the folder to its final name."""
        self._folder.close()

    def abort(self) -> None:
        """Remove what was written."""
        self._folder.abort()
