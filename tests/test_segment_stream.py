"""The steps wired into one stream, and the files of numbers at its end."""

import csv
import json
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from vsalient.errors import InputError, OptionError, OutputError
from vsalient.outputs.tables import CocoMasks, CsvMeasures, JsonMeasures
from vsalient.segment import rle
from vsalient.segment.segmenter import Cleanup, Segmenter
from vsalient.segment.thresholds import parse_threshold
from vsalient.types import Frame

HEIGHT, WIDTH = 30, 40


def frames(count=7):
    for index in range(count):
        yield Frame(np.full((HEIGHT, WIDTH, 3), index, np.uint8), index, 3 * index, Fraction(1, 75))


def saliency(index):
    """A bright square that moves, with a hole, and a speck that comes and goes."""
    result = np.full((HEIGHT, WIDTH), 0.1, dtype=np.float32)
    result[8:18, 4 + index : 14 + index] = 0.9
    result[12, 8 + index] = 0.1
    if index % 2:
        result[25:27, 30:32] = 0.8
    return result


def run(segmenter, count=7):
    found = []
    for frame in frames(count):
        found += segmenter.push(frame, saliency(frame.index))
    found += segmenter.finish()
    assert [segment.frame.index for segment in found] == list(range(count))
    for segment in found:
        assert segment.frame.pixels[0, 0, 0] == segment.frame.index  # the right frame with the right mask
    return found


def test_by_default_there_is_only_the_threshold():
    for segment in run(Segmenter(parse_threshold("0.5"))):
        assert np.array_equal(segment.mask, saliency(segment.frame.index) >= 0.5)
        assert segment.instances is None


def test_cleanup_does_each_thing_that_was_asked():
    whole = run(Segmenter(parse_threshold("0.5"), cleanup=Cleanup(min_area=5, fill=True)))
    assert all(segment.mask.sum() == 100 for segment in whole)
    share = run(Segmenter(parse_threshold("0.5"), cleanup=Cleanup(min_area=5 / (HEIGHT * WIDTH))))
    assert all(segment.mask.sum() == 99 for segment in share)
    largest = run(Segmenter(parse_threshold("0.5"), cleanup=Cleanup(largest=1)))
    assert all(segment.mask.sum() == 99 for segment in largest)
    median = run(Segmenter(parse_threshold("0.5"), cleanup=Cleanup(median=3)))
    assert [bool(segment.mask[25, 30]) for segment in median] == [False, False, True, False, True, False, False]


def test_instances_last():
    found = run(Segmenter(parse_threshold("0.5"), instances=True))
    assert all(segment.instances[13, 8 + segment.frame.index + 1] == 1 for segment in found)
    assert {int(segment.instances[25, 30]) for segment in found} == {0, 2}


def test_refinement_comes_at_its_place():
    seen = []

    def refine_map(pixels, probability):
        return probability * 0.5

    def refine_mask(pixels, mask):
        seen.append((int(pixels[0, 0, 0]), int(mask.sum())))
        return np.roll(mask, 1, axis=0)

    found = run(Segmenter(parse_threshold("0.42"), refine_map=refine_map, refine_mask=refine_mask))
    assert seen == [(index, 99) for index in range(7)]  # the speck, at 0.4, fell below the threshold
    assert np.array_equal(found[0].mask, np.roll(saliency(0) * 0.5 >= 0.42, 1, axis=0))
    assert found[0].saliency.max() == pytest.approx(0.45)


def test_waiting_steps_hold_few_frames():
    segmenter = Segmenter(parse_threshold("adaptive", scope="clip", clip_length=3), cleanup=Cleanup(median=3))
    counts = [len(segmenter.push(frame, saliency(frame.index))) for frame in frames(7)]
    assert counts == [0, 0, 2, 0, 0, 3, 0]
    assert len(list(segmenter.finish())) == 2


def test_max_f_reads_the_frames_again(tmp_path):
    for index in range(4):
        truth = saliency(index) >= 0.85
        Image.fromarray(truth.astype(np.uint8) * 255).save(tmp_path / f"{index}.png")
    opened = []

    @contextmanager
    def again():
        opened.append(True)
        yield frames(4)

    threshold = parse_threshold(f"max-f:{tmp_path}")
    found = run(Segmenter(threshold, again=again), 4)
    assert opened == [True]
    for segment in found:
        assert np.array_equal(segment.mask, saliency(segment.frame.index) >= 0.85)
        assert np.abs(segment.saliency - saliency(segment.frame.index)).max() <= 0.5 / 255 + 1e-6
    with pytest.raises(OptionError, match="twice"):
        Segmenter(threshold)


def test_maps_must_have_the_frames_size():
    with pytest.raises(InputError, match=r"40x30.*40x20"):
        Segmenter(parse_threshold("0.5")).push(next(frames()), np.zeros((20, 40), dtype=np.float32))


@pytest.mark.parametrize("settings", [{"median": 4}, {"min_area": -1}, {"min_area": float("nan")}, {"largest": 0}])
def test_senseless_cleanup_is_refused(settings):
    with pytest.raises(OptionError):
        Cleanup(**settings)


def write_all(tmp_path, segments):
    outputs = [
        CsvMeasures(tmp_path / "a" / "measures.csv", overwrite=True),
        JsonMeasures(tmp_path / "measures.json", "clip ü.mp4", overwrite=True),
        CocoMasks(tmp_path / "coco.json", "clip.mp4", overwrite=True),
    ]
    for output in outputs:
        for segment in segments:
            output.write(segment)
        output.close()
    table = list(csv.DictReader((tmp_path / "a" / "measures.csv").open(encoding="utf-8")))
    return table, *[json.loads((tmp_path / name).read_text("utf-8")) for name in ("measures.json", "coco.json")]


def test_tables_say_what_the_masks_are(tmp_path):
    table, measures, coco = write_all(tmp_path, run(Segmenter(parse_threshold("0.5"))))
    assert [int(row["frame"]) for row in table] == list(range(7))
    row, record = table[2], measures["frames"][2]
    assert (int(row["area"]), row["box_x"], row["box_width"], row["objects"]) == (99, "6", "10", "1")
    assert float(row["time"]) == pytest.approx(0.08) and float(row["confidence"]) == pytest.approx(0.9, abs=1e-4)
    assert record["box"] == [6, 8, 10, 10] and record["area"] == 99 and record["objects"] == 1
    assert record["centroid"] == [float(row["centroid_x"]), float(row["centroid_y"])]
    assert (measures["source"], measures["width"], measures["height"]) == ("clip ü.mp4", WIDTH, HEIGHT)
    assert (
        [image["id"] for image in coco["images"]] == [a["image_id"] for a in coco["annotations"]] == list(range(1, 8))
    )
    for annotation in coco["annotations"]:
        mask = saliency(annotation["image_id"] - 1) >= 0.5
        assert np.array_equal(rle.decode(annotation["segmentation"]), mask)
        assert annotation["area"] == mask.sum() and annotation["category_id"] == coco["categories"][0]["id"]


def test_tables_of_numbered_objects(tmp_path):
    table, measures, coco = write_all(tmp_path, run(Segmenter(parse_threshold("0.5"), instances=True)))
    assert [row["object"] for row in table[:5]] == ["", "1", "", "1", "2"]
    assert [one["object"] for one in measures["frames"][1]["instances"]] == [1, 2]
    assert measures["frames"][1]["instances"][1]["box"] == [30, 25, 2, 2]
    tracks = [(a["image_id"], a["track_id"]) for a in coco["annotations"]]
    assert tracks == [(i, t) for i in range(1, 8) for t in ((1, 2) if i % 2 == 0 else (1,))]
    assert len({a["id"] for a in coco["annotations"]}) == len(tracks)


def test_tables_of_empty_masks_and_of_no_frames(tmp_path):
    table, measures, coco = write_all(tmp_path, run(Segmenter(parse_threshold("1"))))
    assert [row["area"] for row in table] == ["0"] * 7 and table[0]["box_x"] == table[0]["confidence"] == ""
    assert measures["frames"][0]["centroid"] is None
    assert len(coco["images"]) == 7 and coco["annotations"] == []
    table, measures, coco = write_all(tmp_path, [])
    assert table == measures["frames"] == coco["images"] == []


def test_a_table_has_its_name_only_when_it_is_whole(tmp_path):
    (segment, *_) = run(Segmenter(parse_threshold("0.5")))
    for make in (CsvMeasures, lambda path: CocoMasks(path, "x"), lambda path: JsonMeasures(path, "x")):
        path = tmp_path / "table"
        output = make(path)
        output.write(segment)
        assert not path.exists()
        output.abort()
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        CsvMeasures(tmp_path / "file" / "table.csv")
