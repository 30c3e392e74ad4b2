"""A corpus of damaged films, made of a dozen valid ones: cuts, flipped bits, zeroed ranges, swapped and repeated parts.

`python tests/hostile.py FOLDER [PER_FILM] [--command]` makes it, reads and rewrites every file of it, or gives them to
`vsalient predict`, and says how they ended.
"""

import contextlib
import json
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from media_files import blob, ramp, write_video

FILMS = (
    ("a.mp4", "libx264", "aac", {}),
    ("fast.mp4", "libx264", "aac", {"movflags": "faststart"}),
    ("frag.mp4", "libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    ("hevc.mp4", "libx265", "aac", {"movflags": "faststart"}),
    ("a.mov", "prores_ks", "pcm_s16le", {}),
    ("a.mkv", "libx264", "libopus", {}),
    ("ffv1.mkv", "ffv1", "flac", {}),
    ("a.webm", "libvpx-vp9", "libopus", {}),
    ("a.avi", "mpeg4", "mp2", {}),
    ("a.ts", "mpeg2video", "mp2", {}),
    ("a.mpg", "mpeg1video", "mp2", {}),
    ("a.flv", "flv1", "aac", {}),
    ("a.wmv", "wmv2", "mp2", {}),
    ("a.nut", "mjpeg", "aac", {}),
)
_PIXELS = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p", "ffv1": "bgr0"}
PATIENCE = 60.0
"""Seconds after which a file counts as hanging."""


def valid_films(folder: Path) -> list[Path]:
    """Write the films that the corpus is made of."""
    pictures = [ramp(i % 20) for i in range(30)]
    return [
        write_video(
            folder / name,
            pictures,
            codec=codec,
            pixel_format=_PIXELS.get(codec, "yuv420p"),
            options={"g": "10", "x265-params": "log-level=none"},
            audio_seconds=1.2,
            audio_codec=sound,
            container_options=options,
        )
        for name, codec, sound, options in FILMS
    ]


def damaged(data: bytes, number: int, random: np.random.Generator) -> bytes:
    """One of eight kinds of damage, by `number`."""
    content = bytearray(data)
    size = len(content)

    def span(longest: int) -> tuple[int, int]:
        begin = int(random.integers(0, size))
        return begin, min(size, begin + int(random.integers(1, longest)))

    match number % 8:
        case 0:  # cut short
            del content[int(random.integers(1, size)) :]
        case 1:  # flipped bits anywhere
            for at in random.integers(0, size, int(random.integers(1, 40))):
                content[at] ^= 1 << int(random.integers(0, 8))
        case 2:  # flipped bits in the header
            for at in random.integers(0, min(size, 400), int(random.integers(1, 12))):
                content[at] ^= 1 << int(random.integers(0, 8))
        case 3:  # a zeroed range
            begin, end = span(max(2, size // 4))
            content[begin:end] = bytes(end - begin)
        case 4:  # two parts change places
            first, second = sorted(int(at) for at in random.integers(0, size, 2))
            length = min(int(random.integers(1, max(2, size // 8))), second - first, size - second)
            a, b = content[first : first + length], content[second : second + length]
            content[first : first + length], content[second : second + length] = b, a
        case 5:  # a part is missing
            begin, end = span(max(2, size // 8))
            del content[begin:end]
        case 6:  # a part comes twice
            begin, end = span(max(2, size // 4))
            content[end:end] = content[begin:end]
        case _:  # noise
            begin, end = span(max(2, size // 8))
            content[begin:end] = random.bytes(end - begin)
    return bytes(content)


def make_corpus(folder: Path, per_film: int) -> list[Path]:
    """Write `per_film` damaged copies of every film; the same ones every time."""
    valid = folder / "valid"
    valid.mkdir(parents=True, exist_ok=True)
    made = []
    for place, film in enumerate(valid_films(valid)):
        data = film.read_bytes()
        for number in range(per_film):
            random = np.random.default_rng([place, number])
            made.append(folder / f"{film.stem}-{number:02d}{film.suffix}")
            made[-1].write_bytes(damaged(data, number, random))
    return made


@dataclass(frozen=True)
class Ending:
    """How one file ended: "whole", "damaged" (and it was said), "refused" (in one line), or what must not be."""

    path: Path
    state: str
    text: str = ""


def endings(files: list[Path], scratch: Path) -> Iterator[Ending]:
    """Read each file to its end and write it anew, in a process that is replaced where it dies or hangs."""
    scratch.mkdir(parents=True, exist_ok=True)
    left = list(files)
    while left:
        words = [sys.executable, __file__, "--work", str(scratch), *map(str, left)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            assert child.stdout is not None
            while left:
                ready, _, _ = select.select([child.stdout], [], [], PATIENCE)
                line = child.stdout.readline() if ready else ""
                if not line:
                    child.kill()
                    yield Ending(left.pop(0), "died" if ready else "hung", f"exit code {child.poll()}")
                    break
                yield Ending(left.pop(0), *json.loads(line))


def command_endings(files: list[Path], out: Path, at_once: int = 48) -> Iterator[Ending]:
    """Give each file to `vsalient predict`, so many to a process, and hold what it says against what it leaves."""
    for start in range(0, len(files), at_once):
        part = files[start : start + at_once]
        words = [
            sys.executable,
            "-m",
            "vsalient",
            "predict",
            *map(str, part),
            "--keep-going",
            "--json",
            "-w",
            "overlay",
        ]
        words += ["--device", "cpu", "--dtype", "float32", "-o", str(out / "{stem}.{suffix}.mkv")]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE * len(part), check=False)
            records = json.loads(done.stdout)["inputs"]
        except subprocess.TimeoutExpired:
            yield from (Ending(path, "hung") for path in part)
            continue
        except ValueError:
            yield from (Ending(path, "died", f"exit code {done.returncode}: {done.stderr[-500:]}") for path in part)
            continue
        for path, record in zip(part, records, strict=True):
            error, place = record["error"] or "", Path(record["outputs"].get("overlay", out / "none"))
            state = {"done": "whole", "partial": "damaged", "failed": "refused"}.get(record["state"], record["state"])
            if "\n" in error or "Traceback" in done.stderr:
                state = "several lines"
            elif (state == "refused") == place.exists():
                state = "leftovers"
            yield Ending(path, state, error)
    kept = {f"{path.stem}.{path.suffix[1:]}.mkv" for path in files}
    for other in sorted(p for p in out.iterdir() if p.name not in kept) if out.exists() else ():
        yield Ending(other, "leftovers")


def _work(path: Path, scratch: Path) -> tuple[str, str]:
    from vsalient.errors import VsalientError
    from vsalient.media import open_source
    from vsalient.outputs import open_output
    from vsalient.types import Result

    output = scratch / "o.mkv"
    try:
        with open_source(path) as source:
            info = source.info
            if info.width * info.height > 4_000_000:
                return "refused", "a size that the damage made"
            with open_output("overlay", output, info, source=path) as out:
                for frame in source:
                    out.write(Result(frame, blob(info.width, info.height)))
            state = "damaged" if source.corrupt_frames or source.cut_short else "whole"
        output.unlink()
    except VsalientError as error:
        state = "refused" if "\n" not in str(error) else "several lines"
        if list(scratch.iterdir()):
            state = "leftovers"
        return state, str(error)
    except Exception as error:
        return "traceback", repr(error)
    return ("leftovers" if list(scratch.iterdir()) else state), ""


def main() -> None:
    """Make the corpus and say how its files ended; or, as the child, do the work."""
    if sys.argv[1] == "--work":
        scratch = Path(sys.argv[2])
        for name in sys.argv[3:]:
            sys.stdout.write(json.dumps(_work(Path(name), scratch)) + "\n")
            sys.stdout.flush()
        return
    folder = Path(sys.argv[1])
    began = time.monotonic()
    counts = [int(word) for word in sys.argv[2:] if word.isdecimal()]
    files = make_corpus(folder, counts[0] if counts else 24)
    ways = command_endings if "--command" in sys.argv else endings
    found = list(ways(files, folder / "scratch"))
    with contextlib.suppress(BrokenPipeError):
        for ending in found:
            if ending.state not in ("whole", "damaged", "refused"):
                sys.stdout.write(f"{ending.path}: {ending.state}: {ending.text}\n")
        counts = Counter(ending.state for ending in found)
        sys.stdout.write(f"{len(found)} files in {time.monotonic() - began:.0f} s: {dict(counts)}\n")


if __name__ == "__main__":
    main()
