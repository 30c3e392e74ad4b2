"""How good a network is where it has not been trained: video, looks alone, false motion, large objects, burned-in text.

    python benchmarks/accuracy.py MODEL --videos a.tar --videos b.tar --sequences bus,train --second c.tar \
        --stills d.tar

MODEL is a name of `vsalient models list` or a safetensors file of ours. Data as `vsalient train --data` takes it.
What is printed decides between training runs; `--quick` looks at a part of it. Masks at 0.5; a sequence's first and
last frame do not count (DAVIS); all maps come from the usual inference.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsalient.checkpoints.network import load_network
from vsalient.engine import Engine
from vsalient.metrics.boundary import boundary_f
from vsalient.metrics.region import jaccard
from vsalient.pipeline import saliency_maps
from vsalient.procedure import plan_procedure
from vsalient.training import overlays, synthesis
from vsalient.training.sources import PairSource, open_pairs
from vsalient.types import Frame

Clip = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Frames (T, H, W, 3) and masks (T, H, W), 0 or 255."""
FAULTS = ("zero", "inverted", "foreign")


class FalseMotion:
    """An engine whose motion maps are replaced before the network sees them."""

    def __init__(self, engine: Engine, fault: str) -> None:
        self.engine, self.fault = engine, fault
        self.behind = engine.behind

    def reset(self) -> None:
        self.engine.reset()

    def submit(self, frames, indices, outputs=None, priors: Mapping[str, Sequence] | None = None):
        wrong = {name: [self._wrong(x) for x in maps] for name, maps in (priors or {}).items()}
        return self.engine.submit(frames, indices, outputs, wrong)

    def _wrong(self, x):
        if self.fault == "zero":
            return x * 0
        if self.fault == "inverted":
            return x.max() - x
        return x.flip(-1).roll(x.shape[-1] // 3, -1)  # an object that is not there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--videos", type=Path, action="append", default=[])
    parser.add_argument("--sequences", default="", help="of the videos, those to look at; all when empty")
    parser.add_argument("--second", type=Path, action="append", default=[])
    parser.add_argument("--stills", type=Path, action="append", default=[])
    parser.add_argument("--quick", action="store_true", help="24 frames a sequence, every twentieth still")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--only", default="video,static,second,stills,faults,large,overlays")
    options = parser.parse_args()
    network, entry = load_network(options.model)
    priors = tuple(network.priors)
    engine = Engine(network, dtype=options.dtype)
    print(engine.description, flush=True)
    procedure = plan_procedure(entry)
    wanted = options.only.split(",")
    keep = [name for name in options.sequences.split(",") if name]
    videos = [s for path in options.videos for s in sequences(open_pairs(path), keep, 24 if options.quick else None)]
    second = [s for path in options.second for s in sequences(open_pairs(path), [], 24 if options.quick else None)]
    stills = [open_pairs(path) for path in options.stills]
    step = 20 if options.quick else 5
    pictures = [c for source in stills for c in one_frame(source, step)]
    result: dict[str, object] = {"model": str(options.model)}

    def run(frames: NDArray[np.uint8], by: object = engine) -> NDArray[np.float32]:
        numbered = (Frame(np.ascontiguousarray(f), i, i, Fraction(1, 25)) for i, f in enumerate(frames))
        return np.stack([m for _, m in saliency_maps(numbered, by, procedure, priors=priors)])

    if "video" in wanted and videos:
        each, calm = {}, []
        for name, (frames, masks) in videos:
            maps = run(frames)
            each[name] = score(maps, masks)
            calm.append(steadiness(maps, masks))
        result["video"] = summary(each)
        result["inside below 0.95"], result["jumps above 0.2"] = np.nanmean(calm, axis=0).round(4).tolist()
        tell(result, "video", "inside below 0.95", "jumps above 0.2")
    if "static" in wanted and videos:
        found = []
        for _, (frames, masks) in videos:
            places = range(1, len(frames) - 1, 12)
            found.append(np.mean([jaccard(run(frames[i : i + 1])[0] >= 0.5, masks[i] > 127) for i in places]))
        result["static J"] = round(float(np.mean(found)), 4)
        tell(result, "static J")
    if "second" in wanted and second:
        result["second"] = summary({name: score(run(f), m) for name, (f, m) in second})
        tell(result, "second")
    if "stills" in wanted and pictures:
        maps = [(run(f)[0], m[0]) for f, m in pictures]
        result["stills J"] = round(float(np.mean([jaccard(p >= 0.5, m > 127) for p, m in maps])), 4)
        result["stills MAE"] = round(float(np.mean([np.abs(p - m / 255).mean() for p, m in maps])), 4)
        tell(result, "stills J", "stills MAE")
    if "faults" in wanted and videos and priors:
        some = [(name, (f[:24], m[:24])) for name, (f, m) in videos]
        right = np.mean([score(run(f), m)[0] for _, (f, m) in some])
        for fault in FAULTS:
            by = FalseMotion(engine, fault)
            result[f"J lost, {fault} motion"] = round(
                float(right - np.mean([score(run(f, by), m)[0] for _, (f, m) in some])), 4
            )
            tell(result, f"J lost, {fault} motion")
    if "large" in wanted and pictures:
        made = list(large_objects(stills[0], 50 if not options.quick else 16))
        result["large objects J"] = round(float(np.mean([score(run(f), m)[0] for f, m in made])), 4)
        tell(result, "large objects J")
    if "overlays" in wanted and videos:
        result["overlay pixels marked"] = round(marked(run, videos, 50 if not options.quick else 16), 4)
        tell(result, "overlay pixels marked")
    print(json.dumps(result))


def sequences(source: PairSource, keep: list[str], most: int | None) -> list[tuple[str, Clip]]:
    """Sequences of more than one frame, by name, as far as `keep` says."""
    chosen = source.select(keep=keep)
    found = []
    for number, name in enumerate(chosen.names):
        count = min(chosen.length(number), most or 10**9)
        if count > 1:
            pairs = [chosen.read(number, i) for i in range(count)]
            found.append((name, (np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs]))))
    return found


def one_frame(source: PairSource, step: int) -> list[Clip]:
    """Every `step`-th still as a clip of one frame."""
    return [(image[None], mask[None]) for image, mask in (source.read(n, 0) for n in range(0, len(source.names), step))]


def score(maps: NDArray[np.float32], masks: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Means of J, boundary F and mean absolute error, without the first and the last frame."""
    inner = range(1, len(maps) - 1) if len(maps) > 2 else range(len(maps))
    rows = []
    for i in inner:
        mask, truth = maps[i] >= 0.5, masks[i] > 127
        rows.append((jaccard(mask, truth), boundary_f(mask, truth), float(np.abs(maps[i] - truth).mean())))
    j, f, mae = np.mean(rows, axis=0)
    return float(j), float(f), float(mae)


def steadiness(maps: NDArray[np.float32], masks: NDArray[np.uint8]) -> tuple[float, float]:
    """Of pixels 5 from the object's rim: the share below 0.95, and of those that stay inside the share that jumps."""
    import cv2

    kernel = np.ones((11, 11), np.uint8)
    inside = np.stack([cv2.erode((m > 127).astype(np.uint8), kernel) > 0 for m in masks])
    below = float((maps[inside] < 0.95).mean()) if inside.any() else float("nan")
    both = inside[1:] & inside[:-1]
    jumps = np.abs(np.diff(maps, axis=0))[both]
    return below, float((jumps > 0.2).mean()) if len(jumps) else float("nan")


def large_objects(source: PairSource, count: int) -> Iterator[Clip]:
    """Made-up clips of 8 frames whose object covers 60 to 100 % of them."""
    rng, made = np.random.default_rng(7), 0
    while made < count:
        (image, mask), (behind, _) = (source.read(int(rng.integers(len(source.names))), 0) for _ in range(2))
        frames, masks = synthesis.independent_video(
            rng, image, mask, behind, 8, (256, 448), area=float(rng.uniform(0.6, 1.2))
        )
        masks = synthesis.binary(masks)
        if (masks > 0).mean(axis=(1, 2)).min() >= 0.6:
            made += 1
            yield frames, masks


def marked(run, videos: list[tuple[str, Clip]], count: int) -> float:
    """The share of burned-in pixels, off the object, that are taken for it."""
    rng, shares = np.random.default_rng(11), []
    for number in range(count):
        _, (frames, masks) = videos[number % len(videos)]
        start = int(rng.integers(max(1, len(frames) - 8)))
        frames, masks = frames[start : start + 8], masks[start : start + 8]
        pictures, _ = overlays.burn_in(rng, frames, masks)
        burned = (np.abs(pictures.astype(np.int16) - frames).max(axis=3) > 24) & (masks == 0)
        if burned.any():
            shares.append(float((run(pictures)[burned] >= 0.5).mean()))
    return float(np.mean(shares))


def summary(each: dict[str, tuple[float, float, float]]) -> dict[str, object]:
    j, f, mae = np.mean(list(each.values()), axis=0).round(4).tolist()
    return {"J": j, "F": f, "MAE": mae, "J of each": {name: round(s[0], 3) for name, s in each.items()}}


def tell(result: dict[str, object], *keys: str) -> None:
    for key in keys:
        print(f"{key}: {result[key]}", flush=True)


if __name__ == "__main__":
    main()
