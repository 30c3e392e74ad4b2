"""`-w roi`: the object's box in every frame, smoothed, with how sure it is, for encoders and players."""

import json

import numpy as np

from vsalient.files import StagedFile
from vsalient.outputs.output import Opening, Output
from vsalient.reframe.boxes import Boxes
from vsalient.types import Result

_OFFSET = -0.25
"""FFmpeg's `qoffset` in `addroi`: a quarter of the quantiser's range finer inside."""


class RoiFile(Output):
    """One JSON object: source, width, height, `frames` with time, box (x, y, width, height) or null, and confidence.

    `addroi` is the filter that tells FFmpeg's x264 and x265 of the region in that frame.

    Args:
        given: where, and of what.
    """

    def __init__(self, given: Opening) -> None:
        self.path = given.path
        self._info = given.info
        self._staged = StagedFile(given.path, overwrite=given.overwrite)
        self._boxes = Boxes()
        self._times: list[float] = []

    def write(self, result: Result) -> None:
        """Add one frame."""
        self._boxes.push(result.cover, result.frame.scene)
        self._times.append(result.time)

    def finish(self) -> None:
        """Write the file."""
        edges = self._boxes.steady()
        frames = []
        for index, (time, (left, top, right, bottom), sure) in enumerate(
            zip(self._times, edges, self._boxes.sure, strict=True)
        ):
            record: dict[str, object] = {"frame": index, "time": round(time, 6), "box": None}
            if not np.isnan(left):
                box = [round(float(value), 1) for value in (left, top, right - left, bottom - top)]
                x, y, width, height = (round(value) for value in box)
                record |= {"box": box, "addroi": f"addroi={x}:{y}:{width}:{height}:{_OFFSET}"}
            frames.append({**record, "confidence": round(sure, 4)})
        head = {"source": self._info.path.name, "width": self._info.width, "height": self._info.height}
        self._staged.write(json.dumps({**head, "frames": frames}, ensure_ascii=False))

    def close(self) -> None:
        """Write the file and take the final name."""
        self.finish()
        self._staged.commit()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._staged.discard()


def roi(given: Opening) -> Output:
    """Boxes for encoders and players."""
    return RoiFile(given)
