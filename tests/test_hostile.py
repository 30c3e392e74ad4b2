"""Damaged films end right or in one clear line: nothing hangs, nothing stays behind.

`python tests/hostile.py FOLDER` tries the whole corpus, 24 of each film.
"""

from pathlib import Path

import pytest

from hostile import FILMS, endings, make_corpus


@pytest.mark.slow
def test_damaged_films_end_well(tmp_path: Path) -> None:
    files = make_corpus(tmp_path / "corpus", 8)
    assert len(files) == 8 * len(FILMS)
    found = list(endings(files, tmp_path / "scratch"))
    bad = [item for item in found if item.state not in ("whole", "damaged", "refused")]
    assert not bad
    assert {"whole", "damaged", "refused"} <= {ending.state for ending in found}


def test_valid_films_are_whole(tmp_path: Path) -> None:
    make_corpus(tmp_path, 0)
    films = sorted((tmp_path / "valid").iterdir())
    assert [ending.state for ending in endings(films, tmp_path / "scratch")] == ["whole"] * len(FILMS)
