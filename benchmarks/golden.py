"""Outputs of one version to hold beside those of another: every kind of `predict` and `segment` on the demo clip.

Two versions, made side by side on one machine, must agree: pictures and tables byte for byte, videos by their decoded
planes, times and sound packets. `PYTHONPATH` chooses the version:

    PYTHONPATH=OLD/src python benchmarks/golden.py make old/
    PYTHONPATH=NEW/src python benchmarks/golden.py make new/
    python benchmarks/golden.py compare old/ new/

Maps are made once, in exact float32; `segment` then works on maps that the first version wrote (`--maps-of old/`), so
that a difference names the side it comes from.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

DEMO = Path(__file__).resolve().parents[1] / "examples" / "demo" / "cup.mp4"
FRAMES = 20
MODEL = ("--exact", "--device", "cpu")
KINDS = "video,mask-video,overlay,heatmap,alpha,foreground,maps,masks"
SEGMENTED = "masks,mask-video,contours,cutout,alpha,coco,csv,json"
PREDICTIONS = {
    "default": ("-w", KINDS, *MODEL),
    "formats": ("-w", "video,alpha,masks,foreground,overlay", "--lossless", "--alpha-format", "prores", "--mask-style",
                "palette", "--threshold", "otsu", "--background-color", "white", "--no-audio", *MODEL),
    "part": ("-w", "overlay,maps,mask-video", "--start", "0.2", "--end", "0.5", "--threshold", "0.5", *MODEL),
    "half": ("-w", "masks", "--dtype", "float32", "--clip-length", "4", "--overlap", "2", "--device", "cpu"),
}  # fmt: skip
SEGMENTATIONS = {
    "adaptive": ("-w", SEGMENTED),
    "clip": ("-w", "masks,csv", "--threshold-scope", "clip", "--clip-length", "4"),
    "instances": ("-w", "masks,coco,csv,json", "--instances", "--threshold", "fixed:0.5"),
    "clean": ("-w", SEGMENTED, "--threshold", "otsu", "--median", "3", "--min-area", "0.1%", "--fill-holes",
              "--largest", "1", "--mask-style", "palette"),
    "hysteresis": ("-w", "masks,contours,json", "--threshold", "hysteresis:0.3,0.7", "--no-audio"),
    "crf": ("-w", "masks,csv", "--refine", "crf"),
    "boundary": ("-w", "masks,cutout", "--refine", "boundary"),
    "max-f": ("-w", "masks", "--threshold", "max-f:truth"),
}  # fmt: skip


def make_clip(path: Path) -> None:
    """The demo clip's first frames with a tone beside them."""
    with av.open(str(DEMO)) as source, av.open(str(path), "w") as target:
        video = source.streams.video[0]
        picture = target.add_stream_from_template(video)
        sound = target.add_stream("aac", rate=48000, layout="mono")
        for packet in list(source.demux(video))[:FRAMES]:
            packet.stream = picture
            target.mux(packet)
        tone = (np.sin(np.arange(48000) * 0.06) * 0.2).astype(np.float32)[None]
        for start in range(0, 38400, 1024):
            frame = av.AudioFrame.from_ndarray(tone[:, start : start + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            target.mux(sound.encode(frame))
        target.mux(sound.encode(None))


def run(folder: Path, name: str, *arguments: str) -> None:
    """One command in `folder`, on one thread: several would add in whatever order, and a map differ in its last bit."""
    command = [sys.executable, "-m", "vsalient", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{name}: {' '.join(arguments)}\n{done.stderr}")
    (folder / f"{name}.paths").write_text("".join(sorted(done.stdout.splitlines(keepends=True))))
    print(name)


def make(folder: Path, maps_of: Path | None) -> None:
    """All outputs in a folder that must not exist."""
    folder.mkdir(parents=True)
    make_clip(folder / "cup.mp4")
    for name, options in PREDICTIONS.items():
        run(folder, f"predict-{name}", "predict", "cup.mp4", "-o", f"predict-{name}/", "-q", *options)
    maps = "predict-default/cup_maps"
    shutil.copytree((maps_of or folder) / maps, folder / "maps")
    shutil.copytree((maps_of or folder) / "predict-default/cup_masks", folder / "truth")
    for name, options in SEGMENTATIONS.items():
        arguments = ("segment", "cup.mp4", "--maps", "maps", "-o", f"segment-{name}/", "-q", *options)
        run(folder, f"segment-{name}", *arguments)
    run(folder, "segment-model", "segment", "cup.mp4", "-o", "segment-model/", "-q", "-w", "masks,csv", *MODEL)
    run(folder, "segment-alone", "segment", "--maps", "maps", "-o", "segment-alone/", "-q", "-w", "masks,coco")


def facts(path: Path) -> list[object]:
    """Everything in a video file that is shown or heard, with its time."""
    found: list[object] = []
    with av.open(str(path)) as container:
        for stream in container.streams:
            context = stream.codec_context
            aspect = getattr(context, "sample_aspect_ratio", None) or 1
            found.append((stream.type, context.name, getattr(context, "pix_fmt", None), str(aspect), stream.time_base))
        for packet in container.demux():
            if packet.stream.type == "audio":
                found.append(("sound", packet.pts, hashlib.sha256(bytes(packet)).hexdigest()))
                continue
            for frame in packet.decode():
                planes = [hashlib.sha256(bytes(plane)).hexdigest() for plane in frame.planes]
                found.append(("picture", frame.pts, planes))
    return found


def compare(old: Path, new: Path) -> int:
    """Print what differs; the number of files that do."""
    names = {path.relative_to(root) for root in (old, new) for path in root.rglob("*") if path.is_file()}
    differ = 0
    for name in sorted(names):
        left, right = old / name, new / name
        if not left.exists() or not right.exists():
            problem = f"only in {old if left.exists() else new}"
        elif name.suffix in (".mp4", ".mkv", ".mov", ".webm"):
            problem = "" if facts(left) == facts(right) else "shown or heard otherwise"
        else:
            problem = "" if left.read_bytes() == right.read_bytes() else "other bytes"
        if problem:
            differ += 1
            print(f"{name}: {problem}")
    print(f"{len(names)} files, {differ} differ")
    return differ


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    making = verbs.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--maps-of", type=Path)
    comparing = verbs.add_parser("compare")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    chosen = parser.parse_args()
    if chosen.verb == "compare":
        sys.exit(min(compare(chosen.old, chosen.new), 1))
    make(chosen.folder.resolve(), None if chosen.maps_of is None else chosen.maps_of.resolve())
