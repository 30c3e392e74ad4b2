"""Run a model on a data set's frames and keep its maps, to be scored like anybody's."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from vsalient.datasets.layout import find_frames, find_partner
from vsalient.datasets.names import few
from vsalient.datasets.presets import preset_of
from vsalient.errors import DataError, OutputError
from vsalient.evaluation.plan import plan_truth

if TYPE_CHECKING:
    from vsalient.model import Model
    from vsalient.procedure import Clips
    from vsalient.segment.masks import Masks
    from vsalient.types import MaskArray, SaliencyArray


@dataclass(frozen=True, slots=True)
class Predicted:
    """Maps that a model has written.

    Attributes:
        folder: holds the sequences' folders.
        parameters: of the network, None where nobody can count them.
        frames_per_second: from reading the frames to their maps on disk, loading the network left out; None where all
            were there already.
    """

    folder: Path
    parameters: int | None
    frames_per_second: float | None

    def columns(self) -> dict[str, str]:
        """The same for tables."""
        millions = None if self.parameters is None else f"{self.parameters / 1e6:.2f}"
        speed = None if self.frames_per_second is None else f"{self.frames_per_second:.3g}"
        return {"params (M)": millions or "–", "frames/s": speed or "–"}


def predict_sequences(
    model: "str | Path | Model",
    frames: Path,
    ground_truth: Path,
    folder: Path,
    *,
    dataset: str = "custom",
    split: str | None = None,
    loading: Mapping[str, Any] | None = None,
    clips: "Clips | None" = None,
    masks: "Masks | None" = None,
    resume: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Predicted:
    """Write the model's maps of every sequence that has ground truth, as 8-bit PNGs named like the frames.

    Args:
        model: a registered name, a weights file, or a loaded model.
        frames: the video frames, in the layout of the ground truth, or videos.
        ground_truth: of the data set.
        folder: where the maps go, below the model's name.
        dataset: the preset, see `evaluate`.
        split: the sequences that count, see `evaluate`.
        loading: further arguments of `vsalient.load_model`: weights, device, dtype, exact, flip, offline.
        clips: how the network is run; None for its own way. The procedure of its authors is in plain float32.
        masks: write masks of 0 and 255 instead, made so.
        resume: leave sequences alone that an earlier call with all the same settings wrote to their end.
        progress: called with a sequence's name, how many are done, and of how many.
        say: takes the line on device and dtype.

    Returns:
        Where they are, and how large and how fast the model was.

    Raises:
        VsalientError: frames are missing, the model cannot be loaded, a map cannot be written.
    """
    truth = plan_truth(ground_truth, preset_of(dataset), split, None)
    stored = find_frames(frames)
    partners = {name: find_partner(name, truth.tree, stored) for name in truth.tree}
    missing = [name or "the sequence" for name, partner in partners.items() if partner is None]
    if missing:
        raise DataError(f"frames {frames} lack {len(missing)} sequences: {few(missing)}; give the folder of all frames")

    # PyTorch comes with it.
    from vsalient.api import load_model
    from vsalient.procedure import Clips

    given, settings = dict(loading or {}), clips or Clips()
    if settings.protocol == "paper" and given.get("dtype", "auto") == "auto":
        given["exact"] = True
    network = load_model(model, **given) if isinstance(model, str | Path) else model
    if say is not None:
        say(f"{network.name}: {network.description}")
    root = folder / network.name
    written, seconds = 0, 0.0
    for number, (name, partner) in enumerate(partners.items(), 1):
        assert partner is not None
        target = root / name
        if resume and name:
            if target.is_dir():
                if progress is not None:
                    progress(name, number, len(partners))
                continue
            target = folder / "begun" / name
        begun = time.perf_counter()
        for prediction in network.run(partner.path, settings, masks):
            # The reader's own name: its order of a folder is the one that counts.
            stem = prediction.frame.name or f"{prediction.index:05d}"
            _write_map(target / f"{stem}.png", prediction.mask if masks else prediction.saliency)
            written += 1
        seconds += time.perf_counter() - begun
        if resume and name:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            target.replace(root / name)
        if progress is not None:
            progress(name, number, len(partners))
    return Predicted(root, network.entry.parameters, written / seconds if written else None)


def _write_map(path: Path, saliency: "SaliencyArray | MaskArray") -> None:
    ok, data = cv2.imencode(".png", np.rint(saliency * 255.0).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert ok
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"map {path} cannot be written: {error.strerror or error}") from error
