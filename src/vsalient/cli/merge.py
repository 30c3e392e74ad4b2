"""`vsalient merge`: many manifests summed, with what is missing."""

import json
from pathlib import Path

import click

from vsalient.cli.shared.inputs import find_inputs
from vsalient.errors import DataError
from vsalient.files import write_whole

MERGE_EXAMPLES = """\b
Examples:
  vsalient merge run-*.jsonl
      how many inputs are done, what failed, what was broken off, and which shares are missing
  vsalient merge run-*.jsonl --inputs videos/ -o all.jsonl
      also which of these inputs no manifest speaks of; and one manifest in place of many
"""
SHOWN = 20


@click.command(
    epilog=MERGE_EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...", type=click.Path(path_type=Path))
@click.option("--inputs", multiple=True, metavar="INPUT", help="What should be done: as given to predict or segment.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the sum as one manifest.")
@click.option("--overwrite", is_flag=True, help="Replace that file if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the sum as JSON.")
def command(
    manifests: tuple[Path, ...], inputs: tuple[str, ...], output: Path | None, overwrite: bool, as_json: bool
) -> int:
    """Sum the manifests of several workers or runs, and say what is missing. The exit code is 1 if anything is."""
    from vsalient.scale.merge import merge

    if missing := [path for path in manifests if not path.is_file()]:
        raise DataError(f"{missing[0]} is no file: give manifests that predict or segment wrote")
    expected, _ = find_inputs(inputs, keep_going=False) if inputs else ([], [])
    summary, records = merge(manifests, map(str, expected))
    if output is not None:
        text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        write_whole(output, text, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(summary.figures(), indent=2))
        return int(not summary.complete)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(summary.states.items()))
    total = sum(summary.states.values())
    click.echo(f"{total} inputs in {summary.manifests} manifests: {counts or 'none'}")
    click.echo(f"{summary.frames} frames in {summary.seconds:.0f} s of work")
    for title, names in (
        ("failed", [f"{name}: {error}" for name, error in summary.failed.items()]),
        ("interrupted", summary.interrupted),
        ("missing", summary.missing),
        ("missing shares", summary.shares),
        ("done more than once", [f"{name} ({count} times)" for name, count in summary.twice.items()]),
        ("cut-off last lines", summary.torn),
        ("several settings", summary.settings if len(summary.settings) > 1 else []),
    ):
        for name in names[:SHOWN]:
            click.echo(f"{title}: {name}")
        if len(names) > SHOWN:
            click.echo(f"{title}: {len(names) - SHOWN} more")
    return int(not summary.complete)
