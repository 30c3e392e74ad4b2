"""How sure the numbers are: bootstrap intervals over sequences, and a paired test between two sets of predictions.

Sequences are what a benchmark samples, so they are what is drawn again: a data set's number is computed from as many
sequences drawn with replacement, and the interval holds the middle 95 % of these numbers (Efron and Tibshirani, 1993,
percentile interval). Two sets of predictions are compared on the sequences that both have, by the differences of each
sequence's number: the sign of every difference is flipped at random (all ways where these are few), and p is the share
of ways whose mean is as far from 0 as the real one (Fisher's randomisation test, two-sided).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics import SequenceScores, combine

_DRAWS = 1000
_FLIPS = 20_000
_ALL_WAYS = 14
"""Up to this many sequences, every way to flip signs is tried."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of a number over bootstrap draws of sequences."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A number of the second set of predictions less that of the first, as a mean over common sequences.

    Attributes:
        mean: of the differences.
        p: two-sided, NaN without a sequence that both define.
        sequences: how many.
    """

    mean: float
    p: float
    sequences: int


Spread = list[tuple[dict[str, Interval], dict[str, Difference]]]
"""For each set of predictions its intervals, and its differences to the first set (none for that one)."""


def intervals(sequences: Sequence[SequenceScores], *, seed: int = 0) -> dict[str, Interval]:
    """The interval of every number of a data set; NaN where a draw leaves it undefined throughout."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(_DRAWS):
        some = combine([sequences[i] for i in rng.integers(len(sequences), size=len(sequences))])
        for name, value in some.results.items():
            drawn.setdefault(name, []).append(value)
    found = {}
    for name, values in drawn.items():
        defined = np.array(values)[np.isfinite(values)]
        low, high = np.quantile(defined, (0.025, 0.975)) if defined.size else (np.nan, np.nan)
        found[name] = Interval(float(low), float(high))
    return found


def compare(
    first: Sequence[SequenceScores], second: Sequence[SequenceScores], *, seed: int = 0
) -> dict[str, Difference]:
    """The paired test of every number that a sequence has by itself."""
    ours = {scores.name: scores.results() for scores in first}
    theirs = {scores.name: scores.results() for scores in second}
    common = [name for name in ours if name in theirs]
    numbers = list(ours[common[0]]) if common else []
    return {
        number: _paired(np.array([theirs[name][number] - ours[name][number] for name in common]), seed)
        for number in numbers
    }


def _paired(differences: NDArray[np.float64], seed: int) -> Difference:
    known = differences[np.isfinite(differences)]
    if not known.size:
        return Difference(float("nan"), float("nan"), 0)
    if known.size <= _ALL_WAYS:
        bits = np.arange(2**known.size)[:, None] >> np.arange(known.size) & 1
        means = (1 - 2 * bits) @ known / known.size
        ways, exact = len(means), 0
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), (_FLIPS, known.size))
        means = signs @ known / known.size
        # The real way is one of the ways, so that p is never 0.
        ways, exact = _FLIPS + 1, 1
    mean = float(known.mean())
    as_far = int((np.abs(means) >= abs(mean) - 1e-12).sum()) + exact
    return Difference(mean, as_far / ways, int(known.size))
