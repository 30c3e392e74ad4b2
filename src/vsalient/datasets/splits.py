"""Which part of a data set a sequence belongs to, and what may be trained on.

A split is told by, in this order, the data set's own lists (`ImageSets/[2016/|2017/|480p/]train.txt`), the folder a
sequence lies in (`Trainingset`, `DUTS-TR`), and, for the sets whose parts are known by name, layout and names
together: FBMS's test has names that DAVIS trains on.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from vsalient.datasets.collections import Collection
from vsalient.datasets.found import Found
from vsalient.datasets.names import few
from vsalient.datasets.presets import DAVIS16_TRAIN, DAVIS16_VAL, DAVIS17_TRAIN, DAVIS17_VAL, FBMS_TEST, FBMS_TRAIN
from vsalient.errors import DataError, OptionError

TESTING = ("val", "test")
_FOLDERS = (
    ("train", re.compile(r"^(\w+[-_ ])?(train(ing)?([-_ ]?set)?|tr)\d*([-_ ](image|mask)s?)?$", re.IGNORECASE)),
    ("val", re.compile(r"^(\w+[-_ ])?(val(id|idation)?([-_ ]?set)?)\d*$", re.IGNORECASE)),
    ("test", re.compile(r"^(\w+[-_ ])?(test(ing)?([-_ ]?set)?|te)\d*([-_ ](image|mask)s?)?$", re.IGNORECASE)),
)
_KNOWN = {
    # (layout, title): names -> split
    ("two trees", "DAVIS"): {
        **dict.fromkeys((*DAVIS17_TRAIN, *DAVIS16_TRAIN), "train"),
        **dict.fromkeys((*DAVIS17_VAL, *DAVIS16_VAL), "val"),
    },
    ("side by side", "FBMS-59"): {**dict.fromkeys(FBMS_TRAIN, "train"), **dict.fromkeys(FBMS_TEST, "test")},
}


def choose_sequences(
    collection: Collection, root: Path, split: str | None, *, allow_test: bool = False
) -> tuple[list[Found], str]:
    """The sequences to train on, and a line that says which these are ("" where all are).

    Args:
        collection: what was found.
        root: where.
        split: "train", "val", "test", "trainval", "all", or a list below ImageSets ("2016/train"); None takes the
            training part where there is one, and everything where nothing tells parts.
        allow_test: whether the validation and test parts of known sets may be trained on.

    Raises:
        OptionError: no such split.
        DataError: nothing is left, or what is asked for is a known set's validation or test part.
    """
    lists = _lists(root)
    title, known = _known(collection)
    parts = [_part(found, lists, known, root) for found in collection.sequences]
    every = collection.sequences
    if split is None:
        wanted = {"train"} if "train" in parts else {""} if "" in parts else set(parts)
        chosen = [i for i, part in enumerate(parts) if part in wanted]
    elif split == "all":
        chosen = list(range(len(every)))
    elif split in lists and "/" in split:
        chosen = [i for i, found in enumerate(every) if found.name in lists[split]]
    else:
        wanted = {"train", "val"} if split == "trainval" else {split}
        chosen = [i for i, part in enumerate(parts) if part in wanted]
        if not chosen:
            there = sorted({part for part in parts if part} | set(lists))
            raise OptionError(
                f"{root}:{split}: there is no such split; choose from {', '.join([*there, 'all'])}, or leave it out"
            )
    if not chosen:
        raise DataError(f"{root}: no sequence is in split {split}; give another one, or :all")
    testing = [every[i].name for i in chosen if title and (known.get(every[i].name) or parts[i]) in TESTING]
    if testing and not allow_test:
        raise DataError(
            f"{root}: {_are(testing)} for validation or test of {title}; train on its training part ({root}:train), "
            "or say --allow-test if it is meant"
        )
    names = sorted({parts[i] for i in chosen} - {""})
    note = f"split {'+'.join(names) or 'unknown'}: {len(chosen)} of {len(every)}" if len(chosen) < len(every) else ""
    return [every[i] for i in chosen], note


def refuse_known(names: Iterable[str], origin: object, *, allow_test: bool) -> None:
    """Refuse a shard that holds DAVIS's validation sequences and nothing but DAVIS.

    Raises:
        DataError: it does.
    """
    known = _KNOWN["two trees", "DAVIS"]
    names = list(names)
    testing = [name for name in names if known.get(name) == "val"]
    if testing and not allow_test and all(name in known for name in names):
        raise DataError(
            f"{origin}: {_are(testing)} for validation of DAVIS; leave them out, or say --allow-test if it is meant"
        )


def _are(names: list[str]) -> str:
    return f"{few(names)} {'is' if len(names) == 1 else 'are'}"


def _known(collection: Collection) -> tuple[str, dict[str, str]]:
    """The set that a collection is, by layout and the greater part of its names, and its parts."""
    for (layout, title), parts in _KNOWN.items():
        names = [found.name for found in collection.sequences]
        if layout == collection.layout and sum(name in parts for name in names) * 2 > len(names):
            return title, parts
    if collection.layout == "stills" and any(re.search(r"DUTS-T[ER]", "/".join(f.place)) for f in collection.sequences):
        return "DUTS", {}
    return "", {}


def _part(found: Found, lists: dict[str, set[str]], known: dict[str, str], root: Path) -> str:
    plain = {name: names for name, names in lists.items() if "/" not in name}
    if plain:
        return next((name for name in ("train", "val", "test") if found.name in plain.get(name, ())), "unlisted")
    for folder in reversed(found.place):
        for split, words in _FOLDERS:
            if words.search(folder):
                return split
    if found.name in known:
        return known[found.name]
    # The folder given itself, where it can be nothing else.
    own = root.resolve().name
    return next((s for s, words in _FOLDERS if words.search(own) and re.search(r"set$|DUTS", own, re.IGNORECASE)), "")


def _lists(root: Path) -> dict[str, set[str]]:
    """List -> sequences, by its path below ImageSets without `.txt`, and the newest year's also by name alone."""
    home = root / "ImageSets"
    lists: dict[str, set[str]] = {}
    if not home.is_dir():
        return lists
    for path in sorted(home.rglob("*.txt")):
        names = set()
        for line in path.read_text("utf-8", errors="replace").splitlines():
            words = line.split("#")[0].split()
            if words:
                # DAVIS 2016 lists frames: `/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png`.
                names.add(Path(words[0]).parent.name if Path(words[0]).suffix else words[0])
        below = path.relative_to(home).with_suffix("")
        lists[below.as_posix()] = names
        # Sorted, 2017 comes after 2016 and 480p: its training part holds theirs.
        lists[below.name] = names
    return lists
