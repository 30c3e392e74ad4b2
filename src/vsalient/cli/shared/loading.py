"""A model loaded for the command line: its transfer shown, threads and heaps as a program of its own may set them."""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsalient.errors import VsalientError

if TYPE_CHECKING:
    from vsalient.cli.shared.console import Console
    from vsalient.model import Model


class ModelLoadError(VsalientError):
    """The model cannot be loaded, whatever the input."""


def share_heaps() -> None:
    """Let all threads share two heaps where the C library is glibc.

    Frames are allocated in one thread and freed in another; with a heap for each thread, as glibc has by default, the
    holes that this leaves made the peak of a long 720p video 7 % higher than a short one's.
    """
    if sys.platform == "linux":
        import ctypes

        trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # of malloc.h
        with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt
            library = ctypes.CDLL(None)
            library.mallopt(arena_max, 2)
            # Pictures of 4K go back to the system at once. Left alone, glibc learns to keep pieces as large as these.
            # The network's features are smaller: what they gave back is kept for the next layer, since to get it from
            # the system again costs a page fault for every 4 KiB, a third of the network's time in bfloat16.
            library.mallopt(mmap_threshold, 16 << 20)
            library.mallopt(trim_threshold, 32 << 20)


def rest_soon() -> None:
    """Let the network's threads sleep soon when they wait for each other; before PyTorch is loaded.

    GNU's OpenMP spins for some 15 ms at the end of each layer while the other thread waits for a core that optical
    flow, the encoder or another program has: on two cores with busy programs beside, 3dc-lite took 6.8 s of CPU time a
    clip that way, 0.6 with a count of 5000, 0.4 with none. A thousand are some 50 µs: layers end within that of each
    other where the cores are free.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def load_with_progress(
    console: "Console",
    model: str,
    weights: Path | None,
    device: str,
    dtype: Any,
    *,
    engine: Any = "auto",
    exact: bool,
    flip: bool,
    offline: bool,
    threads: int | None = None,
) -> "Model":
    """Load a model, showing the transfer of its weights when they must be fetched.

    Raises:
        ModelLoadError: with the text of what `vsalient.api.load_model` raises.
    """
    share_heaps()
    rest_soon()
    if threads is not None:
        # OpenMP reads it when PyTorch is loaded: set later, its pool is there already with all cores.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        import torch

        torch.set_num_threads(threads)
    from vsalient.api import load_model
    from vsalient.cli.shared.transfer import TransferProgress

    try:
        with TransferProgress(quiet=console.quiet) as progress:
            loaded = load_model(
                model,
                weights=weights,
                device=device,
                dtype=dtype,
                engine=engine,
                exact=exact,
                flip=flip,
                offline=offline,
                progress=progress,
            )
    except VsalientError as error:
        raise ModelLoadError(str(error)) from error
    if loaded.device == "cpu":
        # The network takes every core already; OpenCV's threads (optical flow) would only get into its way.
        import cv2

        cv2.setNumThreads(1)
    return loaded
