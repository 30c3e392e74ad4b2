"""COCO's instances as stills: all objects of a picture drawn into one mask (3DC-Seg, section 4.1)."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vsalient.datasets.found import Found, FoundPair
from vsalient.errors import DataError


class DrawnMask:
    """The union of a picture's instances as the bytes of a PNG, drawn when it is asked for.

    Args:
        size: (height, width).
        outlines: the instances' `segmentation`: lists of x, y coordinates, one a polygon.
    """

    def __init__(self, size: tuple[int, int], outlines: list[list[list[float]]]) -> None:
        self.size, self.outlines = size, outlines

    def __call__(self) -> bytes:
        """Draw it."""
        mask = np.zeros(self.size, np.uint8)
        for polygons in self.outlines:
            # In sixteenths of a pixel, as coordinates are fractions.
            points = [np.rint(np.array(p, np.float64).reshape(-1, 2) * 16 - 8).astype(np.int32) for p in polygons]
            cv2.fillPoly(mask, [p for p in points if len(p) > 2], 255, shift=4)
        return bytes(cv2.imencode(".png", mask)[1])


def find_coco(root: Path) -> Iterator[Found]:
    """The pictures of every `annotations/instances_NAME.json`, looked for in `NAME/`, `images/NAME/` and `images/`.

    Crowds are no instances and stay background.

    Raises:
        DataError: a file is not COCO's JSON.
    """
    for path in sorted((root / "annotations").glob("instances_*.json")):
        yield from _read_json(path, root)


def _read_json(path: Path, root: Path) -> Iterator[Found]:
    name = path.stem.removeprefix("instances_")
    homes = [p for p in (root / name, root / "images" / name, root / "images") if p.is_dir()]
    try:
        table: dict[str, Any] = json.loads(path.read_text("utf-8"))
        outlines: dict[int, list[list[list[float]]]] = defaultdict(list)
        for entry in table["annotations"]:
            if not entry.get("iscrowd") and isinstance(entry["segmentation"], list):
                outlines[entry["image_id"]].append(entry["segmentation"])
        images = [(i["file_name"], (int(i["height"]), int(i["width"])), outlines[i["id"]]) for i in table["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not COCO's instances as JSON: {error!r}; give the released file") from error
    for file, size, drawn in images:
        home = next((p for p in homes if (p / file).is_file()), None)
        if drawn and home is not None:
            yield Found(Path(file).stem, [FoundPair((home / file).read_bytes, DrawnMask(size, drawn))], (name,))
