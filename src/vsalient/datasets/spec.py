"""How a training source is named in one argument: `[soft:]PATH[:SPLIT][=WEIGHT]`."""

from dataclasses import dataclass
from pathlib import Path

from vsalient.errors import OptionError

GRAMMAR = "[soft:]PATH[:SPLIT][=WEIGHT]"
_SOFT = "soft:"


@dataclass(frozen=True, slots=True)
class DataSpec:
    """One source of training pairs.

    Attributes:
        path: a tar shard or a data set's folder.
        soft: whether its masks are probabilities × 255, to be kept as they are.
        split: a part of the data set (`vsalient.datasets.splits`); None takes the training part.
        weight: how often it is drawn from, against others; 0 stands for its number of sequences.
    """

    path: Path
    soft: bool = False
    weight: float = 0.0
    split: str | None = None


def parse_spec(text: str) -> DataSpec:
    """Read `[soft:]PATH[:SPLIT][=WEIGHT]`; a path that exists just as it is typed is meant as it is.

    Raises:
        OptionError: a weight that is no number above 0, or no path.
    """
    rest, soft, weight = text, False, 0.0
    if rest.startswith(_SOFT) and not Path(rest).exists():
        rest, soft = rest.removeprefix(_SOFT), True
    head, sign, tail = rest.rpartition("=")
    if sign and not Path(rest).exists():
        try:
            rest, weight = head, float(tail)
        except ValueError:
            raise OptionError(f"{text}: write {GRAMMAR} with a number for the weight") from None
        if not 0 < weight < float("inf"):
            raise OptionError(f"{text}: the weight must be a number above 0")
    if not rest:
        raise OptionError(f"{text or 'an empty name'}: write {GRAMMAR}")
    split = None
    head, sign, tail = rest.rpartition(":")
    if sign and tail and not Path(rest).exists() and Path(head).exists():
        rest, split = head, tail
    return DataSpec(Path(rest), soft, weight, split)
