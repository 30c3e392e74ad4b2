"""Damaged films end right or in one clear line: nothing hangs, nothing stays behind.

`python tests/hostile.py FOLDER` tries the whole corpus, 24 of each film.
"""

from pathlib import Path

import pytest

from hostile import FILMS, command_endings, endings, make_corpus
from tiny_model import for_children, install


@pytest.mark.slow
def test_damaged_films_end_well(tmp_path: Path) -> None:
    files = make_corpus(tmp_path / "corpus", 8)
    assert len(files) == 8 * len(FILMS)
    found = list(endings(files, tmp_path / "scratch"))
    bad = [item for item in found if item.state not in ("whole", "damaged", "refused")]
    assert not bad
    assert {"whole", "damaged", "refused"} <= {ending.state for ending in found}


@pytest.mark.parametrize("per_film", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_the_command_ends_well_on_damaged_films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_film: int) -> None:
    install(monkeypatch, tmp_path / "home")
    for_children(monkeypatch)
    files = make_corpus(tmp_path / "corpus", per_film)
    found = list(command_endings(files, tmp_path / "out"))
    assert len(found) == per_film * len(FILMS)
    assert not [item for item in found if item.state not in ("whole", "damaged", "refused")]
    assert {"whole", "refused"} <= {ending.state for ending in found}


def test_valid_films_are_whole(tmp_path: Path) -> None:
    make_corpus(tmp_path, 0)
    films = sorted((tmp_path / "valid").iterdir())
    assert [ending.state for ending in endings(films, tmp_path / "scratch")] == ["whole"] * len(FILMS)
