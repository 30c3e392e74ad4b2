"""`vsalient segment` through the real command line, on a network whose answer is known and on maps made earlier."""

import json
import re
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

from conftest import needs
from media_files import read_pts
from tiny_model import install, stripe_mask, stripes, write_clip
from vsalient import entry_points
from vsalient.cli.app import main
from vsalient.cli.segment import KINDS
from vsalient.segment import rle


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """An empty working folder, with the default model replaced."""
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["segment", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def refused(capsys, *arguments, code=1):
    """Run what must fail; return its one line."""
    assert run(*arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    line = printed.err.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    return line


def write_pictures(folder, pictures):
    folder.mkdir(parents=True)
    for index, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{index:05d}.png")


def soft_maps(count):
    """Maps of the stripes: 0.9 on the object, 0.2 elsewhere."""
    return [np.where(stripe_mask(index), 230, 51).astype(np.uint8) for index in range(count)]


def mask_of(path):
    return np.asarray(Image.open(path)) > 0


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_video_becomes_a_folder_of_masks(place, capsys):
    write_clip(place / "holiday.mp4", 9)
    assert run("holiday.mp4") == 0
    printed = capsys.readouterr()
    assert printed.out == "holiday_masks\n" and "3dc-lite on cpu" in printed.err
    assert listing(place) == ["holiday.mp4", *(f"holiday_masks/{index:05d}.png" for index in range(9))]
    for index in range(9):
        levels = np.asarray(Image.open(place / "holiday_masks" / f"{index:05d}.png"))
        assert set(np.unique(levels)) == {0, 255}
        np.testing.assert_array_equal(levels > 0, stripe_mask(index))


def test_a_davis_tree(place):
    for name in ("bear", "bus"):
        write_pictures(place / "480p" / name, stripes(5))
    assert run("480p", "--mask-style", "palette", "-o", "tree/{stem}", "-q") == 0
    assert listing(place / "tree") == [f"{name}/{index:05d}.png" for name in ("bear", "bus") for index in range(5)]
    image = Image.open(place / "tree" / "bus" / "00003.png")
    assert image.mode == "P" and image.getpalette()[3:6] == [128, 0, 0]
    np.testing.assert_array_equal(np.asarray(image), stripe_mask(3).astype(np.uint8))


def test_every_kind_in_one_pass(place):
    write_clip(place / "in.mp4", 6, audio=True)
    assert run("in.mp4", "-w", ",".join(KINDS), "-o", "out", "-q") == 0
    assert {path.name for path in (place / "out").iterdir()} == {
        "in_masks", "in_mask.mkv", "in_contours.mp4", "in_cutout", "in_alpha.webm",
        "in_coco.json", "in_measures.csv", "in_measures.json", "in_saliency.mp4", "in_maps",
        "in_overlay.mp4", "in_heatmap.mp4", "in_foreground.mp4", "in_matte.mkv", "in_fill.mp4", "in_report.html",
            "in_prompts.json", "in_youtubevis.json", "in_cvat.xml", "in_labelstudio.json", "in_roi.json",
    }  # fmt: skip
    for name in ("in_mask.mkv", "in_contours.mp4", "in_alpha.webm"):
        assert read_pts(place / "out" / name) == read_pts(place / "in.mp4"), name
    with av.open(str(place / "out" / "in_contours.mp4")) as container:
        assert container.streams.audio
    cut = np.asarray(Image.open(place / "out" / "in_cutout" / "00002.png"))
    np.testing.assert_array_equal(cut[..., 3] >= 128, stripe_mask(2))
    hidden = cut[cut[..., 3] == 0]
    assert cut[stripe_mask(2)][:, 0].min() > 150 and hidden[:, 1:3].max() < 60 and len(hidden) > 1000
    coco = json.loads((place / "out" / "in_coco.json").read_text())
    np.testing.assert_array_equal(rle.decode(coco["annotations"][4]["segmentation"]), stripe_mask(4))


def test_contours_leave_the_picture_alone(place):
    write_clip(place / "in.mp4", 3)
    assert run("in.mp4", "-w", "contours", "-q") == 0
    with av.open(str(place / "in_contours.mp4")) as container:
        drawn = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    difference = np.abs(drawn - stripes(1)[0]).max(axis=2)
    edge = stripe_mask(0) ^ np.roll(stripe_mask(0), 1, axis=1)
    far = np.ones(96, bool)
    far[np.flatnonzero(edge[0])[:, None] + np.arange(-8, 9)] = False
    assert difference[edge].mean() > 4 * difference[:, far].mean()  # pink on red and grey: seen, though not far off


def test_maps_made_earlier_need_no_model(place, capsys):
    write_pictures(place / "frames", stripes(6))
    write_pictures(place / "maps", soft_maps(6))
    assert run("frames", "--maps", "maps", "-w", "masks,cutout") == 0
    printed = capsys.readouterr()
    assert printed.out == "frames_masks\nframes_cutout\n" and "on cpu" not in printed.err
    for index in range(6):
        np.testing.assert_array_equal(mask_of(place / "frames_masks" / f"{index:05d}.png"), stripe_mask(index))


def test_what_predict_wrote_is_found_again(place):
    for name in ("one.mp4", "two.mp4"):
        write_clip(place / name, 5)
    with pytest.raises(SystemExit) as end:
        main(["predict", "one.mp4", "two.mp4", "-o", "made", "-q"])
    assert end.value.code == 0
    assert run("one.mp4", "two.mp4", "--maps", "made", "--threshold", "0.5", "-o", "out/{stem}", "-q") == 0
    np.testing.assert_array_equal(mask_of(place / "out" / "two" / "00004.png"), stripe_mask(4))


@pytest.mark.parametrize(
    "template",
    ["made/{stem}_{model}.mkv", "made/{stem}_{kind}.{ext}", "made/{model}/{stem}.mkv", "{parent}/{stem}_{model}.mkv",
     "made/{stem}_{model}_{kind}.{ext}"],
)  # fmt: skip
def test_maps_are_found_under_the_names_that_templates_gave_them(place, capsys, template):
    """Also beside the films, and beside other outputs of the same run."""
    films = place / "films"
    films.mkdir()
    for name in ("bus", "camel"):
        write_clip(films / f"{name}.mp4", 4)
    names = ["films/bus.mp4", "films/camel.mp4"]
    kinds = "video,overlay" if "{kind}" in template else "video"
    with pytest.raises(SystemExit) as end:
        main(["predict", *names, "-w", kinds, "-o", template, "-q"])
    assert end.value.code == 0, capsys.readouterr().err
    where = "films" if "{parent}" in template else "made"
    assert run(*names, "--maps", where, "--threshold", "0.5", "-o", "out/{stem}", "-q") == 0, capsys.readouterr().err
    assert run(names[1], "--maps", where, "--threshold", "0.5", "-o", "one/{stem}", "-q") == 0
    for name in ("out/bus", "out/camel", "one/camel"):
        assert [np.array_equal(mask_of(place / name / f"{i:05d}.png"), stripe_mask(i)) for i in range(4)] == [True] * 4
    write_clip(place / "other.mp4", 4)
    capsys.readouterr()
    said = refused(capsys, "other.mp4", names[0], "--maps", where, "-o", "two/{stem}")
    assert "holds no maps of other.mp4" in said and not (place / "two").exists()


def test_maps_alone_are_enough_where_no_step_looks_at_colours(place, capsys):
    write_pictures(place / "maps", soft_maps(4))
    assert run("--maps", "maps", "-w", "mask-video,csv", "-q") == 0
    assert capsys.readouterr().out == "maps_mask.mkv\nmaps_measures.csv\n"
    for wish in (["-w", "alpha"], ["-w", "contours,cutout"], ["--refine", "crf"]):
        assert "needs the frames" in refused(capsys, "--maps", "maps", *wish)


@pytest.mark.parametrize("threshold", ["otsu", "hysteresis:0.3,0.7", "fixed:0.5", "0.5"])
def test_thresholds(place, threshold):
    write_pictures(place / "maps", soft_maps(4))
    assert run("--maps", "maps", "--threshold", threshold, "-o", "out", "-q") == 0
    np.testing.assert_array_equal(mask_of(place / "out" / "maps_masks" / "00003.png"), stripe_mask(3))


def test_the_threshold_of_the_best_f_measure(place):
    write_pictures(place / "frames", stripes(4))
    write_pictures(place / "truth" / "frames", [stripe_mask(index) for index in range(4)])
    # A model's maps this time, and outputs that need the frames' colours in the second reading.
    assert run("frames", "--threshold", "max-f:truth", "-w", "masks,cutout", "-q") == 0
    np.testing.assert_array_equal(mask_of(place / "frames_masks" / "00003.png"), stripe_mask(3))
    cut = np.asarray(Image.open(place / "frames_cutout" / "00003.png"))
    np.testing.assert_array_equal(cut[..., 3] >= 128, stripe_mask(3))


def test_a_package_offers_a_contour_detector(place, monkeypatch):
    """A detector that sees a contour around everything right of the middle: the mask is snapped to it."""
    needs("superpixels")
    package = place / "package"
    (package / "ours-1.0.dist-info").mkdir(parents=True)
    (package / "ours-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
    (package / "ours-1.0.dist-info/entry_points.txt").write_text("[vsalient.contours]\nhalves = half_contours:Halves\n")
    (package / "half_contours.py").write_text(
        "import numpy as np\nclass Halves:\n    def __call__(self, pixels):\n"
        "        strength = np.zeros(pixels.shape[:2], np.float32)\n"
        "        strength[:, pixels.shape[1] // 2] = 1\n        return strength\n"
    )
    monkeypatch.syspath_prepend(str(package))
    entry_points.offered.cache_clear()
    entry_points.made.cache_clear()
    write_pictures(place / "frames", stripes(2))
    found = [np.where(stripe_mask(index), 200, 60).astype(np.uint8) for index in range(2)]
    write_pictures(place / "maps", found)
    assert run("frames", "--maps", "maps", "--refine", "boundary:halves", "-q") == 0
    entry_points.offered.cache_clear()
    entry_points.made.cache_clear()
    mask = mask_of(place / "frames_masks" / "00001.png")
    half = mask.shape[1] // 2
    # Each half is one region, all in or all out, but for the contour's own column.
    assert all(part.all() or not part.any() for part in (mask[:, : half - 2], mask[:, half + 2 :]))
    assert 0 < stripe_mask(1).sum() < mask.size / 2 and not np.array_equal(mask, stripe_mask(1))


@pytest.mark.parametrize("refine", [["--refine", "boundary"], ["--refine", "crf"], ["--refine", "boundary,crf"]])
def test_refinement_moves_a_wrong_mask_to_the_edge(place, refine):
    if "crf" not in refine[1]:
        needs("superpixels")
    rng = np.random.default_rng(0)
    pictures = [(picture + rng.integers(-6, 7, picture.shape)).clip(0, 255).astype(np.uint8) for picture in stripes(2)]
    write_pictures(place / "frames", pictures)
    wrong = [np.roll(np.where(stripe_mask(index), 200, 60), 5, axis=1).astype(np.uint8) for index in range(2)]
    write_pictures(place / "maps", wrong)
    assert run("frames", "--maps", "maps", *refine, "-q") == 0
    found, truth = mask_of(place / "frames_masks" / "00001.png"), stripe_mask(1)
    before = wrong[1] > 100
    score = (found & truth).sum() / (found | truth).sum()
    assert score > 0.93 > 0.75 > (before & truth).sum() / (before | truth).sum()


def test_cleanup_options(place):
    levels = np.zeros((60, 80), np.uint8)
    levels[5:35, 5:35] = 255
    levels[15:20, 15:20] = 0
    levels[40:55, 50:70] = 255
    levels[2:4, 70:72] = 255
    write_pictures(place / "maps", [levels] * 3)

    def mask(name, *options):
        assert run("--maps", "maps", "--threshold", "0.5", *options, "-o", name, "-q") == 0
        return mask_of(place / name / "maps_masks" / "00001.png")

    plain = mask("a")
    assert np.array_equal(plain, levels > 0)
    assert np.array_equal(mask("b", "--min-area", "5") ^ plain, np.pad(np.ones((2, 2), bool), ((2, 56), (70, 8))))
    assert np.array_equal(mask("c", "--min-area", "0.1%"), mask("d", "--min-area", "5"))
    assert (mask("e", "--fill-holes") ^ plain).sum() == 25
    assert mask("f", "--largest", "1").sum() == 900 - 25
    assert np.array_equal(mask("g", "--median", "3"), plain)
    numbers = (
        np.asarray(Image.open(place / "h" / "maps_masks" / "00001.png")) if mask("h", "--instances").any() else None
    )
    assert set(np.unique(numbers)) == {0, 1, 2, 3} and (numbers[40:55, 50:70] == 2).all()


def test_damaged_maps_are_counted(place, capsys):
    write_pictures(place / "frames", stripes(4))
    write_pictures(place / "maps", soft_maps(4))
    path = place / "maps" / "00002.png"
    path.write_bytes(path.read_bytes()[:50])
    assert run("frames", "--maps", "maps", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["inputs"][0]["corrupt_frames"] == 1
    assert "00002.png" in printed.err


def test_the_json_summary(place, capsys):
    write_pictures(place / "maps", soft_maps(3))
    assert run("--maps", "maps", "--fill-holes", "--json", "-q") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["threshold"], summary["fill"], summary["refine"], summary["failed"]) == ("adaptive", True, [], 0)
    (one,) = summary["inputs"]
    assert (one["input"], one["state"], one["frames"]) == ("maps", "done", 3)
    assert one["outputs"] == {"masks": "maps_masks"}


def test_one_bad_input_among_others(place, capsys):
    write_clip(place / "good.mp4", 4)
    (place / "bad.mp4").write_bytes(b"\x00" * 4000)
    assert run("bad.mp4", "good.mp4", "--keep-going") == 1
    assert capsys.readouterr().out == "good_masks\n"
    assert run("bad.mp4", "good.mp4", "--skip-existing") == 1
    assert sorted(path.name for path in place.iterdir()) == ["bad.mp4", "good.mp4", "good_masks"]


def test_existing_outputs(place, capsys):
    write_pictures(place / "maps", soft_maps(3))
    assert run("--maps", "maps", "-w", "masks,csv", "-q") == 0
    capsys.readouterr()
    assert "maps_measures.csv exists" in refused(capsys, "--maps", "maps", "-w", "csv")
    assert run("--maps", "maps", "-w", "masks,csv", "--overwrite", "-q", "--threshold", "0.95") == 0
    assert not mask_of(place / "maps_masks" / "00000.png").any()
    assert run("--maps", "maps", "-w", "masks,csv", "--skip-existing") == 0


def test_a_failure_leaves_nothing_behind(place, capsys):
    write_pictures(place / "frames", stripes(5))
    write_pictures(place / "maps", soft_maps(4))
    said = refused(capsys, "frames", "--maps", "maps", "-w", "masks,mask-video,coco,csv,json", "-o", "out")
    assert "ends after 4 frames" in said and "as many maps as frames" in said
    assert listing(place / "out") == []
    write_pictures(place / "small", [picture[:20] for picture in soft_maps(5)])
    assert "give maps of the frames' size" in refused(capsys, "frames", "--maps", "small", "-o", "out")
    assert "in colour" in refused(capsys, "frames", "--maps", "frames", "-o", "out")
    assert listing(place / "out") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threshold", "median:3"], "adaptive, otsu"),
        (["--threshold", "otsu", "--threshold-scope", "clip"], "clip scope"),
        (["--refine", "sharp"], "none, boundary, crf"),
        (["--refine", "none", "--refine", "crf"], "contradicts"),
        (["--refine", "boundary:cedn"], "contour detector 'cedn' is unknown: a package offers one"),
        (["--refine", "crf:cedn"], "only boundary takes the name"),
        (["--tau", "0.2"], "--refine boundary"),
        (["--refine", "boundary", "--tau", "2"], "outside 0 to 1"),
        (["--median", "4"], "odd"),
        (["--min-area", "2.5"], "--min-area '2.5'"),
        (["--min-area", "200%"], "--min-area '200%'"),
        (["--largest", "0"], "1 or more"),
        (["--instances", "--mask-style", "gray"], "gray masks"),
        (["-w", "overlaid"], "did you mean overlay"),
        (["-w", "coco", "-o", "x.csv"], ".json"),
        (["-w", "alpha", "-o", "x.mp4"], ".webm"),
        (["-w", "masks", "-o", "x.png"], "folder"),
        (["--maps", "in", "--model", "3dc-seg"], "leave out --model"),
        (["--maps", "in", "--start", "1"], "--start"),
        (["--maps", "in", "--maps", "in"], "one folder"),
        (["--maps", "nowhere"], "does not exist"),
        (["--threshold", "max-f:nowhere"], "not a folder"),
    ],
)
def test_wrong_options_are_errors_before_any_work(place, capsys, arguments, said):
    write_pictures(place / "in", stripes(2))
    before = listing(place)
    assert said in refused(capsys, "in", *arguments)
    assert listing(place) == before


def test_input_or_maps(capsys):
    assert run("-q") == 2
    assert "--maps" in capsys.readouterr().err


def test_the_help_names_everything():
    done = subprocess.run([sys.executable, "-m", "vsalient", "segment", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for word in (
        "--threshold",
        "--refine",
        "--min-area",
        "--fill-holes",
        "--largest",
        "--instances",
        "--median",
        *KINDS,
    ):
        assert word in re.sub(r"-\n +", "-", done.stdout), word  # Click breaks lines at hyphens too
