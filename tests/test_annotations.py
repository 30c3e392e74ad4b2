"""Masks as annotations of other tools, through the real command line, read back as those tools define them."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from tiny_model import STRIPE, install, stripe_mask, write_clip
from vsalient.cli.app import main
from vsalient.segment import rle

KINDS = "prompts,youtube-vis,cvat,label-studio,roi"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    install(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "in.mp4", 8)
    with pytest.raises(SystemExit) as end:
        main(["segment", "in.mp4", "-w", KINDS, "--instances", "--mask-style", "palette", "-q"])
    assert end.value.code == 0
    return tmp_path


def test_prompts(made: Path) -> None:
    found = json.loads((made / "in_prompts.json").read_text())
    assert (found["video"], found["width"], found["height"], found["frames"]) == ("in.mp4", 96, 64, 8)
    (thing,) = found["objects"]
    assert thing["obj_id"] == 1 and [one["frame_idx"] for one in thing["prompts"]] == list(range(8))
    one = thing["prompts"][3]
    assert one["box"] == [12, 0, 12 + STRIPE, 64] and one["labels"] == [1]
    assert stripe_mask(3)[one["points"][0][1], one["points"][0][0]] and one["confidence"] > 0.9
    np.testing.assert_array_equal(rle.decode(thing["first_mask"]), stripe_mask(0))


def test_youtube_vis(made: Path) -> None:
    found = json.loads((made / "in_youtubevis.json").read_text())
    (video,), (annotation,) = found["videos"], found["annotations"]
    assert video["length"] == 8 == len(video["file_names"]) and annotation["video_id"] == video["id"]
    np.testing.assert_array_equal(rle.decode(annotation["segmentations"][5]), stripe_mask(5))
    assert annotation["bboxes"][5] == [20, 0, STRIPE, 64] and annotation["areas"][5] == STRIPE * 64


def test_cvat(made: Path) -> None:
    root = ElementTree.parse(made / "in_cvat.xml").getroot()
    (track,) = root.findall("track")
    assert root.findtext("version") == "1.1" and track.get("label") == "salient object"
    shapes = track.findall("polygon")
    assert [int(shape.get("frame", -1)) for shape in shapes] == list(range(8))
    corners = [tuple(map(float, point.split(","))) for point in shapes[2].get("points", "").split(";")]
    assert min(x for x, _ in corners) == 8 and max(x for x, _ in corners) == 8 + STRIPE - 1


def test_label_studio(made: Path) -> None:
    ((task,),) = [json.loads((made / "in_labelstudio.json").read_text())]
    (region,) = task["predictions"][0]["result"]
    sequence = region["value"]["sequence"]
    assert region["type"] == "videorectangle" and region["value"]["framesCount"] == 8
    assert sequence[0]["frame"] == 1 and sequence[4]["x"] == pytest.approx(100 * 16 / 96, abs=1e-3)
    assert [entry["enabled"] for entry in sequence] == [True] * 7 + [False]


def test_roi(made: Path) -> None:
    found = json.loads((made / "in_roi.json").read_text())
    assert len(found["frames"]) == 8 and found["frames"][4]["confidence"] > 0.9
    assert found["frames"][4]["box"] == [16.0, 0.0, float(STRIPE), 64.0]
    assert found["frames"][4]["addroi"] == f"addroi=16:0:{STRIPE}:64:-0.25"
