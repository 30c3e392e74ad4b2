"""Inputs that are no files: addresses that FFmpeg reads, and what waits in a pipe."""

import os
import re
import select
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vsalient.errors import InputError

READ = ("http", "https", "rtsp")
"""Kinds of address that are read."""
ADDRESS_PATIENCE = (20.0, 30.0)
"""Seconds that a server, or the other end of a pipe, may take to answer, and to send the next bytes."""
# A path keeps only one of two slashes.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}(?=[^/])")


def address_of(path: str | Path) -> str | None:
    """The address that an input is, with both its slashes; None for a file's name."""
    text = str(path)
    match = _ADDRESS.match(text)
    if match is None or len(match[1]) < 2:  # one letter is a drive of Windows
        return None
    return f"{match[1].lower()}://{text[match.end() :]}"


def check_address(address: str) -> None:
    """Refuse the kinds that are not read.

    Raises:
        InputError: names those that are.
    """
    kind = address.partition(":")[0]
    if kind not in READ:
        raise InputError(
            f"{address} is an address of a kind that is not read ({', '.join(READ)} are): fetch it and give the file"
        )


def file_of(address: str) -> Path | None:
    """The file that a file: address means, None for other kinds."""
    parts = urlsplit(address)
    return (
        Path(unquote(f"/{parts.netloc}{parts.path}" if parts.netloc not in ("", "localhost") else parts.path))
        if (parts.scheme == "file")
        else None
    )


def stem_of_address(address: str) -> str:
    """What outputs are called after: the last part of the address's path, without its ending."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)).stem or parts.hostname or "film"


def wait_for_pipe(path: Path) -> None:
    """Return once somebody writes into a named pipe; anything else returns at once.

    Raises:
        InputError: nobody does for a while.
    """
    if not hasattr(os, "O_NONBLOCK") or not path.exists() or not stat.S_ISFIFO(path.stat().st_mode):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not any(event & select.POLLIN for _, event in poll.poll(ADDRESS_PATIENCE[0] * 1000)):
            raise InputError(f"{path} is a pipe that nobody writes into: nothing came for {ADDRESS_PATIENCE[0]:g} s")
    finally:
        os.close(descriptor)
