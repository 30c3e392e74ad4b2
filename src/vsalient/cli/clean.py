"""`vsalient clean`: remove what killed runs left behind."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click

from vsalient.errors import InputError
from vsalient.sweeping import CLAIMS, FOREIGN_AGE, Leftover, kept_runs, remove_claims, sweep


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("folders", nargs=-1, metavar="[FOLDER...]", type=click.Path(path_type=Path))
@click.option("-r", "--recursive", is_flag=True, help="Folders below them too.")
@click.option(
    "--runs", is_flag=True, help="Also what unfinished long films keep to go on from, of owners that are gone."
)
@click.option("--claims", is_flag=True, help="Also the records of --claim, where nobody is at work any more.")
@click.option(
    "--age",
    type=click.FloatRange(min=0),
    default=FOREIGN_AGE / 3600,
    show_default=True,
    metavar="HOURS",
    help="How long what another machine left must not have changed.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
def command(
    folders: tuple[Path, ...], recursive: bool, runs: bool, claims: bool, age: float, dry_run: bool, as_json: bool
) -> int:
    """Remove half-written files of runs that were killed.

    FOLDER is where outputs go; the current folder when none is given. Only what vsalient staged, what belongs to you
    and whose process is gone is removed. Every run sweeps its own output folders by itself; this does so by hand.
    """
    wanted = [folder for given in folders or (Path(),) for folder in _leftovers_below(given, recursive)]
    found = sweep(wanted, foreign_age=age * 3600, dry_run=dry_run)
    if runs:
        found += kept_runs(wanted, foreign_age=age * 3600, dry_run=dry_run)
    if claims:
        found += remove_claims(wanted, dry_run=dry_run)
    total = sum(leftover.size for leftover in found)
    if as_json:
        items = [{"path": str(leftover.path), "bytes": leftover.size} for leftover in found]
        click.echo(json.dumps({"removed": items, "bytes": total, "dry_run": dry_run}, indent=2))
        return 0
    for leftover in found:
        click.echo(_shown(leftover))
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{len(found)} leftovers {verb}, {total / 1e6:.1f} MB" if found else "Nothing to remove.")
    return 0


def _shown(leftover: Leftover) -> str:
    return str(leftover.path)


def _leftovers_below(folder: Path, recursive: bool) -> Iterator[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the folders that outputs went to")
    if not recursive:
        yield folder
        return
    for place, inner, _ in os.walk(folder):
        inner[:] = [name for name in inner if ".vsalient-" not in name and name != CLAIMS]
        yield Path(place)
