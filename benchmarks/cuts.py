"""Hard cuts found and false ones, on joined sequences, flashes, fades of exposure and fast pans made of a tar shard.

python benchmarks/cuts.py davis16-train-00.tar davis16-train-01.tar [--cuts 200]
"""

import argparse
import collections
import time
from pathlib import Path

import cv2
import numpy as np

from vsalient.cuts import CutFinder
from vsalient.training.sources import open_source

SHAPE = (108, 192)
LENGTH = 12


def small(pixels):
    return cv2.resize(pixels, SHAPE[::-1], interpolation=cv2.INTER_AREA)


def found(frames):
    finder = CutFinder()
    told = [cut for frame in frames for cut in finder.push(frame)] + finder.finish()
    return [index for index, cut in enumerate(told) if cut]


def mirrored(frames):
    return [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]


def zoomed(frames):
    height, width = (round(side * 0.7) for side in SHAPE)
    top, left = (SHAPE[0] - height) // 2, (SHAPE[1] - width) // 2
    return [cv2.resize(frame[top : top + height, left : left + width], SHAPE[::-1]) for frame in frames]


def panned(frame, step, count=LENGTH):
    """A camera that slides over a picture, or over it and its mirror images: `step` of the window's width a frame."""
    wide, window = frame, SHAPE[1] // 2
    if step * window * count > SHAPE[1] - window:
        wide = np.concatenate([frame, frame[:, ::-1]] * 2, axis=1)
    starts = [round(step * window * index) for index in range(count)]
    return [cv2.resize(wide[:, start : start + window], SHAPE[::-1]) for start in starts]


def joined(sequences, number, rng):
    """Two scenes and the name of what parts them; the second begins at LENGTH."""
    names = list(sequences)
    name, other = rng.choice(len(names), 2, replace=False)
    frames, others = sequences[names[name]], sequences[names[other]]
    first, later = frames[:LENGTH], frames[len(frames) // 2 :][:LENGTH]
    kind = ("unlike", "mirrored", "zoomed", "unlike, panned", "alike, panned")[number % 5]
    step, turn = rng.uniform(0.01, 0.08, 2)
    second = {
        "unlike": others[:LENGTH],
        "mirrored": mirrored(later),
        "zoomed": zoomed(later),
        "unlike, panned": panned(others[0], turn),
        "alike, panned": panned(np.ascontiguousarray(later[-1][:, ::-1]), turn),
    }[kind]
    return kind, f"{names[name]} + {names[other]}", (panned(first[0], step) if "panned" in kind else first) + second


def disturbed(sequences, rng):
    """Scenes without a cut, with the name of what happens in them."""
    names = list(sequences)
    for number in range(120):
        frames = [f.copy() for f in sequences[names[number % len(names)]][: 2 * LENGTH]]
        for index in range(8, 8 + int(rng.integers(1, 4))):
            frames[index] = (
                np.clip(frames[index] * 1.8 + 80, 0, 255).astype(np.uint8) if number % 2 else frames[index] // 16
            )
        yield ("flash", "black")[number % 2 == 0], frames
    for number in range(60):
        frames = sequences[names[number % len(names)]][: 2 * LENGTH]
        gains = np.linspace(*((0.3, 1.7) if number % 2 else (1.6, 0.2)), len(frames))
        yield "exposure", [np.clip(f * g, 0, 255).astype(np.uint8) for f, g in zip(frames, gains, strict=True)]
    for number in range(80):
        frame, step = sequences[names[number % len(names)]][0], rng.uniform(0.1, 0.37)
        moving = panned(frame, step, 16)
        yield "pan", [moving[0]] * (4 * (number % 4 == 0)) + moving


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the draws; the rule was partly made on 0")
    parser.add_argument("--whole", action="store_true", help="the sequences themselves too, all their frames")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    sequences, clock, shown = {}, time.process_time(), 0
    for shard in given.shards:
        source = open_source(Path(shard))
        for at, name in enumerate(source.names):
            length = source.length(at)
            if length > 2 * LENGTH:
                keep = length if given.whole else min(length, 5 * LENGTH)
                sequences[name] = [small(source.read(at, index)[0]) for index in range(keep)]
    print(f"{len(sequences)} sequences read in {time.process_time() - clock:.0f} s of CPU")
    rng, clock = np.random.default_rng(given.seed), time.process_time()
    made, good, false = collections.Counter(), collections.Counter(), collections.Counter()
    for number in range(given.cuts):
        kind, what, frames = joined(sequences, number, rng)
        cuts = found(frames)
        made[kind] += 1
        good[kind] += LENGTH in cuts
        false["joined"] += len(set(cuts) - {LENGTH})
        shown += len(frames)
        if cuts != [LENGTH]:
            print(f"  {kind}: {what}: {cuts}")
    print(f"found: {good.total()} of {made.total()} = {good.total() / made.total():.1%}", dict(good))
    for kind, frames in disturbed(sequences, rng):
        made[kind] += 1
        shown += len(frames)
        if cuts := found(frames):
            false[kind] += 1
            print(f"  false: {kind}: {cuts}")
    for name, frames in sequences.items():
        shown += len(frames)
        if cuts := found(frames):
            false["sequences"] += len(cuts)
            print(f"  false: {name}: {cuts}")
    print(f"false: {dict(+false)}; {(time.process_time() - clock) / shown * 1000:.1f} ms of CPU a frame")


if __name__ == "__main__":
    main()
