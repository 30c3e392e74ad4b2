"""Data sets as they are released, drawn small: what is read for training, which split, and what is refused."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training_data import SIZE, davis, pair, shard
from vsalient.cli.app import main
from vsalient.datasets.presets import DAVIS16_TRAIN, DAVIS16_VAL, FBMS_TEST, FBMS_TRAIN
from vsalient.datasets.spec import parse_spec
from vsalient.errors import DataError, OptionError
from vsalient.training.sources import open_pairs


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def video(
    images: Path, masks: Path, *, frames: int = 4, name: str = "{:05d}", suffix: str = "png", every: int = 1
) -> None:
    """Frames `images/NAME.jpg` and, for every n-th, `masks/NAME.png`."""
    for i in range(frames):
        image, mask = pair(2 * i)
        write(images / f"{name.format(i)}.jpg", image)
        if i % every == 0:
            write(masks / f"{name.format(i)}.{suffix}", mask)


def davis_set(root: Path, names: list[str], lists: dict[str, list[str]] | None = None) -> Path:
    for name in names:
        video(root / "JPEGImages/480p" / name, root / "Annotations/480p" / name)
    for where, listed in (lists or {}).items():
        path = root / "ImageSets" / f"{where}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if where.startswith("480p"):
            listed = [
                f"/JPEGImages/480p/{n}/{i:05d}.jpg /Annotations/480p/{n}/{i:05d}.png" for n in listed for i in (0, 1)
            ]
        path.write_text("\n".join(listed) + "\n")
    return root


def fbms_set(root: Path) -> Path:
    for part, name in (
        ("Trainingset", "bear01"),
        ("Trainingset", "cars2"),
        ("Testset", "tennis"),
        ("Testset", "cats01"),
    ):
        place = root / part / name
        video(place, place / "GroundTruth", frames=5, name=name + "_{:04d}", suffix="pgm", every=2)
    return root


def segtrack(root: Path) -> Path:
    for i in range(3):
        image, mask = pair(2 * i)
        write(root / f"JPEGImages/bmx/bmx_{i:05d}.png", image)
        half = mask.copy()
        half[: SIZE[0] // 2] = 0
        write(root / f"GroundTruth/bmx/1/bmx_{i:05d}.png", half)
        write(root / f"GroundTruth/bmx/2/bmx_{i:05d}.png", mask - half)
        write(root / f"JPEGImages/worm/worm_{i:05d}.png", image)
        write(root / f"GroundTruth/worm/worm_{i:05d}.png", mask)
    return root


def coco(root: Path) -> Path:
    images, annotations = [], []
    for i in range(2):
        write(root / f"train2017/{i:012d}.jpg", pair(i)[0])
        images.append({"id": i, "file_name": f"{i:012d}.jpg", "height": SIZE[0], "width": SIZE[1]})
        for x in (4, 30):
            box = [x, 5, x + 10, 5, x + 10, 25, x, 25]
            annotations.append({"image_id": i, "iscrowd": 0, "segmentation": [box]})
        annotations.append({"image_id": i, "iscrowd": 1, "segmentation": {"counts": [], "size": []}})
    path = root / "annotations/instances_train2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return root


def stills(images: Path, masks: Path, suffix: str = "jpg") -> None:
    for i in range(3):
        write(images / f"{i:04d}.{suffix}", pair(i)[0])
        write(masks / f"{i:04d}.png", pair(i)[1])


def make(kind: str, root: Path) -> None:
    sequence = ("a", "b")
    if kind == "segtrackv2":
        segtrack(root)
    elif kind == "visal":
        for n in sequence:
            video(root / "Images" / n, root / "GroundTruth" / n, name=n + "_{:03d}", every=2)
    elif kind == "visal, passed on":
        for n in sequence:
            video(root / n / "Imgs", root / n / "ground-truth", every=2)
    elif kind == "davsod":
        for n in sequence:
            video(root / "Training Set" / n / "Imgs", root / "Training Set" / n / "GT_object_level")
            video(root / "Test Set" / f"{n}t" / "Imgs", root / "Test Set" / f"{n}t" / "GT_object_level")
    elif kind == "vos":
        for n in sequence:
            video(root / "VOS_train" / n / "Imgs", root / "VOS_train" / n / "GT", every=3)
            video(root / "VOS_test" / f"{n}t" / "Imgs", root / "VOS_test" / f"{n}t" / "GT", every=3)
    elif kind == "youtube-vos":
        for n in sequence:
            video(root / "train/JPEGImages" / n, root / "train/Annotations" / n)
            video(root / "valid/JPEGImages" / f"{n}v", root / "valid/Annotations" / f"{n}v", every=9)
    elif kind == "vot2016":
        for n in sequence:
            video(root / "VOT2016" / n, root / "VOT2016_masks" / n, name="{:08d}")
    elif kind == "usvd":
        for n in sequence:
            video(root / n, root / n / "gt", name="{:04d}")
    elif kind == "10-clips":
        for n in sequence:
            video(root / n / "input", root / n / "ground_truth", name="{:03d}")


@pytest.mark.parametrize(
    ("kind", "frames"),
    [
        ("segtrackv2", 6),
        ("visal", 4),
        ("visal, passed on", 4),
        ("davsod", 8),
        ("vos", 4),
        ("youtube-vos", 8),
        ("vot2016", 8),
        ("usvd", 8),
        ("10-clips", 8),
    ],
)
def test_videos_of_every_layout(tmp_path, kind, frames):
    make(kind, tmp_path / "set")
    source = open_pairs(tmp_path / "set")
    assert source.names == (["bmx", "worm"] if kind == "segtrackv2" else ["a", "b"])
    assert sum(len(source.labelled(i)) for i in range(len(source.names))) == frames
    image, mask = source.read(0, source.labelled(0)[1])
    assert image.shape == (*SIZE, 3)
    assert (np.unique(mask) == (0, 255)).all()
    assert any(np.array_equal(mask, pair(2 * i)[1]) for i in (1, 2, 3))


@pytest.mark.parametrize(
    "kind", ["duts", "duts root", "ecssd", "hku-is", "msra10k", "thur15k", "two folders below another", "coco"]
)
def test_stills_of_every_layout(tmp_path, kind):
    root = tmp_path / "set"
    if kind == "duts":
        stills(root / "DUTS-TR-Image", root / "DUTS-TR-Mask")
    elif kind == "duts root":
        stills(root / "DUTS-TR/DUTS-TR-Image", root / "DUTS-TR/DUTS-TR-Mask")
        stills(root / "DUTS-TE/DUTS-TE-Image", root / "DUTS-TE/DUTS-TE-Mask")
    elif kind == "ecssd":
        stills(root / "images", root / "ground_truth_mask")
    elif kind == "hku-is":
        stills(root / "imgs", root / "gt", "png")
    elif kind == "msra10k":
        stills(root / "MSRA10K_Imgs_GT/Imgs", root / "MSRA10K_Imgs_GT/Imgs")
    elif kind == "thur15k":
        stills(root / "Butterfly/Src", root / "Butterfly/GT")
        (root / "Butterfly/GT/0001.png").unlink()
    elif kind == "two folders below another":
        stills(root / "ECSSD/images", root / "ECSSD/ground_truth_mask")
    else:
        coco(root)
    source = open_pairs(root)
    assert source.frames == len(source.names) == {"thur15k": 2, "coco": 2}.get(kind, 3)
    mask = source.read(0, 0)[1]
    if kind == "coco":
        assert mask[15, 9] == mask[15, 35] == 255
        assert 2 * 180 < (mask > 0).sum() < 2 * 260
    else:
        assert np.array_equal(mask, pair(0)[1])


TRAIN, VAL = list(DAVIS16_TRAIN[:3]), list(DAVIS16_VAL[:2])


@pytest.mark.parametrize(
    "lists",
    [
        None,
        {"480p/train": TRAIN, "480p/val": VAL, "480p/trainval": TRAIN + VAL},
        {"2017/train": TRAIN, "2017/val": VAL, "2016/train": TRAIN[:2], "2016/val": VAL},
    ],
    ids=["no lists", "2016", "2017"],
)
def test_davis_trains_on_its_training_part_only(tmp_path, lists):
    root = davis_set(tmp_path / "DAVIS", TRAIN + VAL, lists)
    source = open_pairs(root)
    assert source.names == sorted(TRAIN)
    assert source.note == "split train: 3 of 5"
    for split in ("val", "trainval", "all"):
        with pytest.raises(DataError, match=r"for validation or test of DAVIS.*--allow-test"):
            open_pairs(parse_spec(f"{root}:{split}"))
        names = open_pairs(parse_spec(f"{root}:{split}=2"), allow_test=True).names
        assert names == sorted(VAL if split == "val" else TRAIN + VAL)
    assert open_pairs(parse_spec(f"{root}:train")).names == sorted(TRAIN)
    with pytest.raises(OptionError, match="no such split"):
        open_pairs(parse_spec(f"{root}:nonsense"))
    if lists and "2016/train" in lists:
        assert open_pairs(parse_spec(f"{root}:2016/train")).names == sorted(TRAIN[:2])


def test_a_copy_of_davis_that_is_only_validation_is_refused(tmp_path):
    root = davis_set(tmp_path / "mine", VAL)
    with pytest.raises(DataError, match="--allow-test"):
        open_pairs(root)
    own = davis_set(tmp_path / "own", ["one", "two", VAL[0]])
    assert len(open_pairs(own).names) == 3  # a set of one's own may have a sequence of that name


def test_davis_2017_unsupervised_has_objects(tmp_path):
    root = tmp_path / "DAVIS"
    for name in (TRAIN[0], VAL[0]):
        video(root / "JPEGImages/480p" / name, root / "Annotations_unsupervised/480p" / name)
        for path in (root / "Annotations_unsupervised/480p" / name).iterdir():
            labels = np.asarray(Image.open(path)) // 255
            labels[:, SIZE[1] // 2 :] *= 2
            image = Image.fromarray(labels, "P")
            image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [9] * 759)
            image.save(path)
    source = open_pairs(root)
    assert source.names == [TRAIN[0]]
    assert np.array_equal(source.read(0, 2)[1], pair(4)[1])


def test_own_lists_make_splits(tmp_path):
    root = davis_set(tmp_path / "own", ["a", "b", "c"], {"train": ["a", "b"], "val": ["c"]})
    assert open_pairs(root).names == ["a", "b"]
    assert open_pairs(parse_spec(f"{root}:val")).names == ["c"]
    assert open_pairs(parse_spec(f"{root}:trainval")).names == ["a", "b", "c"]


def test_fbms_trains_on_its_training_part_only(tmp_path):
    root = fbms_set(tmp_path / "FBMS")
    source = open_pairs(root)
    assert source.names == ["bear01", "cars2"]
    assert source.labelled(0) == [0, 2, 4]
    for where in (root / "Testset", f"{root}:all", f"{root}:test"):
        with pytest.raises(DataError, match="FBMS-59"):
            open_pairs(parse_spec(str(where)))
    assert open_pairs(root / "Trainingset").names == ["bear01", "cars2"]
    assert "tennis" in FBMS_TEST and "tennis" in DAVIS16_TRAIN and "bear01" in FBMS_TRAIN
    assert open_pairs(davis_set(tmp_path / "DAVIS", ["tennis", "bear"])).names == ["bear", "tennis"]


def test_a_shard_of_validation_sequences_is_refused(tmp_path):
    import tarfile

    path = shard(tmp_path / "a.tar", stills=0, videos=1, frames=3)
    renamed = tmp_path / "val.tar"
    with tarfile.open(path) as old, tarfile.open(renamed, "w") as new:
        for member in old:
            data = old.extractfile(member).read()
            member.name = member.name.replace("clip0", VAL[0])
            new.addfile(member, io.BytesIO(data))
    with pytest.raises(DataError, match="validation of DAVIS"):
        open_pairs(renamed)
    assert open_pairs(renamed, allow_test=True).frames == 3
    with pytest.raises(OptionError, match="no splits"):
        open_pairs(parse_spec(f"{path}:train"))


def test_train_says_what_it_takes(tmp_path, capsys):
    root = davis_set(tmp_path / "DAVIS", TRAIN + VAL)

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["train", "stan", *args, "--dry-run", "--json", "--out", str(tmp_path / "runs")])
        out = capsys.readouterr()
        return end.value.code or 0, out.out, out.err

    code, out, err = run("--data", str(root))
    assert code == 0, err
    assert json.loads(out)[0]["videos"] + json.loads(out)[0]["held_out"] == 3
    assert "split train: 3 of 5 sequences" in err
    code, _, err = run("--data", f"{root}:trainval")
    assert code == 1 and "--allow-test" in err and err.count("\n") == 1
    code, out, _ = run("--data", f"{root}:trainval", "--allow-test")
    assert code == 0 and json.loads(out)[0]["videos"] + json.loads(out)[0]["held_out"] == 5


def test_links_back_end_nothing(tmp_path):
    root = davis(tmp_path / "DAVIS", videos=1)
    (root / "again").symlink_to(root)
    assert open_pairs(root).names == ["seq0"]


def truths(root: Path, kind: str) -> None:
    if kind == "stills":
        stills(root / "DUTS-TE-Image", root / "DUTS-TE-Mask")
    elif kind == "msra10k":
        stills(root / "Imgs", root / "Imgs")
    elif kind == "davis17":
        davis_set(root, VAL)
    else:
        make(kind, root)


@pytest.mark.parametrize(
    ("preset", "kind", "sequences"),
    [
        ("davis17", "davis17", VAL),
        ("segtrackv2", "segtrackv2", ["bmx", "worm"]),
        ("visal", "visal", ["a", "b"]),
        ("visal", "visal, passed on", ["a", "b"]),
        ("davsod", "davsod", ["at", "bt"]),
        ("vos", "vos", ["at", "bt"]),
        ("youtube-vos", "youtube-vos", ["av", "bv"]),
        ("vot2016", "vot2016", ["a", "b"]),
        ("usvd", "usvd", ["a", "b"]),
        ("10-clips", "10-clips", ["a", "b"]),
        ("stills", "stills", [""]),
        ("stills", "msra10k", [""]),
    ],
)
def test_evaluation_knows_every_layout(tmp_path, capsys, preset, kind, sequences):
    """The frames stand in for predictions: every pixel of the object is bright there, and only those."""
    from vsalient.datasets.layout import find_frames, find_partner, find_tree
    from vsalient.datasets.presets import PRESETS

    root = tmp_path / "set"
    truths(root, kind)
    split = ",".join(sequences) if preset in ("davis17", "segtrackv2") else None
    tree = find_tree(root, "ground truth", PRESETS[preset], split)
    assert [name.rsplit("/", 1)[-1] for name in tree] == sequences
    if kind not in ("stills", "msra10k", "vot2016"):
        frames = find_frames(root)
        assert all(find_partner(name, tree, frames) is not None for name in tree)
    for name, stored in tree.items():
        for frame, files in stored.frames.items():
            mask = np.maximum.reduce([np.asarray(Image.open(file).convert("L")) for file in files])
            write(tmp_path / "pred" / name / f"{frame}.png", np.where(mask > 0, 255, 0).astype(np.uint8))
    chosen = ["--split", split] if split else []
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(tmp_path / "pred"), str(root), "--dataset", preset, *chosen, "--metrics", "J", "--json"])
    out = capsys.readouterr()
    assert not end.value.code, out.err
    assert json.loads(out.out)["predictions"][0]["dataset"]["J_mean"] == 1


def test_fbms_as_released_trains(tmp_path):
    """Colours on white with annotators' confidence beside, black on white, and gray labels in `.pgm`."""
    place = tmp_path / "FBMS/Trainingset"
    mask = pair(0)[1] > 0
    for name in ("bear01", "cars2", "ducks01"):
        write(place / name / f"{name}_0001.jpg", pair(0)[0])
        truth = place / name / "GroundTruth"
        if name == "cars2":
            write(truth / f"{name}_0001.pgm", np.where(mask, 85, 0).astype(np.uint8))
            continue
        colour = np.full((*SIZE, 3), 255, np.uint8)
        colour[mask] = (0, 255, 255) if name == "bear01" else 0
        write(truth / f"{name}_0001_gt.ppm", colour)
        write(truth / f"{name}_0001_PROB_gt.ppm", colour[::-1])
        (truth / f"{name}Def.dat").write_text("Total number of regions:\n2\n")
    source = open_pairs(tmp_path / "FBMS")
    assert source.names == ["bear01", "cars2", "ducks01"]
    for sequence in range(3):
        assert np.array_equal(source.read(sequence, 0)[1] > 0, mask)
