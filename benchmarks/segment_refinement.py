"""What each refinement does to J and boundary F on the held-out sequences of the DAVIS 2016 training split.

Run: python benchmarks/segment_refinement.py --data davis16-train-00.tar [--model 3dc-lite] [--sequences bus,swing].
The model runs once a sequence; every row of the table is made of the same maps. Prints a Markdown table.
"""

import argparse
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from vsalient.api import load_model
from vsalient.metrics import boundary_f, jaccard
from vsalient.segment.boundary import BoundarySnap
from vsalient.segment.cleanup import fill_holes, keep_largest
from vsalient.segment.crf import DenseCrf
from vsalient.segment.thresholds import parse_threshold
from vsalient.types import MaskArray, Pixels, SaliencyArray

HELD_OUT = "bus,dance-jump,elephant,hockey,lucia,motorbike,rollerblade,surf,swing,train"
Sequence = tuple[list[Pixels], list[MaskArray]]
Masks = list[MaskArray]


def read(archive: Path, sequence: str) -> Sequence:
    """All frames and masks of a sequence, from the tar file or an unpacked folder."""

    def files() -> Iterator[tuple[str, bytes]]:
        if archive.is_dir():
            for path in sorted((archive / sequence).iterdir()):
                yield path.name, path.read_bytes()
        else:
            with tarfile.open(archive) as tar:
                for name in sorted(tar.getnames()):
                    if name.startswith(f"{sequence}/") and "." in name:
                        yield name, tar.extractfile(name).read()

    frames, truths = [], []
    for name, content in files():
        with Image.open(io.BytesIO(content)) as image:
            if name.endswith(".png"):
                truths.append(np.asarray(image.convert("L")) > 127)
            else:
                frames.append(np.asarray(image.convert("RGB")))
    if not frames or len(frames) != len(truths):
        raise SystemExit(f"{archive}: {len(frames)} frames and {len(truths)} masks of {sequence}")
    return frames, truths


def streamed(text: str, maps: list[SaliencyArray]) -> Masks:
    threshold = parse_threshold(text)
    found = [pair for index, saliency in enumerate(maps) for pair in threshold.push(index, saliency)]
    found += threshold.finish()
    return [mask for _, mask in found]


def variants() -> dict[str, Callable[[list[Pixels], list[SaliencyArray]], Masks]]:
    """Row of the table -> masks from frames and maps."""
    snap, crf = BoundarySnap(), DenseCrf()
    refined: dict[int, list[SaliencyArray]] = {}

    def crfs(frames: list[Pixels], maps: list[SaliencyArray]) -> list[SaliencyArray]:
        if id(maps) not in refined:
            refined.clear()
            refined[id(maps)] = [crf(p, s) for p, s in zip(frames, maps, strict=True)]
        return refined[id(maps)]

    def snapped(frames: list[Pixels], masks: Masks) -> Masks:
        return [snap(p, m) for p, m in zip(frames, masks, strict=True)]

    def tidied(masks: Masks) -> Masks:
        return [keep_largest(fill_holes(mask), 1) for mask in masks]

    rows: dict[str, Callable[[list[Pixels], list[SaliencyArray]], Masks]] = {}
    for text in ("adaptive", "fixed:0.5", "otsu", "hysteresis:0.3,0.7"):
        rows[f"`{text}`"] = lambda f, m, t=text: streamed(t, m)
    for text in ("adaptive", "fixed:0.5"):
        rows[f"`{text}`, boundary"] = lambda f, m, t=text: snapped(f, streamed(t, m))
        rows[f"`{text}`, CRF"] = lambda f, m, t=text: streamed(t, crfs(f, m))
        rows[f"`{text}`, CRF, boundary"] = lambda f, m, t=text: snapped(f, streamed(t, crfs(f, m)))
    rows["`fixed:0.5`, holes filled, largest 1"] = lambda f, m: tidied(streamed("fixed:0.5", m))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="davis16-train-00.tar, or the folder it unpacks to")
    parser.add_argument("--model", default="3dc-lite")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sequences", default=HELD_OUT)
    options = parser.parse_args()
    model = load_model(options.model, weights=options.weights, device=options.device)
    names = options.sequences.split(",")
    rows = variants()
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    count = 0
    for name in names:
        frames, truths = read(options.data, name)
        maps = [prediction.saliency for prediction in model.predict(frames)]
        count += len(frames)
        for row, make in rows.items():
            masks = make(frames, maps)
            # The 2016 protocol leaves out the first and the last frame.
            inner = list(zip(masks, truths, strict=True))[1:-1]
            j = np.mean([jaccard(mask, truth) for mask, truth in inner])
            f = np.mean([boundary_f(mask, truth) for mask, truth in inner])
            scores[row].append((float(j), float(f)))
    height, width = frames[0].shape[:2]
    print(f"{model.name}, {len(names)} sequences, {count} frames of {width}x{height}, DAVIS 2016 protocol\n")
    print("| threshold, refinement | J | boundary F | mean |\n|---|---|---|---|")
    for row, pairs in scores.items():
        j, f = np.mean(pairs, axis=0)
        print(f"| {row} | {j:.3f} | {f:.3f} | {(j + f) / 2:.3f} |")
    print("\n| sequence | " + " | ".join(("plain", "boundary", "CRF")) + " |\n|---|---|---|---|")
    shown = [scores[row] for row in ("`fixed:0.5`", "`fixed:0.5`, boundary", "`fixed:0.5`, CRF")]
    for number, name in enumerate(names):
        print(f"| {name} | " + " | ".join(f"{one[number][0]:.3f} / {one[number][1]:.3f}" for one in shown) + " |")


if __name__ == "__main__":
    main()
