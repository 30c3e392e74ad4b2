"""What editors are given, through the real command line: mattes in every container, grounds, codecs, and refusals."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from media_files import write_video
from tiny_model import install, stripe_mask, stripes, write_clip
from vsalient.cli.app import main
from vsalient.matte import Matte, Matter
from vsalient.outputs.encodings import has_hevc_alpha

SIZE = (192, 128)
INSIDE, GROUND = np.array([230, 20, 20]), np.array([110, 110, 110])


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder with `in.mp4`, and the default model replaced by one that finds what is red."""
    install(monkeypatch, tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_clip(folder / "in.mp4", 4, size=SIZE)
    return folder


def run(*arguments: str, verb: str = "predict") -> int:
    with pytest.raises(SystemExit) as end:
        main([verb, *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def planes(path: Path) -> list[np.ndarray]:
    """The pictures as RGBA, with the alpha that the file has."""
    decoder = "libvpx-vp9" if path.suffix == ".webm" else None
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = av.CodecContext.create(decoder, "r") if decoder else stream.codec_context
        for packet in container.demux(stream):
            pictures += [frame.to_ndarray(format="rgba") for frame in context.decode(packet)]
    return pictures


def colours(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def mask(index: int) -> np.ndarray:
    return stripe_mask(index, *SIZE)


@pytest.mark.parametrize("style", ["soft", "sharp", "raw"])
@pytest.mark.parametrize(("name", "slack"), [("out.webm", 30), ("out.mov", 12), ("cutout", 1)])
def test_nothing_of_the_ground_is_left_under_alpha_0(place: Path, name: str, slack: int, style: str) -> None:
    kind = "cutout" if name == "cutout" else "alpha"
    ending = ["--alpha-format", "prores"] if name.endswith("mov") else []
    assert run("in.mp4", "-w", kind, "-o", name, "--matte", style, "-q", *ending) == 0
    if kind == "cutout":
        pictures = [np.asarray(Image.open(path)) for path in sorted((place / name / "in_cutout").iterdir())]
    else:
        pictures = planes(place / name)
    assert len(pictures) == 4
    for index, picture in enumerate(pictures):
        hidden = picture[picture[..., 3] == 0][:, :3].astype(int)
        assert len(hidden) > mask(index).size / 2
        # From black to the object's red, whatever the codec makes between; the ground's green and blue are far away.
        assert hidden[:, 1:].max() <= 40 + slack, (index, hidden[:, 1:].max())
        np.testing.assert_array_equal((picture[..., 3] >= 128)[:, 4:-4], mask(index)[:, 4:-4])
        core = cv2.erode(mask(index).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert np.abs(picture[core][:, :3].astype(int) - INSIDE).mean() < 12


def test_alpha_and_colours_as_two_files_make_the_picture_again(place: Path) -> None:
    assert run("in.mp4", "-w", "matte,fill,foreground", "-o", "out", "--background", "black", "-q") == 0
    alpha, fill = colours(place / "out" / "in_matte.mkv"), colours(place / "out" / "in_fill.mp4")
    whole = colours(place / "out" / "in_foreground.mp4")
    mixed = fill[2] * (alpha[2][..., :1] / 255)
    assert np.abs(mixed - whole[2]).mean() < 3
    np.testing.assert_array_equal(alpha[2][..., 0] >= 128, mask(2))


def test_outputs_share_one_matte_a_frame(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("in.mp4", "-w", "cutout", "-o", "alone", "-q") == 0
    made: list[int] = []
    plain = Matter.__call__

    def counted(self: Matter, *given: np.ndarray) -> Matte:
        made.append(1)
        return plain(self, *given)

    monkeypatch.setattr(Matter, "__call__", counted)
    assert run("in.mp4", "-w", "alpha,foreground,cutout,matte,fill", "-o", "all", "-q") == 0
    assert len(made) == 4
    for path in (place / "alone" / "in_cutout").iterdir():
        assert path.read_bytes() == (place / "all" / "in_cutout" / path.name).read_bytes()


def test_invert_keeps_the_ground(place: Path) -> None:
    assert run("in.mp4", "-w", "cutout", "--invert", "-q") == 0
    picture = np.asarray(Image.open(place / "in_cutout" / "00001.png"))
    np.testing.assert_array_equal(picture[..., 3] >= 128, ~mask(1))
    hidden = picture[picture[..., 3] == 0][:, :3].astype(int)
    assert np.ptp(hidden, axis=1).max() < 40, "no red under the hole"


@pytest.mark.parametrize("kind", ["picture", "film", "colour", "blur"])
def test_grounds(place: Path, kind: str) -> None:
    blue, yellow = (20, 30, 220), (220, 210, 20)
    if kind == "picture":
        Image.new("RGB", (300, 100), blue).save(place / "sky.png")
    films = [np.full((50, 90, 3), colour, np.uint8) for colour in (blue, yellow)]
    write_video(place / "loop.mp4", films, pixel_format="yuv444p", options={"crf": "4"}, matrix=5)
    given = {"picture": "sky.png", "film": "loop.mp4", "colour": "rgb(20,30,220)", "blur": "blur:6"}[kind]
    assert run("in.mp4", "-w", "foreground", "--background", given, "-q") == 0
    shown = colours(place / "in_foreground.mp4")
    expected = {"film": [blue, yellow, blue, yellow], "blur": [tuple(GROUND)] * 4}.get(kind, [blue] * 4)
    for index, picture in enumerate(shown):
        far = cv2.dilate(mask(index).astype(np.uint8), np.ones((13, 13), np.uint8)) == 0
        assert np.abs(picture[far].astype(int) - expected[index]).mean() < 8, index
        core = cv2.erode(mask(index).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert np.abs(picture[core].astype(int) - INSIDE).mean() < 12


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animations(place: Path, ending: str) -> None:
    assert run("in.mp4", "-w", "alpha", "--alpha-format", ending, "-q") == 0
    with Image.open(place / f"in_alpha.{ending}") as image:
        assert image.n_frames == 4 and image.info.get("loop") == 0
        for index in range(4):
            image.seek(index)
            picture = np.asarray(image.convert("RGBA"))
            np.testing.assert_array_equal((picture[..., 3] >= 128)[:, 4:-4], mask(index)[:, 4:-4])
            assert image.info["duration"] == 40


@pytest.mark.parametrize(("codec", "name", "found"), [
    ("h265", "a.mp4", "hevc"), ("av1", "a.mkv", "av1"), ("prores", "a.mov", "prores"), ("vp9", "a.mkv", "vp9"),
    ("ffv1", "a.mkv", "ffv1"),
])  # fmt: skip
def test_codecs(place: Path, codec: str, name: str, found: str) -> None:
    assert run("in.mp4", "-w", "overlay", "-o", name, "--codec", codec, "-q") == 0
    with av.open(str(place / name)) as container:
        assert container.streams.video[0].codec_context.name.replace("libdav1d", "av1") == found
        assert len(list(container.decode(video=0))) == 4


def test_quality_changes_the_size(place: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = [np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8) for picture in stripes(4)]
    write_video(place / "noisy.mp4", noisy, pixel_format="yuv444p", options={"crf": "1"}, matrix=5)
    for quality in ("10", "40"):
        assert run("noisy.mp4", "-w", "overlay", "-o", f"q{quality}.mp4", "--quality", quality, "-q") == 0
    assert (place / "q40.mp4").stat().st_size < 0.5 * (place / "q10.mp4").stat().st_size


def test_segment_takes_the_same_options(place: Path) -> None:
    assert run("in.mp4", "-w", "cutout,alpha", "--matte", "raw", "--feather", "1", "-q", verb="segment") == 0
    picture = np.asarray(Image.open(place / "in_cutout" / "00001.png"))
    assert ((picture[..., 3] > 0) & (picture[..., 3] < 255)).any()


@pytest.mark.parametrize(("arguments", "says"), [
    (["-w", "alpha", "--levels", "0.7,0.3"], "--levels '0.7,0.3' is not possible"),
    (["-w", "alpha", "--choke", "nan"], "choke of nan"),
    (["-w", "alpha", "--steady", "1"], "steadiness 1"),
    (["-w", "alpha", "--holes", "5"], "--holes '5' is no share"),
    (["-w", "overlay", "--matte", "soft"], "--matte is for -w alpha"),
    (["-w", "alpha", "--background", "white"], "--background is for -w foreground"),
    (["-w", "foreground", "--background", "nowhere.png"], "--background 'nowhere.png' is no colour"),
    (["-w", "foreground", "--background", "blur:x"], "--background 'blur:x' is no blur"),
    (["-w", "foreground", "--background", "text.mp4"], "--background 'text.mp4' cannot be read"),
    (["-w", "alpha", "--codec", "av1"], "--codec av1 is not for video with alpha"),
    (["-w", "alpha", "-o", "out.mp4"], "video with alpha cannot be written to .mp4"),
    (["-w", "overlay", "-o", "x.mp4", "--codec", "vp9"], "--codec vp9 does not go into .mp4 here"),
    (["-w", "overlay", "--quality", "99"], "--quality 99 is outside 0 (best) to 51"),
    (["-w", "overlay", "--preset", "quick"], "--preset 'quick' is unknown to h264"),
    (["-w", "alpha", "--alpha-format", "prores", "--quality", "20"], "--quality is not for prores"),
    (["-w", "maps", "--codec", "h264"], "are for videos"),
])  # fmt: skip
def test_what_makes_no_sense_is_one_line_before_any_work(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (place / "text.mp4").write_text("this is no film")
    before = sorted(place.iterdir())
    assert run("in.mp4", *arguments) != 0
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert "3dc-lite on" not in error and sorted(place.iterdir()) == before


def test_hevc_with_alpha_is_made_or_refused_with_the_reason(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run("in.mp4", "-w", "alpha", "--alpha-format", "prores", "--codec", "h265", "-q")
    if has_hevc_alpha():
        assert status == 0
    else:
        assert status == 1 and "needs an x265 built with alpha layers" in capsys.readouterr().err


def test_a_photo_gives_pictures(place: Path) -> None:
    Image.fromarray(stripes(1, *SIZE)[0]).save(place / "photo.png")
    assert run("photo.png", "-w", "video,alpha,overlay,foreground,mask-video", "-q") == 0
    assert {path.name for path in place.iterdir()} == {
        "in.mp4", "photo.png", "photo_saliency.png", "photo_alpha.png", "photo_overlay.png", "photo_foreground.png",
        "photo_mask.png",
    }  # fmt: skip
    alpha = np.asarray(Image.open(place / "photo_alpha.png"))
    np.testing.assert_array_equal(alpha[..., 3] >= 128, mask(0))
    assert np.asarray(Image.open(place / "photo_saliency.png")).shape == (128, 192)
    assert np.asarray(Image.open(place / "photo_overlay.png")).shape == (128, 192, 3)
    assert run("photo.png", "-w", "overlay", "-o", "shown.jpg", "-q") == 0
    with Image.open(place / "shown.jpg") as shown:
        assert shown.format == "JPEG" and shown.size == SIZE


def test_a_folder_of_photos_of_any_size(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "album"
    folder.mkdir()
    for number, size in enumerate([(96, 64), (64, 96), (130, 50)]):
        Image.fromarray(stripes(1, *size)[0]).save(folder / f"p{number}.png")
    assert run("album", "--stills", "-w", "alpha", "-o", "out", "-q") == 0
    assert [path.name for path in sorted((place / "out").iterdir())] == [f"p{number}_alpha.png" for number in range(3)]
    assert Image.open(place / "out" / "p1_alpha.png").size == (64, 96)
    assert run("album", "-w", "alpha", "-o", "film", "-q") == 1, "without, they are the frames of one film"


@pytest.mark.parametrize(("arguments", "says"), [
    (["photo.png", "-w", "alpha", "-o", "x.jpg"], "cannot be written to .jpg"),
    (["in.mp4", "-w", "overlay", "-o", "x.png"], "cannot be written to .png"),
])  # fmt: skip
def test_pictures_that_cannot_be(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    Image.fromarray(stripes(1, *SIZE)[0]).save(place / "photo.png")
    assert run(*arguments) != 0
    assert says in capsys.readouterr().err and not list(place.glob("x.*"))
