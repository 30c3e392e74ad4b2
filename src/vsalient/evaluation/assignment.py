"""The best pairing of rows and columns (Kuhn, 1955; Munkres, 1957), for the few objects of a sequence."""

import numpy as np
from numpy.typing import NDArray


def best_pairs(gain: NDArray[np.float64]) -> list[int]:
    """For each column of (rows, columns) a row of its own, so that the sum of gains is largest; rows >= columns.

    Shortest augmenting paths with potentials, one column after the other: O(columns² · rows).
    """
    rows, columns = gain.shape
    cost = -gain.T  # one worker a column, one job a row
    above, left = np.zeros(columns + 1), np.zeros(rows + 1)
    owner = np.zeros(rows + 1, int)  # job -> worker, 1-based; 0 is nobody
    for worker in range(1, columns + 1):
        owner[0] = worker
        job = 0
        least = np.full(rows + 1, np.inf)
        came = np.zeros(rows + 1, int)
        done = np.zeros(rows + 1, bool)
        while True:
            done[job] = True
            at = owner[job]
            slack = cost[at - 1] - above[at] - left[1:]
            better = ~done[1:] & (slack < least[1:])
            least[1:][better] = slack[better]
            came[1:][better] = job
            free = np.where(done[1:], np.inf, least[1:])
            following = int(free.argmin()) + 1
            delta = free[following - 1]
            above[owner[done]] += delta
            left[done] -= delta
            least[~done] -= delta
            job = following
            if owner[job] == 0:
                break
        while job:
            owner[job] = owner[came[job]]
            job = came[job]
    chosen = [0] * columns
    for job in range(1, rows + 1):
        if owner[job]:
            chosen[owner[job] - 1] = job - 1
    return chosen
