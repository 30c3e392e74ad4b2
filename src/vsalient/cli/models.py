"""`vsalient models`: list, inspect, fetch, verify, import, add, publish weights. Loads torch only to convert a file."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from vsalient import checkpoints
from vsalient.checkpoints import WeightsEntry
from vsalient.cli.models_export import export_command
from vsalient.cli.publish import publish_command
from vsalient.cli.shared import complete
from vsalient.cli.shared.plain import plain
from vsalient.cli.shared.transfer import TransferProgress
from vsalient.entry_points import offered
from vsalient.errors import OptionError, VsalientError, WeightsError
from vsalient.models import plugins

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, inspect, fetch, verify, import, add and publish weights.

    \b
    vsalient models list
    vsalient models info 3dc-seg
    vsalient models fetch 3dc-seg
    vsalient models import 3dc-seg bmvc_final.pth
    """


@command.command("list")
@_json
def list_(as_json: bool) -> None:
    """Show all models: whether they run here, how good and fast they are, how large, on what terms.

    J is on DAVIS 2016's validation set, in percent, held-out J ours on ten of its training sequences that the weights
    had not seen; frames/s were measured at 854x480 on two CPU cores; MB are the weights'. What runs comes first.
    `vsalient models info NAME` says more.
    """
    entries = sorted(checkpoints.registry().values(), key=lambda entry: not _runs(entry).startswith(("yes", "as ")))
    if as_json:
        _print_json([_in_words(entry) for entry in entries])
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("name", "runs"):
        table.add_column(title, no_wrap=True)
    for title in ("J", "held-out J", "frames/s", "MB"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("terms", overflow="fold")
    for entry in entries:
        table.add_row(
            plain(entry.name),
            _runs(entry),
            _jaccard(entry),
            f"{100 * entry.own_score.value:.1f}" if entry.own_score else "-",
            f"{entry.frames_per_second:g}" if entry.frames_per_second else "-",
            f"{size / 1e6:.1f}" if (size := _weights_size(entry)) is not None else "-",
            _short_terms(entry),
        )
    for name, point in offered(plugins.MODELS_GROUP).items():
        if name not in checkpoints.registry():
            package = point.dist.name if point.dist else "another package"
            table.add_row(name, "plug-in", "-", "-", "-", "-", f"see {package} ({point.value})")
    _print_rows(table)


@command.command()
@click.argument("name", shell_complete=complete.models)
@_json
def info(name: str, as_json: bool) -> None:
    """Show everything known of the model NAME: source, terms, paper, scores."""
    entry = checkpoints.find_entry(name, own_weights=True)
    if as_json:
        _print_json(_in_words(entry))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in _facts(entry):
        if value:
            table.add_row(label, value)
    _print_rows(table)


@command.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete.models)
@click.option("--force", is_flag=True, help="Fetch again what is here already.")
@click.option("--sha256", metavar="HASH", help="Demand this SHA-256 of the published file.")
@click.option("--offline", is_flag=True, help="Ask no network; fail when something is not here.")
@click.option("--revision", metavar="COMMIT", help="Another commit of the Hub repository (needs --sha256).")
@click.option("--endpoint", metavar="URL", help="A mirror of the Hub. [default: HF_ENDPOINT, then the Hub]")
@click.option("--token", metavar="TOKEN", help="For gated repositories. [default: HF_TOKEN or a stored login]")
@_quiet
@_json
def fetch_command(
    names: tuple[str, ...],
    force: bool,
    sha256: str | None,
    offline: bool,
    revision: str | None,
    endpoint: str | None,
    token: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Fetch the weights of the models NAME... and print where they are."""
    if len(names) > 1 and (sha256 or revision):
        raise OptionError("--sha256 and --revision speak of one file; fetch one model at a time")
    entries = [_at_revision(checkpoints.registry()[name], revision, sha256) for name in names]
    fetched, failed = [], False
    for entry in entries:
        try:
            with TransferProgress(quiet=quiet) as progress:
                path = checkpoints.resolve(
                    entry,
                    offline=offline,
                    sha256=sha256,
                    force=force,
                    endpoint=endpoint,
                    token=token,
                    progress=progress,
                )
        except VsalientError as error:
            if len(entries) == 1:
                raise
            click.echo(f"Error: {error}", err=True)
            failed = True
            continue
        fetched.append({"name": entry.name, "path": str(path), "sha256": checkpoints.sha256_of(path)})
        if not as_json:
            click.echo(str(path))
    if as_json:
        _print_json(fetched)
    return int(failed)


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.models)
@_json
def verify_command(names: tuple[str, ...], as_json: bool) -> int:
    """Check the hashes of the models NAME..., or of all whose weights are here."""
    registry = checkpoints.registry()
    verdicts = [checkpoints.verify(registry[name]) for name in names or registry]
    if not names:
        verdicts = [verdict for verdict in verdicts if verdict.path is not None]
    if as_json:
        _print_json(
            [
                {
                    "name": verdict.name,
                    "path": str(verdict.path) if verdict.path else None,
                    "expected": verdict.expected,
                    "actual": verdict.actual,
                    "good": verdict.good,
                }
                for verdict in verdicts
            ]
        )
    else:
        for verdict in verdicts:
            if verdict.path is None:
                click.echo(f"{verdict.name}: not here")
            elif verdict.good is None:
                click.echo(f"{verdict.name}: nothing to compare with, SHA-256 {verdict.actual}")
            elif verdict.good:
                click.echo(f"{verdict.name}: good, SHA-256 {verdict.actual}")
            else:
                click.echo(f"{verdict.name}: WRONG, SHA-256 {verdict.actual}, expected {verdict.expected}")
        if not verdicts:
            click.echo("no weights are here; fetch some with `vsalient models fetch NAME`", err=True)
    wrong = [verdict for verdict in verdicts if verdict.good is False]
    if wrong:
        names_of = ", ".join(verdict.name for verdict in wrong)
        click.echo(f"Error: damaged or changed: {names_of}; fetch again with --force", err=True)
    absent = bool(names) and any(verdict.path is None for verdict in verdicts)
    return int(bool(wrong) or absent)


@command.command()
@click.argument("name", shell_complete=complete.models)
def path(name: str) -> None:
    """Print where the weights of NAME lie on this machine; an error when they are not here."""
    entry = checkpoints.registry()[name]
    match checkpoints.status(entry):
        case "not published":
            raise WeightsError(f"the weights of '{name}' were never published: {entry.instead}")
        case "to fetch":
            raise WeightsError(f"the weights of '{name}' are not here; run `vsalient models fetch {name}`")
        case "missing":
            raise WeightsError(
                f"{checkpoints.location(entry)} is missing; install vsalient again or add the model again"
            )
    click.echo(str(checkpoints.location(entry)))


@command.command("import")
@click.argument("name", shell_complete=complete.models)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sha256", metavar="HASH", help="Demand this SHA-256 of FILE.")
@_json
def import_(name: str, file: Path, sha256: str | None, as_json: bool) -> None:
    """Turn FILE, an official checkpoint, into verified safetensors that --model NAME finds."""
    place = checkpoints.import_checkpoint(name, file, sha256=sha256)
    record = checkpoints.read_cached(name)
    assert record is not None
    if as_json:
        _print_json({"name": name, "path": str(place), "sha256": record.sha256, "source_sha256": record.source_sha256})
        return
    click.echo(str(place))
    click.echo(f"'{name}' now uses {file.name} (SHA-256 {record.source_sha256})", err=True)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a model that was added under this name before.")
@_json
def add(folder: Path, force: bool, as_json: bool) -> None:
    """Register the trained model in FOLDER (entry.toml and its weights) under its own name."""
    entry = checkpoints.add_model(folder, replace_existing=force)
    if as_json:
        _print_json(_in_words(entry))
        return
    click.echo(str(entry.file))
    click.echo(f"use it with --model {entry.name}", err=True)


command.add_command(publish_command)
command.add_command(export_command)


def _at_revision(entry: WeightsEntry, revision: str | None, sha256: str | None) -> WeightsEntry:
    """The entry at another commit, whose file has a hash of its own."""
    if revision is None or revision == entry.revision:
        return entry
    if entry.source != "hub":
        raise OptionError(f"'{entry.name}' does not come from the Hub; --revision has no meaning for it")
    if len(revision) != 40 or set(revision) - set("0123456789abcdef"):
        raise OptionError(f"'{revision}' is no commit; give its 40 hexadecimal digits (a branch can move)")
    if sha256 is None:
        raise OptionError("the registry knows no hash for another revision; give it with --sha256")
    return replace(entry, revision=revision, sha256=sha256.lower(), size=None)


def _in_words(entry: WeightsEntry) -> dict[str, Any]:
    """The entry with what is true of it on this machine, for JSON."""
    location = checkpoints.location(entry)
    status = checkpoints.status(entry)
    record = checkpoints.read_cached(entry.name) if status == "cached" and entry.source in ("url", "none") else None
    return {
        **entry.to_table(),
        "status": status,
        "path": str(location) if location and location.is_file() and status != "to fetch" else None,
        "registered_in": str(entry.registered_in),
        "pinned_sha256": record.source_sha256 if record else None,
    }


def _facts(entry: WeightsEntry) -> list[tuple[str, str]]:
    location = checkpoints.location(entry)
    status = checkpoints.status(entry)
    record = checkpoints.read_cached(entry.name)
    pinned = f"{record.source_sha256}, first seen {record.first_seen}" if record and status == "cached" else ""
    source = {
        "bundled": "inside the package",
        "hub": f"{entry.repo} at {entry.revision}, {entry.file}",
        "url": entry.url or "",
        "none": f"never published: {entry.instead}",
        "file": "added by you",
    }[entry.source]
    clips = f"{entry.clip_length} frames, {entry.overlap} shared with the next, tail {entry.tail}"
    scores = [
        f"{score.dataset}: {score.metric} {score.value:g}, by {score.by}" + (f" ({score.note})" if score.note else "")
        for score in entry.scores
    ]
    return [
        ("name", entry.name),
        ("", entry.summary),
        ("architecture", entry.architecture),
        ("arguments", ", ".join(f"{key} = {value}" for key, value in entry.config.items())),
        ("parameters", f"{entry.parameters:,}" if entry.parameters else ""),
        ("clips", clips),
        ("input", f"{entry.geometry}, padded to multiples of {entry.multiple}"),
        ("afterwards", entry.postprocess or ""),
        ("weights", status),
        ("path", str(location) if location and status not in ("to fetch", "missing") else ""),
        ("source", source),
        ("size", _bytes(_weights_size(entry)) if _weights_size(entry) else ""),
        ("SHA-256", entry.sha256 or ""),
        ("pinned", pinned),
        ("licence", entry.licence),
        ("trained on", entry.training_data),
        ("terms", entry.terms),
        ("paper", entry.paper),
        ("scores", "\n".join(scores)),
        ("notes", entry.notes),
        ("registered in", str(entry.registered_in)),
    ]


def _runs(entry: WeightsEntry) -> str:
    """Whether the model runs here, or the shortest way there."""
    match checkpoints.status(entry):
        case "not published":
            return f"as {entry.stand_in}" if entry.stand_in else "needs weights"
        case "missing":
            return "file is gone"
        case "to fetch":
            return "after a fetch"
    return "yes, own file" if entry.source == "file" else "yes"


def _jaccard(entry: WeightsEntry) -> str:
    """The highest J on DAVIS 2016 val, in percent."""
    values = [score.value for score in entry.scores if score.metric == "J" and score.dataset == "DAVIS-16 val"]
    return f"{max(value if value > 1 else 100 * value for value in values):.1f}" if values else "-"


def _short_terms(entry: WeightsEntry) -> str:
    """The terms in a word or two."""
    told = f"{entry.licence} {entry.terms}".lower()
    if "nc" in re.split(r"[^a-z]+", told) or "non-commercial" in told:
        return "non-commercial"
    if "research" in told:
        return "research"
    licence = entry.licence.split(",")[0].split(":")[0]
    return licence if len(licence) <= 16 else "see info"


def _weights_size(entry: WeightsEntry) -> int | None:
    """Bytes of the file that is here, else of the published one where that is known."""
    location = checkpoints.location(entry)
    if location is not None and location.is_file() and checkpoints.status(entry) != "to fetch":
        return location.stat().st_size
    return entry.size


def _bytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"


def _print_rows(table: Table) -> None:
    """Print on stdout; into a pipe as wide as it needs to be, so that nothing is cut or wrapped."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    text = io.StringIO()
    Console(file=text, highlight=False, width=1000).print(table)
    click.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
