"""Run a model on a data set's frames and keep its maps, to be scored like anybody's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from vsalient.datasets.layout import find_frames, find_partner
from vsalient.datasets.names import few
from vsalient.datasets.presets import preset_of
from vsalient.errors import DataError, OutputError
from vsalient.evaluation.plan import plan_truth

if TYPE_CHECKING:
    from vsalient.model import Model
    from vsalient.types import MaskArray, Result, SaliencyArray


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """How a network is run, where it shall not be its own way: see `vsalient.api.Model.predict`."""

    length: int | None = None
    overlap: int | None = None
    tail: Any = None
    resolution: str | None = None
    cuts: Any = "auto"


def predict_sequences(
    model: "str | Path | Model",
    frames: Path,
    ground_truth: Path,
    folder: Path,
    *,
    dataset: str = "custom",
    split: str | None = None,
    loading: Mapping[str, Any] | None = None,
    protocol: Literal["default", "paper"] = "default",
    clips: "ClipSettings | None" = None,
    masks: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Write the model's maps of every sequence that has ground truth, as 8-bit PNGs named like the frames.

    Args:
        model: a registered name, a weights file, or a loaded model.
        frames: the video frames, in the layout of the ground truth, or videos.
        ground_truth: of the data set.
        folder: where the maps go, below the model's name.
        dataset: the preset, see `evaluate`.
        split: the sequences that count, see `evaluate`.
        loading: further arguments of `vsalient.load_model`: weights, device, dtype, exact, flip, offline.
        protocol: "paper" for the procedure of the model's authors, in plain float32.
        clips: the clips' length, overlap, tail, resolution and cuts; None for the model's own.
        masks: write masks of 0 and 255 instead, made as these arguments of `vsalient.model.Model.segment` say.
        resume: leave sequences alone that an earlier call with all the same settings wrote to their end.
        progress: called with a sequence's name, how many are done, and of how many.
        say: takes the line on device and dtype.

    Returns:
        The folder that holds the sequences' folders.

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

    given = dict(loading or {})
    if protocol == "paper" and given.get("dtype", "auto") == "auto":
        given["exact"] = True
    network = load_model(model, **given) if isinstance(model, str | Path) else model
    settings = clips or ClipSettings()
    if say is not None:
        say(f"{network.name}: {network.description}")
    root = folder / network.name
    for number, (name, partner) in enumerate(partners.items(), 1):
        assert partner is not None
        target = root / name
        if resume and name:
            if target.is_dir():
                if progress is not None:
                    progress(name, number, len(partners))
                continue
            target = folder / "begun" / name
        for prediction in _results(network, partner.path, protocol, settings, masks):
            # The reader's own name: its order of a folder is the one that counts.
            stem = prediction.frame.name or f"{prediction.index:05d}"
            _write_map(target / f"{stem}.png", prediction.mask if masks else prediction.saliency)
        if resume and name:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            target.replace(root / name)
        if progress is not None:
            progress(name, number, len(partners))
    return root


def _results(
    network: "Model",
    source: Path,
    protocol: Literal["default", "paper"],
    settings: ClipSettings,
    masks: Mapping[str, Any] | None,
) -> "Iterator[Result]":
    if masks:
        from vsalient.procedure import Clips

        clips = Clips(
            length=settings.length,
            overlap=settings.overlap,
            tail=settings.tail,
            resolution=settings.resolution,
            protocol=protocol,
            cuts=settings.cuts,
        )
        return network.segment(source, clips=clips, **masks)
    return network.predict(
        source,
        protocol=protocol,
        clip_length=settings.length,
        overlap=settings.overlap,
        tail=settings.tail,
        resolution=settings.resolution,
        cuts=settings.cuts,
    )


def _write_map(path: Path, saliency: "SaliencyArray | MaskArray") -> None:
    ok, data = cv2.imencode(".png", np.rint(saliency * 255.0).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert ok
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"map {path} cannot be written: {error.strerror or error}") from error
