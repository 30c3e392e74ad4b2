"""A run's folder: one run at a time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from vsalient.errors import TrainingError


@contextlib.contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that no second run writes into it; the system lets go when the process ends.

    Raises:
        TrainingError: another process trains there.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"{folder}: another run is training there; wait for it or choose another --out"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)
