"""Masks as a first annotation for other tools: prompts for SAM 2, YouTube-VIS, CVAT and Label Studio."""

import json
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np

from vsalient.outputs.output import Opening, Output
from vsalient.outputs.tables import CATEGORY, TextOutput
from vsalient.segment import rle
from vsalient.segment.measure import measure
from vsalient.types import MaskArray, Result

_LABEL = str(CATEGORY["name"])


@dataclass(frozen=True, slots=True)
class Seen:
    """One object in one frame.

    Attributes:
        frame: index of the frame.
        time: seconds.
        box: x, y, width, height in pixels.
        inside: x, y of the pixel deepest inside: a point that is surely on it.
        area: pixels.
        sure: mean probability inside.
        outline: corners of the largest part, x, y.
        mask: COCO's compressed run lengths.
    """

    frame: int
    time: float
    box: tuple[int, int, int, int]
    inside: tuple[int, int]
    area: int
    sure: float
    outline: list[tuple[int, int]]
    mask: rle.Rle


@dataclass
class Film:
    """What is written at the end.

    Attributes:
        source: the film's name.
        width, height: in pixels.
        times: of all frames, seconds.
        names: of the frames, where they have some.
        objects: number -> where it was seen, in order.
    """

    source: str
    width: int
    height: int
    times: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    objects: dict[int, list[Seen]] = field(default_factory=dict)


class TrackFile(TextOutput):
    """Collects the objects of all frames, as outlines and run lengths, and writes them at the end.

    Without numbered objects the whole mask is object 1.

    Args:
        given: where, and of what.
    """

    def __init__(self, given: Opening) -> None:
        super().__init__(given.path, overwrite=given.overwrite)
        self._film = Film(given.info.path.name, given.info.width, given.info.height)

    def _add(self, result: Result) -> None:
        frame, film = result.frame, self._film
        film.height, film.width = result.mask.shape
        film.times.append(frame.time)
        film.names.append(frame.name or f"{frame.index:05d}")
        for number, mask in _polygons(result):
            found = measure(mask, result.saliency)
            if found.box is None:
                continue
            outline, inside = _outline(mask)
            film.objects.setdefault(number, []).append(
                Seen(
                    frame.index,
                    frame.time,
                    found.box,
                    inside,
                    found.area,
                    found.confidence or 0.0,
                    outline,
                    rle.encode(mask),
                )
            )

    def _end(self) -> None:
        self._file.write(self.document(self._film))

    @abstractmethod
    def document(self, film: Film) -> str:
        """The file's text."""


def _polygons(result: Result) -> Iterator[tuple[int, MaskArray]]:
    if result.instances is None:
        yield 1, result.mask
        return
    for number in np.unique(result.instances):
        if number > 0:
            yield int(number), result.instances == number


def _outline(mask: MaskArray) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """The largest part's corners, and the pixel deepest inside; the frame's border is no way out."""
    pixels = mask.view(np.uint8)
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = cv2.approxPolyDP(max(contours, key=cv2.contourArea), 1.0, True).reshape(-1, 2)
    depth = cv2.distanceTransform(pixels, cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return [(int(x), int(y)) for x, y in largest], (int(column), int(row))


class Prompts(TrackFile):
    """For SAM 2: for each object and frame the `points`, `labels` and `box` of its `add_new_points_or_box`.

    `best_frame` is where the object is largest and surest: prompt there if only once. `first_mask` (COCO run lengths)
    is what MatAnyone's demo wants as a picture; `-w masks` writes it as one.
    """

    def document(self, film: Film) -> str:
        """The JSON text."""
        objects = [
            {
                "obj_id": number,
                "best_frame": max(seen, key=lambda one: one.area * one.sure).frame,
                "first_frame": seen[0].frame,
                "first_mask": seen[0].mask,
                "prompts": [
                    {
                        "frame_idx": one.frame,
                        "box": [one.box[0], one.box[1], one.box[0] + one.box[2], one.box[1] + one.box[3]],
                        "points": [list(one.inside)],
                        "labels": [1],
                        "confidence": round(one.sure, 4),
                    }
                    for one in seen
                ],
            }
            for number, seen in sorted(film.objects.items())
        ]
        head = {"video": film.source, "width": film.width, "height": film.height, "frames": len(film.times)}
        return json.dumps({**head, "objects": objects}, ensure_ascii=False)


class YoutubeVis(TrackFile):
    """YouTube-VIS's JSON: one annotation an object, with a segmentation, box and area (or null) for every frame."""

    def document(self, film: Film) -> str:
        """The JSON text."""
        annotations: list[dict[str, Any]] = []
        for identity, (number, seen) in enumerate(sorted(film.objects.items()), 1):
            at = {one.frame: one for one in seen}
            frames = [at.get(index) for index in range(len(film.times))]
            annotations.append(
                {
                    "id": identity,
                    "video_id": 1,
                    "category_id": CATEGORY["id"],
                    "iscrowd": 0,
                    "track_id": number,
                    "height": film.height,
                    "width": film.width,
                    "length": len(film.times),
                    "segmentations": [one and one.mask for one in frames],
                    "bboxes": [one and list(one.box) for one in frames],
                    "areas": [one and one.area for one in frames],
                }
            )
        video = {
            "id": 1,
            "width": film.width,
            "height": film.height,
            "length": len(film.times),
            "file_names": [f"{film.source}/{name}" for name in film.names],
        }
        document = {"info": {}, "videos": [video], "categories": [CATEGORY], "annotations": annotations}
        return json.dumps(document, ensure_ascii=False)


class Cvat(TrackFile):
    """CVAT for video 1.1: a track of polygons an object, every frame a key frame."""

    def document(self, film: Film) -> str:
        """The XML text."""
        lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
        for track, (_, seen) in enumerate(sorted(film.objects.items())):
            lines.append(f'  <track id="{track}" label={quoteattr(_LABEL)} source="auto">')
            for one, after in zip(seen, [*seen[1:], None], strict=True):
                lines.append(_polygon(one.frame, one.outline, outside=False))
                following = one.frame + 1
                gone = after is None or after.frame != following
                if gone and following < len(film.times):
                    lines.append(_polygon(following, one.outline, outside=True))
            lines.append("  </track>")
        return "\n".join([*lines, "</annotations>", ""])


def _polygon(frame: int, outline: list[tuple[int, int]], *, outside: bool) -> str:
    corners = (
        outline
        if len(outline) >= 3
        else [(x + dx, y + dy) for x, y in outline[:1] for dx, dy in ((0, 0), (1, 0), (1, 1))]
    )
    points = ";".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return (
        f'    <polygon frame="{frame}" outside="{int(outside)}" occluded="0" keyframe="1" z_order="0" '
        f'points="{points}"></polygon>'
    )


class LabelStudio(TrackFile):
    """Label Studio's import: one task with a prediction of `videorectangle` regions, in percent, frames from 1."""

    def document(self, film: Film) -> str:
        """The JSON text."""
        count = len(film.times)
        span = film.times[-1] - film.times[0] if count else 0.0
        duration = span * count / (count - 1) if count > 1 else 0.0
        regions = [
            {
                "id": f"object{number}",
                "type": "videorectangle",
                "from_name": "box",
                "to_name": "video",
                "score": round(float(np.mean([one.sure for one in seen])), 4),
                "value": {
                    "framesCount": count,
                    "duration": round(duration, 6),
                    "sequence": list(_sequence_record(film, seen)),
                    "labels": [_LABEL],
                },
            }
            for number, seen in sorted(film.objects.items())
        ]
        task = {"data": {"video": film.source}, "predictions": [{"model_version": "vsalient", "result": regions}]}
        return json.dumps([task], ensure_ascii=False)


def _sequence_record(film: Film, seen: list[Seen]) -> Iterator[dict[str, Any]]:
    for one, after in zip(seen, [*seen[1:], None], strict=True):
        x, y, width, height = one.box
        yield {
            "frame": one.frame + 1,
            "time": round(one.time, 6),
            "x": round(100 * x / film.width, 4),
            "y": round(100 * y / film.height, 4),
            "width": round(100 * width / film.width, 4),
            "height": round(100 * height / film.height, 4),
            "rotation": 0,
            # A region that is enabled goes on until the next entry of its sequence.
            "enabled": after is not None and after.frame == one.frame + 1,
        }


def prompts(given: Opening) -> Output:
    """Boxes and points for SAM 2."""
    return Prompts(given)


def youtube_vis(given: Opening) -> Output:
    """YouTube-VIS annotations."""
    return YoutubeVis(given)


def cvat(given: Opening) -> Output:
    """A CVAT import."""
    return Cvat(given)


def label_studio(given: Opening) -> Output:
    """A Label Studio import."""
    return LabelStudio(given)
