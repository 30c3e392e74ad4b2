"""What comes on stdin for the input `-`: a film, or a list of paths."""

import atexit
import codecs
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vsalient.errors import InputError

_HEAD = 4096
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_inputs() -> Iterator[str]:
    """The inputs that stdin means: its lines where it holds text, else one film, put into a temporary file.

    FFmpeg must be able to go back in most formats, which no pipe lets it; the file goes when the program ends.

    Raises:
        InputError: the disk is full, or nothing came.
    """
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        yield from (line.strip() for line in sys.stdin or () if line.strip())
        return
    head = stream.read(_HEAD)
    encoding = _encoding(head)
    if encoding is None:
        yield str(_spool(head, stream))
        return
    for line in (head + stream.read()).decode(encoding, "surrogateescape").splitlines():
        if line.strip():
            yield line.strip()


def _encoding(head: bytes) -> str | None:
    """How text is encoded that begins so; None for what is no text."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    binary = any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)
    return None if binary or head.startswith((b"YUV4MPEG2 ", b"P5\n", b"P6\n")) else "utf-8"


def _spool(head: bytes, stream: BinaryIO) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="vsalient-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "stdin"
    try:
        with path.open("xb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file, 1 << 20)
    except OSError as error:
        raise InputError(f"the film on stdin does not fit into {folder.parent}: {error.strerror}") from None
    return path
