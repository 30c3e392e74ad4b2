"""Outputs checked, opened and aborted by the name of their kind: all of them, or none."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vsalient.errors import OptionError, OutputError
from vsalient.files import refuse_existing
from vsalient.outputs.kinds import Kind, find_kind
from vsalient.outputs.looks import Looks
from vsalient.outputs.output import Opening, Output
from vsalient.types import VideoInfo

log = logging.getLogger(__name__)


def check_output(
    kind: str | Kind,
    path: str | Path,
    info: VideoInfo | None = None,
    *,
    source: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Refuse an output that cannot work, before anything is decoded. Creates nothing.

    Args:
        kind: what to write.
        path: where.
        info: facts of the source, when known.
        source: its file, which must not be written over.
        overwrite: whether something that exists may be replaced.

    Raises:
        OptionError: unknown kind, an ending it cannot have (alpha in .mp4), the input's own name or folder.
        OutputError: it exists already, or its place is no folder or cannot be written to.
    """
    kind, path = find_kind(kind), Path(path)
    origin = source or (info.path if info is not None else None)
    if origin is not None and path.resolve() == origin.resolve():
        raise OptionError(f"{path} is the input itself; choose another name for the output.")
    if origin is not None and path.resolve() in (*origin.resolve().parents, origin.parent.resolve()):
        raise OptionError(f"{path} is the folder that the input is in; choose another name for the output.")
    from vsalient.media import is_photo

    kind.check_ending(path, still=origin is not None and is_photo(origin))
    if str(path) == "-":
        return
    if kind.is_folder and path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file where a folder of pictures should go; choose another name.")
    if not kind.is_folder and path.is_dir():
        raise OutputError(f"{path} is a folder where a file should go; choose another name.")
    refuse_existing(path, overwrite=overwrite)
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise OutputError(f"{path} cannot be written: {place} is a file, not a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: no permission to write in {place}; choose another place.")


def open_output(
    kind: str | Kind,
    path: str | Path,
    info: VideoInfo,
    *,
    source: Path | None = None,
    span: tuple[float | None, float | None] = (None, None),
    overwrite: bool = False,
    looks: Looks | None = None,
    stages: Callable[[], Mapping[str, float]] | None = None,
    shared: dict[str, Any] | None = None,
) -> Output:
    """Check and open one output; arguments as of `Opening`.

    Raises:
        OptionError: the kind or its container makes no sense.
        OutputError: it exists already, or the place cannot be written to.
    """
    kind, path = find_kind(kind), Path(path)
    check_output(kind, path, info, source=source, overwrite=overwrite)
    given = Opening(
        path=path,
        info=info,
        source=source,
        span=span,
        overwrite=overwrite,
        looks=looks or Looks(),
        stages=stages,
        shared={} if shared is None else shared,
    )
    output = kind.opener()(given)
    assert isinstance(output, Output)
    return output


@contextlib.contextmanager
def opened(
    targets: Sequence[tuple[str, Path]],
    info: VideoInfo,
    *,
    source: Path | None = None,
    span: tuple[float | None, float | None] = (None, None),
    overwrite: bool = False,
    looks: Looks | None = None,
    stages: Callable[[], Mapping[str, float]] | None = None,
) -> Iterator[list[Output]]:
    """Open outputs, (kind, path) each, in the order in which they are to be finished; arguments as of `Opening`.

    An error while they are opened, or within the block, aborts them all; closing them is the block's own business.

    Raises:
        VsalientError: as for `open_output`.
    """
    outputs: list[Output] = []
    opens = partial(
        open_output, info=info, source=source, span=span, overwrite=overwrite, looks=looks, stages=stages, shared={}
    )
    try:
        for kind, path in targets:
            outputs.append(opens(kind, path))
        yield outputs
    except BaseException:
        abort_all(outputs)
        raise


def abort_all(outputs: Sequence[Output]) -> None:
    """Leave nothing of any of them behind, whatever one of them says to it."""
    for output in outputs:
        try:
            output.abort()
        except Exception as error:  # the reason for the abort is what the user must hear of
            log.warning("%s may be left behind unfinished: %s", output.path, error)
