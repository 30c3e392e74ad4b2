"""Files of numbers and outlines: per-frame measures as CSV or JSON, masks as COCO JSON. Written as the frames come."""

import contextlib
import csv
import json
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vsalient.files import StagedFile, writing
from vsalient.outputs.output import Opening, Output
from vsalient.segment import rle
from vsalient.segment.measure import Measure, measure, measure_instances
from vsalient.types import MaskArray, Result

CATEGORY = {"id": 1, "name": "salient object", "supercategory": "object"}


class TextOutput(Output):
    """A text file that grows with the frames under a hidden name and takes its own at the end.

    Args:
        path: where the finished file will stand.
        overwrite: replace what stands there.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self._staged = StagedFile(path, overwrite=overwrite)
        self._file = self._staged.text()

    def write(self, result: Result) -> None:
        """Add one frame."""
        with writing(self.path):
            self._add(result)

    def finish(self) -> None:
        """Complete the file."""
        if not self._file.closed:
            with writing(self.path):
                self._end()
                self._file.close()

    def close(self) -> None:
        """Complete the file and give it its name."""
        self.finish()
        self._staged.commit()

    def abort(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._staged.discard()

    @abstractmethod
    def _add(self, result: Result) -> None: ...

    def _end(self) -> None:
        """Write what comes after the last frame: nothing, unless the format needs it."""


class CsvMeasures(TextOutput):
    """A row a frame for the whole mask, followed by a row for each numbered object when there are numbers.

    `object` is empty for the whole mask. Areas are pixels, boxes x, y, width, height; what an empty mask lacks is
    empty.
    """

    COLUMNS = (
        "frame", "name", "time", "object", "area", "share", "box_x", "box_y", "box_width", "box_height",
        "centroid_x", "centroid_y", "confidence", "objects",
    )  # fmt: skip

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        super().__init__(path, overwrite=overwrite)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(self.COLUMNS)

    def _add(self, result: Result) -> None:
        frame = result.frame
        for number, found in _measures(result):
            x, y, width, height = found.box or ("",) * 4
            across, down = [f"{value:.2f}" for value in found.centroid] if found.centroid else ("", "")
            confidence = "" if found.confidence is None else f"{found.confidence:.4f}"
            share = f"{found.area / result.mask.size:.6f}"
            self._rows.writerow(
                (frame.index, frame.name or "", f"{frame.time:.6f}", "" if number is None else number, found.area,
                 share, x, y, width, height, across, down, confidence, found.objects)
            )  # fmt: skip


class JsonMeasures(TextOutput):
    """The same as one JSON object: source, width, height, and `frames`, each with its `instances` when numbered."""

    def __init__(self, path: Path, source: str, *, overwrite: bool = False) -> None:
        super().__init__(path, overwrite=overwrite)
        self._source = source
        self._count = 0

    def _add(self, result: Result) -> None:
        frame = result.frame
        height, width = result.mask.shape
        if self._count == 0:
            head = json.dumps({"source": self._source, "width": width, "height": height}, ensure_ascii=False)
            self._file.write(f'{head[:-1]}, "frames": [')
        whole, *parts = _measures(result)
        record = {"frame": frame.index, "name": frame.name, "time": round(frame.time, 6)} | _table_record(whole[1])
        record["share"] = round(whole[1].area / result.mask.size, 6)
        if result.instances is not None:
            record["instances"] = [{"object": number} | _table_record(found) for number, found in parts]
        self._file.write((",\n" if self._count else "\n") + json.dumps(record, ensure_ascii=False))
        self._count += 1

    def _end(self) -> None:
        if self._count == 0:
            self._file.write(json.dumps({"source": self._source, "frames": []}, ensure_ascii=False)[:-2])
        self._file.write("\n]}\n")


class CocoMasks(TextOutput):
    """COCO instance annotations with compressed run lengths: one for each frame's mask, or for each numbered object.

    Image ids are frame indices plus 1. An empty mask has no annotation. `track_id` is the object's number.
    """

    def __init__(self, path: Path, source: str, *, overwrite: bool = False) -> None:
        super().__init__(path, overwrite=overwrite)
        # The images' list comes after the annotations in the file; it waits on disk.
        self._images = tempfile.TemporaryFile("w+", encoding="utf-8", prefix="vsalient-")  # noqa: SIM115
        self._count = self._written = 0
        head = json.dumps({"info": {"description": source}, "categories": [CATEGORY]}, ensure_ascii=False)
        self._file.write(f'{head[:-1]}, "annotations": [')

    def abort(self) -> None:
        """Leave nothing behind."""
        self._images.close()
        super().abort()

    def _add(self, result: Result) -> None:
        frame = result.frame
        height, width = result.mask.shape
        name = frame.name or f"{frame.index:05d}"
        image = {"id": frame.index + 1, "file_name": name, "width": width, "height": height}
        self._images.write((",\n" if self._count else "\n") + json.dumps(image, ensure_ascii=False))
        self._count += 1
        for number, mask, found in _objects(result):
            annotation: dict[str, Any] = {
                "id": self._written + 1,
                "image_id": frame.index + 1,
                "category_id": CATEGORY["id"],
                "segmentation": rle.encode(mask),
                "area": found.area,
                "bbox": list(found.box or ()),
                "iscrowd": 0,
                "score": round(found.confidence or 0.0, 4),
            }
            if number is not None:
                annotation["track_id"] = number
            self._file.write((",\n" if self._written else "\n") + json.dumps(annotation))
            self._written += 1

    def _end(self) -> None:
        self._file.write('\n], "images": [')
        self._images.seek(0)
        for line in self._images:
            self._file.write(line)
        self._images.close()
        self._file.write("\n]}\n")


def _measures(result: Result) -> Iterator[tuple[int | None, Measure]]:
    """Yield the whole mask's measure under None, then each numbered object's."""
    yield None, measure(result.mask, result.saliency)
    if result.instances is not None:
        yield from measure_instances(result.instances, result.saliency).items()


def _objects(result: Result) -> Iterator[tuple[int | None, MaskArray, Measure]]:
    """Yield the masks to annotate: the numbered objects, or else the whole mask; never an empty one."""
    if result.instances is not None:
        for number, found in measure_instances(result.instances, result.saliency).items():
            yield number, result.instances == number, found
    elif result.mask.any():
        yield None, result.mask, measure(result.mask, result.saliency)


def _table_record(found: Measure) -> dict[str, Any]:
    return {
        "area": found.area,
        "box": list(found.box) if found.box else None,
        "centroid": [round(value, 2) for value in found.centroid] if found.centroid else None,
        "confidence": None if found.confidence is None else round(found.confidence, 4),
        "objects": found.objects,
    }


def csv_measures(given: Opening) -> Output:
    """A row a frame, and one for each numbered object."""
    return CsvMeasures(given.path, overwrite=given.overwrite)


def json_measures(given: Opening) -> Output:
    """The same as JSON."""
    return JsonMeasures(given.path, str(given.source or given.info.path), overwrite=given.overwrite)


def coco(given: Opening) -> Output:
    """Masks as COCO annotations."""
    return CocoMasks(given.path, str(given.source or given.info.path), overwrite=given.overwrite)
