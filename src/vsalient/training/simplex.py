"""The quadratic programme of SCNN's Eq. 8: least squares with weights that are not negative and sum to one."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vsalient.errors import OptionError

MAX_SOURCES = 12
"""All supports are tried, 2^n − 1 of them."""
_TIED = 1e-12


def solve_simplex(gram: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimise w·A·w − 2 b·w over w ≥ 0, Σw = 1, exactly.

    At the optimum some weights are 0 and the others solve a linear system (the equality-constrained problem on them).
    With few sources every choice of the others is tried, and the best feasible one is the optimum: no step size, no
    tolerance to tune. Of equally good answers the one with most sources is taken, so that equal sources share alike.

    Args:
        gram: A, (n, n), symmetric and positive semidefinite: mean products of the sources' maps.
        target: b, (n,): mean products of each source's map and the ground truth.

    Returns:
        w, (n,).

    Raises:
        OptionError: more than `MAX_SOURCES` sources.
    """
    count = len(target)
    if count > MAX_SOURCES:
        raise OptionError(f"{count} sources cannot be fused; give at most {MAX_SOURCES}")
    best, lowest = np.zeros(count), np.inf
    slack = _TIED * max(1.0, float(np.abs(gram).max()), float(np.abs(target).max()))
    for size in range(count, 0, -1):
        for support in combinations(range(count), size):
            weights = _on_support(gram, target, list(support))
            if weights.min() < -_TIED:
                continue
            weights = np.maximum(weights, 0)
            weights /= weights.sum()
            cost = float(weights @ gram @ weights - 2 * target @ weights)
            if cost < lowest - slack:
                best, lowest = weights, cost
    return best


def _on_support(gram: NDArray[np.float64], target: NDArray[np.float64], support: list[int]) -> NDArray[np.float64]:
    """The minimiser with Σw = 1 and zeros outside the support; signs are free."""
    size = len(support)
    system = np.ones((size + 1, size + 1))
    system[:size, :size] = gram[np.ix_(support, support)]
    system[size, size] = 0
    answer = np.linalg.lstsq(system, np.append(target[support], 1.0), rcond=None)[0]
    weights = np.zeros(len(target))
    weights[support] = answer[:size]
    return weights
