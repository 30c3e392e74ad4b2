"""The crop's way over a shot: as calm as can be while the object stays inside."""

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

CALM = 400.0
"""Weight of squared acceleration, in frames⁴: a camera that takes about half a second to get going."""
CENTRE_PULL = 0.002
"""Weight of the wish to have the object in the middle."""
_ROUNDS = 80
_FIRM = 0.3


def follow(low: Series, high: Series, middle: Series) -> Series:
    """The calmest series that stays between two others.

    Minimises CALM Σ (x'' )² + PULL Σ (x − middle)² subject to low ≤ x ≤ high, by the alternating direction method of
    multipliers (Boyd et al., 2011, §5): the quadratic part is one banded system, factored once.

    Args:
        low: (T,) least value of each frame.
        high: (T,) largest; where it is below `low`, their mean is aimed at.
        middle: (T,) value wished for.

    Returns:
        (T,): smooth throughout, within the bounds to a small part of a pixel wherever a smooth way exists.
    """
    centre = (low + high) / 2
    low, high = np.where(low > high, centre, low), np.where(low > high, centre, high)
    count = len(low)
    if count < 3:
        return np.clip(middle, low, high)
    solve = _Banded(count, CALM, CENTRE_PULL + _FIRM)
    x = solve(CENTRE_PULL * middle + _FIRM * np.clip(middle, low, high))
    dual = np.zeros(count)
    for _ in range(_ROUNDS):
        held = np.clip(x + dual, low, high)
        x = solve(CENTRE_PULL * middle + _FIRM * (held - dual))
        dual += x - held
    return x


class _Banded:
    """Solves (w DᵀD + v I) x = b for second differences D, by a Cholesky factor with two bands below its diagonal."""

    def __init__(self, count: int, acceleration: float, weight: float) -> None:
        main = np.full(count, 6.0)
        main[[0, -1]], first = 1.0, np.full(count - 1, -4.0)
        if count > 3:
            main[[1, -2]] = 5.0
            first[[0, -1]] = -2.0
        else:
            main[1], first[:] = 4.0, -2.0
        main, first = acceleration * main + weight, acceleration * first
        second = float(acceleration)
        self._d, self._e, self._f = [0.0] * count, [0.0] * count, [0.0] * count
        d, e, f = self._d, self._e, self._f
        for i in range(count):
            f[i] = second / d[i - 2] if i > 1 else 0.0
            e[i] = (float(first[i - 1]) - (f[i] * e[i - 1] * d[i - 2] if i > 1 else 0.0)) / d[i - 1] if i > 0 else 0.0
            d[i] = float(main[i]) - (e[i] ** 2 * d[i - 1] if i > 0 else 0.0) - (f[i] ** 2 * d[i - 2] if i > 1 else 0.0)

    def __call__(self, right: Series) -> Series:
        d, e, f = self._d, self._e, self._f
        values = right.tolist()
        count = len(values)
        for i in range(1, count):
            values[i] -= e[i] * values[i - 1] + (f[i] * values[i - 2] if i > 1 else 0.0)
        for i in range(count):
            values[i] /= d[i]
        for i in range(count - 2, -1, -1):
            values[i] -= e[i + 1] * values[i + 1] + (f[i + 2] * values[i + 2] if i + 2 < count else 0.0)
        return np.asarray(values)
