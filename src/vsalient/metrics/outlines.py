"""Outlines of a mask as polygons, in the way of the DAVIS tool: its temporal stability T depends on every vertex.

Outlines run along the cracks between pixels. Points live on a grid of twice the mask's size: vertices (corners of
pixels) have even coordinates, the middles of cracks one odd and one even. Where four cracks meet in a vertex (a
*junction*: two pixels that touch by a corner) the tool turns rather than going straight on. It then simplifies each
outline twice within a tolerance that is measured on the doubled grid, keeps those of more than three points, and goes
on with the one of most points (Perazzi et al., CVPR 2016, section 4, and the released code).
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vsalient.metrics.arrays import Mask

Point = tuple[int, int]
"""(row, column) on the doubled grid."""
Piece = tuple[int, int, list[Point]]
"""The junctions it joins, and its cracks in order from the first to the second."""


def longest_outline(mask: Mask, tolerance: float) -> NDArray[np.float32] | None:
    """The outline of most vertices, closed: (n, 2) of (column, row) in pixels, the last point the first one again.

    Args:
        mask: (H, W).
        tolerance: of the simplification, in half pixels.

    Returns:
        None where no outline has more than three points.
    """
    best: NDArray[np.float64] | None = None
    for corners in _closed_curves(mask):
        hole = _is_hole(mask, corners)
        # First what is straight, then what is nearly so.
        line = _simplify(_simplify(np.array(corners, np.float64), 0.1), tolerance)
        following = np.roll(line, -1, axis=0)
        area = float(((following[:, 0] - line[:, 0]) * (following[:, 1] + line[:, 1])).sum())
        if (area > 0) == hole:
            line = line[::-1]
        if len(line) > 3 and (best is None or len(line) >= len(best)):
            best = line
    return None if best is None else np.ascontiguousarray(best[:, ::-1] / 2, np.float32)


def resample(outline: NDArray[np.float32], spacing: float) -> NDArray[np.float32]:
    """Points no further than `spacing` apart, in float32 as in the tool: rounding decides what bin a point is in."""
    points = [outline[0]]
    for start, end in pairwise(outline):
        step = end - start
        length = np.sqrt(step[0] * step[0] + step[1] * step[1])
        if length > spacing:
            parts = int(np.ceil(length / np.float32(spacing)))
            step = step / np.float32(parts)
            for _ in range(parts - 1):
                points.append(points[-1] + step)
        points.append(end)
    return np.array(points, np.float32)


def _closed_curves(mask: Mask) -> Iterator[list[Point]]:
    """The vertices of each outline, from its junction (or its topmost left one, downwards) around to it again."""
    cracks, junctions = _cracks(mask)
    pieces = _pieces(cracks, junctions)
    for start, middles in _loops(pieces, junctions):
        vertices = [junctions[start - 1]]
        for row, column in middles:
            at = vertices[-1]
            vertices.append((2 * row - at[0], 2 * column - at[1]))
        yield vertices


def _cracks(mask: Mask) -> tuple[set[Point], list[Point]]:
    """The middles of all cracks between object and rest, and the vertices in which four of them meet."""
    padded = np.pad(np.asarray(mask, np.bool_), 1)
    rows, columns = np.nonzero(padded[1:-1, :-1] ^ padded[1:-1, 1:])
    cracks = set(zip((2 * rows + 1).tolist(), (2 * columns).tolist(), strict=True))
    rows, columns = np.nonzero(padded[:-1, 1:-1] ^ padded[1:, 1:-1])
    cracks |= set(zip((2 * rows).tolist(), (2 * columns + 1).tolist(), strict=True))
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    rows, columns = np.nonzero((a == d) & (b == c) & (a != b))
    return cracks, list(zip((2 * rows).tolist(), (2 * columns).tolist(), strict=True))


def _pieces(cracks: set[Point], junctions: list[Point]) -> list[Piece]:
    """Runs of cracks from junction to junction; loops without any get one of their own, at their topmost left vertex.

    The order of the pieces decides how curves part in a junction, so it is the tool's: from the last junction to the
    first, and there upwards, to the left, downwards, to the right.
    """
    numbers = {place: number for number, place in enumerate(junctions, 1)}
    left = set(cracks)
    pieces: list[Piece] = []

    def follow(start: int, crack: Point) -> None:
        at, run = junctions[start - 1], []
        while True:
            left.discard(crack)
            run.append(crack)
            at = (2 * crack[0] - at[0], 2 * crack[1] - at[1])
            if at in numbers:
                pieces.append((start, numbers[at], run))
                return
            row, column = at
            around = ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1))
            crack = next(other for other in around if other in left)

    for number in range(len(junctions), 0, -1):
        row, column = junctions[number - 1]
        for crack in ((row - 1, column), (row, column - 1), (row + 1, column), (row, column + 1)):
            if crack in left:
                follow(number, crack)
    for crack in sorted(crack for crack in left if crack[0] % 2):
        if crack in left:
            junctions.append((crack[0] - 1, crack[1]))
            numbers[junctions[-1]] = len(junctions)
            follow(len(junctions), crack)
    return pieces


def _loops(pieces: list[Piece], junctions: list[Point]) -> Iterator[tuple[int, list[Point]]]:
    """Join pieces to closed curves that never cross themselves: (junction it starts in, its cracks)."""
    waiting: dict[int, set[int]] = {number: set() for number in range(1, len(junctions) + 1)}
    for index, (first, second, _) in enumerate(pieces):
        waiting[first].add(index)
        waiting[second].add(index)

    def take(index: int) -> None:
        for end in pieces[index][:2]:
            if end in waiting:
                waiting[end].discard(index)
                if not waiting[end]:
                    del waiting[end]

    while waiting:
        junction = max(waiting)
        piece = min(waiting[junction])
        path: list[tuple[int, int]] = []  # (junction, the piece taken from it)
        while True:
            take(piece)
            path.append((junction, piece))
            first, second, _ = pieces[piece]
            junction = second if junction == first else first
            places = [at for at, _ in path]
            if junction in places:
                begin = places.index(junction)
                yield junction, _joined(path[begin:], pieces)
                del path[begin:]
                if not path:
                    break
                piece = path[-1][1]
            piece = _turn(junction, piece, waiting, pieces)


def _turn(junction: int, piece: int, waiting: dict[int, set[int]], pieces: list[Piece]) -> int:
    """The next piece from a junction, the first one that is not straight ahead."""
    choices = sorted(waiting[junction])
    ahead, behind = _beside(pieces[choices[0]], junction), _beside(pieces[piece], junction)
    straight = ahead[0] == behind[0] or ahead[1] == behind[1]
    return choices[1] if straight and len(choices) > 1 else choices[0]


def _beside(piece: Piece, junction: int) -> Point:
    return piece[2][0] if piece[0] == junction else piece[2][-1]


def _joined(path: list[tuple[int, int]], pieces: list[Piece]) -> list[Point]:
    whole: list[Point] = []
    for junction, index in path:
        first, _, run = pieces[index]
        whole += run if first == junction else run[::-1]
    return whole


def _is_hole(mask: Mask, corners: list[Point]) -> bool:
    """Whether a curve has background inside: below and right of its topmost left vertex it is inside."""
    row, column = min(corners)
    return not mask[row // 2, column // 2]


def _simplify(line: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Douglas and Peucker's line within a tolerance, after points nearer than that to the last kept one are dropped."""
    if len(line) < 3:
        return line
    kept = [0]
    squared = tolerance * tolerance
    for index in range(1, len(line) - 1):
        step = line[index] - line[kept[-1]]
        if step[0] * step[0] + step[1] * step[1] >= squared:
            kept.append(index)
    line = line[[*kept, len(line) - 1]]
    keys = np.zeros(len(line), np.bool_)
    keys[[0, -1]] = True
    spans = [(0, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distance = _to_segment(line[first + 1 : last], line[first], line[last])
        # The last of the farthest ones, as in the tool.
        farthest = len(distance) - 1 - int(distance[::-1].argmax())
        if distance[farthest] > squared:
            middle = first + 1 + farthest
            keys[middle] = True
            spans += [(middle, last), (first, middle)]
    return line[keys]


def _to_segment(points: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances of (n, 2) points from a segment."""
    along, away = b - a, points - a
    reach = away[:, 0] * along[0] + away[:, 1] * along[1]
    length = along[0] * along[0] + along[1] * along[1]
    # Points of a staircase are often equally far, and rounding decides between them: the share is float32 in the tool.
    share = reach.astype(np.float32) / np.float32(length or 1.0)
    share = np.where(reach <= 0, 0.0, np.where(reach >= length, 1.0, share.astype(np.float64)))
    gap = points - (a + share[:, None] * along)
    squared: NDArray[np.float64] = gap[:, 0] * gap[:, 0] + gap[:, 1] * gap[:, 1]
    return squared
