"""From what the user typed to a list of sources: files, globs, folders of videos, of frames, of frame folders."""

import glob
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from vsalient.datasets.names import VIDEOS
from vsalient.errors import InputError, OptionError
from vsalient.media.addresses import address_of, check_address, file_of
from vsalient.media.images import (
    ANIMATION_SUFFIXES,
    DEFAULT_RATE,
    FrameFolder,
    ImageSource,
    list_images,
    natural_key,
    numbered,
)
from vsalient.media.picture import IMAGE_SUFFIXES, PICTURE_ERRORS, is_still
from vsalient.media.source import Source
from vsalient.media.thin import Thinned, check_thinning
from vsalient.media.video import VideoSource

log = logging.getLogger(__name__)


def open_source(
    path: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    rate: Fraction | None = None,
    deinterlace: bool = True,
    every: int = 1,
    limit: int | None = None,
    deep: bool = False,
    live: bool = False,
) -> Source:
    """Open a video file, a picture, or a folder of frames.

    Args:
        path: the file or folder.
        start: seconds of presentation time; earlier frames are left out.
        end: seconds; frames at or after it are left out.
        rate: frames a second of a frame folder (25 when None); videos have their own clock.
        deinterlace: make whole pictures of interlaced ones.
        every: take every N-th frame only.
        limit: take so many frames at most.
        deep: give a film's frames their `deep` pictures too.
        live: give each of a film's frames as early as possible: how long it stands is what it says itself.

    Raises:
        InputError: nothing there, an empty folder, no frame in the range.
        DecodeError: a file from which no frame can be decoded.
        OptionError: an impossible range or rate; `deep` of what is no film.
    """
    path = Path(path)
    check_thinning(every, limit)
    source = _open_whole(path, start, end, rate or DEFAULT_RATE, deinterlace, deep, live)
    return source if every == 1 and limit is None else Thinned(source, every=every, limit=limit)


def _open_whole(
    path: Path, start: float | None, end: float | None, rate: Fraction, deinterlace: bool, deep: bool, live: bool
) -> Source:
    files = numbered(path) if not path.exists() else []
    still = path.suffix.lower() in IMAGE_SUFFIXES | ANIMATION_SUFFIXES or (path.is_file() and is_still(path))
    pictures = path.is_dir() or bool(files) or (address_of(path) is None and still)
    if deep and pictures:
        raise OptionError(f"{path} is no film: 10 bits are for films; leave --bits 10 out")
    if path.is_dir():
        return FrameFolder(path, rate=rate, start=start, end=end)
    if files:
        return FrameFolder(path.parent, rate=rate, start=start, end=end, files=files)
    if pictures:
        return ImageSource(path, start=start, end=end)
    return VideoSource(path, start=start, end=end, deinterlace=deinterlace, deep=deep, live=live)


def is_photo(path: Path) -> bool:
    """Whether a source is one picture, and no film, animation or folder of frames; told by its name and header."""
    if not path.is_file() or not (path.suffix.lower() in IMAGE_SUFFIXES or is_still(path)):
        return False
    if path.suffix.lower() not in ANIMATION_SUFFIXES:
        return True
    from PIL import Image

    try:
        with Image.open(path) as image:
            return not getattr(image, "is_animated", False)
    except PICTURE_ERRORS:
        return True  # reading it will say what is wrong


def photos_of(sources: Sequence[Path]) -> list[Path]:
    """Sources, with the pictures of folders of frames each on its own, in natural order."""
    return [photo for source in sources for photo in (list_images(source) if source.is_dir() else [source])]


def find_sources(inputs: Sequence[str | Path]) -> list[Path]:
    """Expand files, globs and folders to the sources they mean, in the order given and without repeats.

    A folder means the videos in it; without videos, itself as a folder of frames; without pictures either, whatever
    its subfolders mean (such as DAVIS's JPEGImages/480p). Inside folders, and for globs, the order is natural, and
    hidden files and files that are neither video nor picture are passed over.

    Raises:
        InputError: a file that does not exist, a glob or folder in which nothing is found.
    """
    found: dict[Path, Path] = {}
    for item in inputs:
        for path in _expand(item):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _expand(item: str | Path) -> list[Path]:
    path = Path(item)
    if (address := address_of(item)) is not None and not path.exists():
        if (file := file_of(address)) is None:
            check_address(address)
            return [path]
        path = file
    if path.is_dir():
        sources = list(_in_folder(path))
        if not sources:
            raise InputError(f"{path} holds no videos and no pictures; give a file, or a folder that has some.")
        return sources
    if path.exists():
        return [path]
    if numbered(path):
        return [path]
    if not glob.has_magic(str(item)):
        raise InputError(f"{path} does not exist; check the name.")
    # Path.glob takes no absolute patterns.
    matches = sorted((Path(p) for p in glob.glob(str(item), recursive=True)), key=_path_key)  # noqa: PTH207
    sources = [source for match in matches for source in (_in_folder(match) if match.is_dir() else _media(match))]
    if not sources:
        raise InputError(f"no video or picture matches {str(item)!r}; check the pattern.")
    return sources


def _media(path: Path) -> list[Path]:
    return [path] if path.suffix.lower() in VIDEOS | IMAGE_SUFFIXES else []


def _in_folder(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    above |= {folder.resolve()}
    entries = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural_key)
    videos = [p for p in entries if p.suffix.lower() in VIDEOS and p.is_file()]
    pictures = list_images(folder)
    if videos:
        if pictures:
            log.warning("%s holds videos and pictures; its %d pictures are passed over.", folder, len(pictures))
        yield from videos
    elif pictures:
        yield folder
    else:
        for entry in entries:
            # A link to a folder that this one is in would never end.
            if entry.is_dir() and entry.resolve() not in above:
                yield from _in_folder(entry, above)


def _path_key(path: Path) -> list[tuple[tuple[int, int, str], ...]]:
    """Natural order over all parts of a path, not only the last."""
    return [natural_key(Path(part)) for part in path.parts]
