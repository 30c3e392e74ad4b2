"""Many manifests summed: what is done, what failed, what was broken off, what was done twice, and what is missing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vsalient.scale.manifest import Entry, Manifest, read_manifest

BETTER = {"done": 3, "partial": 2, "failed": 1, "interrupted": 0}
"""Of several records of one input the best counts."""


@dataclass
class Summary:
    """What manifests say together.

    Attributes:
        manifests: how many there were.
        states: state -> inputs.
        failed: input -> its error.
        interrupted: begun, never ended.
        missing: expected inputs that no manifest speaks of.
        twice: inputs that more than one run has done, with the count.
        shares: shares that are missing, such as "5/64".
        settings: fingerprints, when there are several.
        torn: manifests whose last line was cut off.
        frames: of all that was done.
        seconds: of work, all workers together.
    """

    manifests: int = 0
    states: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    twice: dict[str, int] = field(default_factory=dict)
    shares: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every input that is known of is done."""
        return not (self.failed or self.interrupted or self.missing or self.shares or self.states["partial"])

    def figures(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "manifests": self.manifests,
            "inputs": sum(self.states.values()),
            "states": dict(sorted(self.states.items())),
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "failed": self.failed,
            "interrupted": self.interrupted,
            "missing": self.missing,
            "done_twice": self.twice,
            "missing_shares": self.shares,
            "settings": self.settings,
            "torn": self.torn,
            "complete": self.complete,
        }


def merge(paths: Sequence[Path], expected: Iterable[str] = ()) -> tuple[Summary, list[dict[str, Any]]]:
    """Read manifests and sum them.

    Args:
        paths: the files.
        expected: inputs that should be done, as the runs named them.

    Returns:
        The sum, and the records of a manifest that says the same: the runs, then the best end of every input.

    Raises:
        DataError: a file is no manifest.
    """
    summary = Summary(manifests=len(paths))
    runs: list[dict[str, Any]] = []
    best: dict[str, Entry] = {}
    done: Counter[str] = Counter()
    for path in paths:
        manifest = read_manifest(path)
        runs += manifest.runs
        if manifest.torn:
            summary.torn.append(str(path))
        _take(manifest, best, done)
    summary.settings = sorted({str(run.get("settings")) for run in runs})
    summary.shares = _missing_shares(runs)
    summary.twice = {name: count for name, count in sorted(done.items()) if count > 1}
    for name, entry in sorted(best.items()):
        summary.states[entry.state] += 1
        if entry.state == "interrupted":
            summary.interrupted.append(name)
        elif entry.end is not None:
            if entry.state == "failed":
                summary.failed[name] = str(entry.end.get("error"))
            else:
                summary.frames += int(entry.end.get("frames", 0))
            summary.seconds += float(entry.end.get("seconds", 0.0))
    summary.missing = [name for name in dict.fromkeys(expected) if name not in best]
    records = runs + [entry.end for _, entry in sorted(best.items()) if entry.end is not None]
    return summary, records


def _take(manifest: Manifest, best: dict[str, Entry], done: Counter[str]) -> None:
    for name, entry in manifest.entries.items():
        done[name] += entry.state == "done"
        known = best.get(name)
        if known is None or BETTER.get(entry.state, 1) > BETTER.get(known.state, 1):
            best[name] = entry


def _missing_shares(runs: Iterable[dict[str, Any]]) -> list[str]:
    seen: dict[int, set[int]] = defaultdict(set)
    for run in runs:
        index, slash, count = str(run.get("share") or "").partition("/")
        if slash and index.isdigit() and count.isdigit():
            seen[int(count)].add(int(index))
    return [
        f"{index}/{count}" for count, have in sorted(seen.items()) for index in range(1, count + 1) if index not in have
    ]
