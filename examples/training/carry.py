"""Carry a run where only small files travel: cut its checkpoint into pieces, and put them together again elsewhere.

python examples/training/carry.py split runs/scnn-s pieces --mib 15
python examples/training/carry.py join pieces runs/scnn-s

The pieces are one compressed archive of last.ckpt, best.pt, the logs and run.json; their names hold its SHA-256. Then
the same `vsalient train` command goes on from there.
"""

import argparse
import hashlib
import io
import sys
import tarfile
from pathlib import Path

FILES = ("last.ckpt", "best.pt", "log.csv", "metrics.jsonl", "run.json")


def split(run: Path, pieces: Path, size: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=1) as archive:
        for name in FILES:
            if (run / name).is_file():
                archive.add(run / name, name)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:16]
    pieces.mkdir(parents=True, exist_ok=True)
    count = -(-len(content) // size)
    for number in range(count):
        part = content[number * size : (number + 1) * size]
        (pieces / f"run-{digest}-{number:02d}-of-{count:02d}").write_bytes(part)
    print(f"{count} pieces, {len(content) / 2**20:.1f} MiB")


def join(pieces: Path, run: Path) -> None:
    parts = sorted(pieces.glob("run-*-of-*"))
    if not parts or len({part.name.split("-")[1] for part in parts}) != 1:
        sys.exit(f"{pieces}: the pieces of one run are expected, found {len(parts)} files of none or several")
    content = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(content).hexdigest()[:16] != parts[0].name.split("-")[1]:
        sys.exit(f"{pieces}: {len(parts)} of {int(parts[0].name[-2:])} pieces, or one is damaged; copy them again")
    run.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(run, filter="data")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    cut = verbs.add_parser("split")
    cut.add_argument("run", type=Path)
    cut.add_argument("pieces", type=Path)
    cut.add_argument("--mib", type=float, default=15.0)
    glue = verbs.add_parser("join")
    glue.add_argument("pieces", type=Path)
    glue.add_argument("run", type=Path)
    options = parser.parse_args()
    if options.verb == "split":
        split(options.run, options.pieces, int(options.mib * 2**20))
    else:
        join(options.pieces, options.run)


if __name__ == "__main__":
    main()
