"""What is known of each data set: where its ground truth lies, its splits, its protocol, how dense it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vsalient.errors import DataError, InputError, OptionError

CountedFrames = Literal["davis16", "all-frames"]


@dataclass(frozen=True, slots=True)
class Preset:
    """One data set.

    Attributes:
        name: what `--dataset` takes.
        title: for people.
        roots: folders below the data set's root where ground truth is looked for, first match wins.
        protocol: `davis16` drops the first and last frame of each sequence.
        sparse: only some frames have ground truth, so predictions without any are no mistake.
        split: the default split, None for all sequences found.
        splits: split -> sequences.
        objects: ground truth comes as one folder an object, to be united.
        split_roots: split -> folders that are looked for first, where parts lie in folders of their own.
    """

    name: str
    title: str
    roots: tuple[str, ...]
    protocol: CountedFrames = "all-frames"
    sparse: bool = False
    split: str | None = None
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    objects: bool = False
    split_roots: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _sequence_names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DAVIS16_TRAIN = _sequence_names(
    "bear bmx-bumps boat breakdance-flare bus car-turn dance-jump dog-agility drift-turn elephant flamingo hike "
    "hockey horsejump-low kite-walk lucia mallard-fly mallard-water motocross-bumps motorbike paragliding rhino "
    "rollerblade scooter-gray soccerball stroller surf swing tennis train"
)
DAVIS16_VAL = _sequence_names(
    "blackswan bmx-trees breakdance camel car-roundabout car-shadow cows dance-twirl dog drift-chicane "
    "drift-straight goat horsejump-high kite-surf libby motocross-jump paragliding-launch parkour scooter-black "
    "soapbox"
)
DAVIS17_TRAIN = _sequence_names(
    "bear bmx-bumps boat boxing-fisheye breakdance-flare bus car-turn cat-girl classic-car color-run crossing "
    "dance-jump dancing disc-jockey dog-agility dog-gooses dogs-scale drift-turn drone elephant flamingo hike hockey "
    "horsejump-low kid-football kite-walk koala lady-running lindy-hop longboard lucia mallard-fly mallard-water "
    "miami-surf motocross-bumps motorbike night-race paragliding planes-water rallye rhino rollerblade schoolgirls "
    "scooter-board scooter-gray sheep skate-park snowboard soccerball stroller stunt surf swing tennis tractor-sand "
    "train tuk-tuk upside-down varanus-cage walking"
)
DAVIS17_VAL = _sequence_names(
    "bike-packing blackswan bmx-trees breakdance camel car-roundabout car-shadow cows dance-twirl dog dogs-jump "
    "drift-chicane drift-straight goat gold-fish horsejump-high india judo kite-surf lab-coat libby loading "
    "mbike-trick motocross-jump paragliding-launch parkour pigs scooter-black shooting soapbox"
)
FBMS_TRAIN = _sequence_names(
    "bear01 bear02 cars2 cars3 cars6 cars7 cars8 cars9 cats02 cats04 cats05 cats07 ducks01 horses01 horses03 "
    "horses06 lion02 marple1 marple10 marple11 marple13 marple3 marple5 marple8 meerkats01 people04 people05 "
    "rabbits01 rabbits05"
)
FBMS_TEST = _sequence_names(
    "camel01 cars1 cars10 cars4 cars5 cats01 cats03 cats06 dogs01 dogs02 farm01 giraffes01 goats01 horses02 "
    "horses04 horses05 lion01 marple12 marple2 marple4 marple6 marple7 marple9 people03 people1 people2 rabbits02 "
    "rabbits03 rabbits04 tennis"
)
SEGTRACK_V2 = _sequence_names(
    "bird_of_paradise birdfall bmx cheetah drift frog girl hummingbird monkey monkeydog parachute penguin soldier worm"
)


def _parted(name: str, title: str, *, sparse: bool = False) -> Preset:
    """A set of sequences that hold frames and ground truth side by side, below a folder for each part."""
    parts = {
        "test": ("Test Set", "TestSet", "Testset", "Test", "test", f"{title}_test"),
        "val": ("Validation Set", "Valset", "Validation", "val", f"{title}_val"),
        "train": ("Training Set", "Trainingset", "Training", "Train", "train", f"{title}_train"),
    }
    return Preset(name, title, parts["test"], sparse=sparse, split_roots=parts)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "davis16",
            "DAVIS 2016",
            ("Annotations/480p", "Annotations/1080p", "Annotations", "480p"),
            protocol="davis16",
            split="val",
            splits={"train": DAVIS16_TRAIN, "val": DAVIS16_VAL, "trainval": DAVIS16_TRAIN + DAVIS16_VAL},
        ),
        Preset(
            "davis17",
            "DAVIS 2017",
            ("Annotations_unsupervised/480p", "Annotations/480p", "Annotations"),
            split="val",
            splits={"train": DAVIS17_TRAIN, "val": DAVIS17_VAL, "trainval": DAVIS17_TRAIN + DAVIS17_VAL},
        ),
        Preset(
            "fbms",
            "FBMS-59",
            ("Testset", "TestSet", "FBMS_Testset/Testset", "Annotations", "GroundTruth", "GT"),
            sparse=True,
            split="test",
            splits={"train": FBMS_TRAIN, "test": FBMS_TEST},
            split_roots={"train": ("Trainingset", "TrainingSet", "FBMS_Trainingset/Trainingset")},
        ),
        Preset(
            "segtrackv2",
            "SegTrack v2",
            ("GroundTruth", "Annotations", "GT"),
            split="all",
            splits={"all": SEGTRACK_V2},
            objects=True,
        ),
        Preset("visal", "ViSal", ("GroundTruth", "Annotations", "GT"), sparse=True),
        _parted("davsod", "DAVSOD"),
        _parted("vos", "VOS", sparse=True),
        Preset(
            "youtube-vos",
            "YouTube-VOS",
            ("valid/Annotations", "train/Annotations", "Annotations"),
            sparse=True,
            split_roots={"train": ("train/Annotations",), "valid": ("valid/Annotations",)},
        ),
        Preset("vot2016", "VOT2016 with masks", ("VOT2016_masks", "masks", "Annotations", "GroundTruth")),
        Preset("usvd", "USVD", ("GroundTruth", "Annotations", "GT")),
        Preset("10-clips", "10-Clips", ("GroundTruth", "Annotations", "GT")),
        Preset(
            "stills",
            "stills",
            (
                *("DUTS-TE/DUTS-TE-Mask", "DUTS-TE-Mask", "ground_truth_mask", "GroundTruth", "GT", "gt", "masks"),
                *("Masks", "MSRA10K_Imgs_GT/Imgs", "Imgs"),
            ),
        ),
        Preset("custom", "custom", ("Annotations/480p", "Annotations", "GroundTruth", "GT", "gt")),
    )
}


def split_names(preset: Preset, split: str | None) -> tuple[str, ...] | None:
    """Return the sequences of a split, or None for all that are found.

    Args:
        preset: of the data set.
        split: a split of the preset, "all", a text file with a sequence a line, or names joined by commas; None is
            the preset's default.

    Raises:
        OptionError: neither a split, nor a file, nor a list of names.
        DataError: the file is empty or cannot be read.
    """
    wanted = preset.split if split is None else split
    if wanted in preset.split_roots and wanted not in preset.splits:
        return None  # the part's folder has been entered
    if wanted is None or (wanted == "all" and "all" not in preset.splits):
        return None
    if wanted in preset.splits:
        return preset.splits[wanted]
    path = Path(wanted)
    if path.is_file():
        return _read_split(path)
    names = tuple(name.strip() for name in wanted.split(",") if name.strip())
    if not names or path.suffix == ".txt":
        raise OptionError(
            f"split {wanted!r} is neither a file nor a split of {preset.name}; give a text file with a sequence a "
            f"line, names joined by commas, or one of {', '.join([*preset.splits, 'all'])}"
        )
    return names


def _read_split(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"split file {path} cannot be read ({error}); give a text file with a sequence a line"
        ) from error
    names: list[str] = []
    for line in lines:
        words = line.split("#")[0].split()
        # DAVIS's own lists name frames, `/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png`.
        name = Path(words[-1]).parent.name if words and Path(words[-1]).suffix in {".png", ".jpg"} else " ".join(words)
        if name and name not in names:
            names.append(name)
    if not names:
        raise DataError(f"split file {path} names no sequence; write one a line")
    return tuple(names)


def preset_of(name: str) -> Preset:
    """Return a preset by name.

    Raises:
        OptionError: there is none of that name.
    """
    if name not in PRESETS:
        raise OptionError(f"unknown data set {name!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[name]
