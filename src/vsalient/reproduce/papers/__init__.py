"""The rows, a module a paper. Numbers are the papers' own; everything else about a row is what we run for it."""

from collections.abc import Mapping

from vsalient.errors import OptionError
from vsalient.reproduce.experiment import Experiment, slug
from vsalient.reproduce.papers import conv3dnet, dsrfcn3d, scnn, seg3dc, stan

PAPERS: Mapping[str, tuple[Experiment, ...]] = {
    "dsrfcn3d": dsrfcn3d.ROWS,
    "conv3dnet": conv3dnet.ROWS,
    "3dc-seg": seg3dc.ROWS,
    "scnn": scnn.ROWS,
    "stan": stan.ROWS,
}


def choose_rows(paper: str, places: tuple[str, ...] = (), rows: tuple[str, ...] = ()) -> list[Experiment]:
    """The rows of a paper that are meant.

    Args:
        paper: a key of `PAPERS`.
        places: such as "table-2" or "fig-7", which takes 7a, 7b and 7c; all where empty.
        rows: keys, or what comes behind the slash; all where empty.

    Raises:
        OptionError: nothing of that name.
    """
    found = list(PAPERS[paper])
    homes = list(dict.fromkeys(slug(one.place) for one in found))
    chosen: set[str] = set()
    for place in places:
        wanted = slug(place)
        # "fig-7" takes fig-7a; "table-i" does not take table-ii.
        some = [home for home in homes if home == wanted or (home[:-1] == wanted and wanted[-1].isdigit())]
        some = [home for home in some if home == wanted or home[-1].isalpha()]
        if not some:
            raise OptionError(f"{paper} has no row of {place}; choose from {', '.join(homes)}")
        chosen |= set(some)
    found = [one for one in found if not places or slug(one.place) in chosen]
    for row in rows:
        if not any(row in (one.key, one.key.partition("/")[2]) for one in found):
            raise OptionError(f"{paper} has no row {row!r} there; choose from {', '.join(one.key for one in found)}")
    return [one for one in found if not rows or {one.key, one.key.partition("/")[2]} & set(rows)]
