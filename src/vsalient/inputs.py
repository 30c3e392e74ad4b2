"""Whatever a Python user has a video in, as a source of frames: paths, arrays, tensors, pictures, files, cameras."""

import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from vsalient.errors import InputError, OptionError
from vsalient.media import Source, check_range, exact_rate, find_sources, open_source
from vsalient.media.picture import IMAGE_SUFFIXES, to_rgb
from vsalient.types import Frame, Pixels, VideoInfo

log = logging.getLogger(__name__)

TAKEN = (
    "give a path, a glob, a list of picture paths, an open file, a camera's number, or frames: arrays or tensors "
    "(uint8, or floats in [0, 1]), PIL images or PyAV frames"
)


def check_input(source: Any, start: float | None, end: float | None, rate: float | Fraction) -> None:
    """Refuse what can be seen to be wrong before anything is read.

    Raises:
        OptionError: an impossible range or rate, a range for what has no clock of its own.
        InputError: nothing that frames could come from.
    """
    exact_rate(rate)
    if _is_stored(source):
        check_range(start, end)
    elif start is not None or end is not None:
        raise OptionError("start and end are for files: leave them out, or cut the list of frames")
    if isinstance(source, str) and "://" in source:
        raise InputError(f"{source} is an address: fetch the file first, and give its path")
    if source is None or isinstance(source, bool | float | complex | dict | set):
        raise InputError(f"{type(source).__name__} is no video: {TAKEN}")


def open_input(
    source: Any,
    *,
    start: float | None = None,
    end: float | None = None,
    rate: float | Fraction = 25,
    deep: bool = False,
) -> Source:
    """Open what somebody gave as a video.

    Args:
        source: a path of a video, a picture or a folder of frames; a glob; a list of paths of pictures; an open binary
            file, or the bytes of one; an open `cv2.VideoCapture`, or a camera's number; an open PyAV container; or
            frames, one by one or stacked: arrays or tensors (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels,
            uint8 or floating point in [0, 1]; PIL images; PyAV frames, which keep their times.
        start: seconds to begin at (files only).
        end: seconds to stop before (files only).
        rate: frames a second, where frames have no times of their own.
        deep: give a film's frames their `deep` pictures too.

    Raises:
        InputError: nothing of these, several videos at once, or no frames.
        OptionError: an impossible range or rate; `deep` of what is no film's path.
    """
    check_input(source, start, end, rate)
    exact = exact_rate(rate)
    if isinstance(source, str | os.PathLike):
        return open_source(_one(Path(source)), start=start, end=end, rate=exact, deep=deep)
    if deep:
        raise OptionError("10 bits are for films: give the path of one")
    if isinstance(source, bytes | bytearray | memoryview):
        return _Spooled([bytes(source)], "bytes", start, end)
    if hasattr(source, "read") and not isinstance(source, cv2.VideoCapture):
        return _open_file(source, start, end)
    if isinstance(source, int | np.integer | cv2.VideoCapture):
        return _camera(source, exact)
    if hasattr(source, "decode") and hasattr(source, "streams"):
        return _Stream(source.decode(video=0), exact, str(getattr(source, "name", "container")))
    if isinstance(source, Sequence) and source and all(isinstance(item, str | os.PathLike) for item in source):
        return _listed([Path(item) for item in source], exact)
    if not isinstance(source, Iterable) and not isinstance(source, Image.Image) and not hasattr(source, "to_ndarray"):
        raise InputError(f"{type(source).__name__} is no video: {TAKEN}")
    return _Stream(_apart(source), exact, "frames")


class _Stream(Source):
    """Frames out of memory, numbered as they come."""

    def __init__(self, items: Iterable[Any], rate: Fraction, name: str) -> None:
        self._rate = rate
        iterator = iter(items)
        first = next(iterator, None)
        self._items = itertools.chain(() if first is None else (first,), iterator)
        height, width = (0, 0) if first is None else _pixels(first, 0).shape[:2]
        clock = getattr(first, "time_base", None) or 1 / rate
        self.info = VideoInfo(Path(name), width, height, rate, clock, codec="images", color_space="rgb")

    def __iter__(self) -> Iterator[Frame]:
        for index, item in enumerate(self._items):
            if isinstance(item, str | os.PathLike):
                raise InputError(f"frame {index} is the path {os.fspath(item)}: {TAKEN}")
            pts, clock = getattr(item, "pts", None), getattr(item, "time_base", None)
            if pts is None or clock is None:
                pts, clock = index, 1 / self._rate
            yield Frame(_pixels(item, index), index, pts, clock)

    def close(self) -> None:
        """Let a generator go."""
        self._items = itertools.chain()


class _Spooled(Source):
    """A video whose bytes come from elsewhere: FFmpeg must be able to seek, so they wait in a temporary file."""

    def __init__(self, chunks: Iterable[bytes], name: str, start: float | None, end: float | None) -> None:
        self._folder = tempfile.mkdtemp(prefix="vsalient-")
        try:
            path = Path(self._folder) / "video"
            with path.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
            if path.stat().st_size == 0:
                raise InputError(f"{name} holds nothing: give an open video file, at its beginning")
            self._source = open_source(path, start=start, end=end)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.info = self._source.info

    def __iter__(self) -> Iterator[Frame]:
        yield from self._source
        self.cut_short = self._source.cut_short
        self.corrupt_frames = self._source.corrupt_frames

    def close(self) -> None:
        """Remove the copy."""
        self._source.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _is_stored(source: Any) -> bool:
    return isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "read")


def _one(path: Path) -> Path:
    """The one video or frame folder that a path, a glob or a folder of videos means."""
    if path.exists() and not path.is_dir():
        return path
    found = find_sources([path])
    if len(found) == 1:
        return found[0]
    if all(item.suffix.lower() in IMAGE_SUFFIXES and item.parent == found[0].parent for item in found):
        raise InputError(f"{path} matches {len(found)} pictures: give their folder, or the list of their paths")
    raise InputError(
        f"{path} means {len(found)} videos, the first two {found[0].name} and {found[1].name}: give one at a time"
    )


def _listed(paths: list[Path], rate: Fraction) -> Source:
    """Pictures one after another; or the only video of a list."""
    if len(paths) == 1:
        return open_source(_one(paths[0]), rate=rate)
    videos = [path for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES]
    if videos:
        raise InputError(f"{videos[0]} is no picture: give one video at a time, or a list of picture paths")
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]} does not exist; check the name.")
    return _Stream(map(_picture, paths), rate, str(paths[0].parent))


def _picture(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from error


def _open_file(file: Any, start: float | None, end: float | None) -> Source:
    name = getattr(file, "name", "the open file")
    if "b" not in getattr(file, "mode", "b") or hasattr(file, "encoding"):
        raise InputError(f"{name} is open for text: open it with 'rb'")
    return _Spooled(iter(lambda: file.read(1 << 20), b""), str(name), start, end)


def _camera(given: Any, rate: Fraction) -> Source:
    capture = given if isinstance(given, cv2.VideoCapture) else cv2.VideoCapture(int(given))
    if not capture.isOpened():
        raise InputError(f"camera {given} cannot be opened: check its number, and that nobody else uses it")
    own = capture.get(cv2.CAP_PROP_FPS)
    rate = exact_rate(own) if 0.001 <= own <= 100_000 else rate

    def pictures() -> Iterator[Pixels]:
        try:
            while True:
                there, pixels = capture.read()
                if not there:
                    return
                yield np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
        finally:
            if capture is not given:  # what the caller opened stays his
                capture.release()

    return _Stream(pictures(), rate, f"camera {given}" if capture is not given else "capture")


def _apart(source: Any) -> Iterable[Any]:
    """Frames one by one: a single picture is a video of one, a stack is taken apart."""
    if isinstance(source, Image.Image) or hasattr(source, "to_ndarray"):
        return (source,)
    if not hasattr(source, "ndim"):
        return source if isinstance(source, Iterable) else ()
    if source.ndim in (0, 1):
        raise InputError(f"an array of {source.ndim} dimensions is no video: {TAKEN}")
    if source.ndim > 4:
        raise InputError(f"an array of shape {tuple(source.shape)} is no single video: give one video at a time")
    # (H, W, C) and (C, H, W) are a picture; (T, H, W) is a gray video.
    single = source.ndim == 2 or (source.ndim == 3 and {source.shape[0], source.shape[2]} & {1, 3, 4})
    frames: Iterable[Any] = (source,) if single else iter(source)
    return frames


def _pixels(item: Any, index: int) -> Pixels:
    """One frame as (H, W, 3) uint8 RGB, in memory of its own: frames are read ahead, and the caller may fill his again.

    Raises:
        InputError: it is none.
    """
    if isinstance(item, Image.Image):
        return to_rgb(item)
    if hasattr(item, "to_ndarray"):
        return np.array(item.to_ndarray(format="rgb24"), np.uint8)
    if hasattr(item, "detach"):
        item = (
            item.detach().cpu().float().numpy() if str(item.dtype) == "torch.bfloat16" else item.detach().cpu().numpy()
        )
    if not isinstance(item, np.ndarray):
        raise InputError(f"frame {index} is {type(item).__name__}: {TAKEN}")
    if item.ndim not in (2, 3) or 0 in item.shape:
        raise InputError(f"frame {index} has shape {item.shape}: give (height, width) or (height, width, channels)")
    picture = _levels(item, index)
    if picture.ndim == 3 and picture.shape[2] not in (1, 3, 4) and picture.shape[0] in (1, 3, 4):
        picture = picture.transpose(1, 2, 0)
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.shape[2] not in (1, 3, 4):
        raise InputError(f"frame {index} has shape {item.shape}: give 1, 3 or 4 channels, first or last")
    if picture.shape[2] == 4:
        return to_rgb(Image.fromarray(np.ascontiguousarray(picture), "RGBA"))
    return np.array(np.broadcast_to(picture, (*picture.shape[:2], 3)), np.uint8)


def _levels(item: np.ndarray[Any, Any], index: int) -> np.ndarray[Any, Any]:
    """Values as 0 to 255."""
    if item.dtype == np.uint8:
        return item
    if not np.issubdtype(item.dtype, np.floating):
        raise InputError(f"frame {index} is {item.dtype}: give uint8, or floats in [0, 1]")
    low, high = float(item.min()), float(item.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise InputError(f"frame {index} has values from {low:g} to {high:g}: give floats in [0, 1], or uint8")
    return np.asarray(np.rint(item * 255), np.uint8)
