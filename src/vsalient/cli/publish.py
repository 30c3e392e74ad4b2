"""`vsalient models publish DIR --repo USER/NAME`: put an exported model on the Hub, and say how others find it."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from vsalient import checkpoints
from vsalient.checkpoints import Upload, WeightsEntry
from vsalient.cli.shared.transfer import TransferProgress


@click.command("publish")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--repo", required=True, metavar="USER/NAME", help="The repository; made if it is not there.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--dry-run", is_flag=True, help="Say what would be uploaded, and the registry entry; ask no network.")
@click.option("--message", metavar="TEXT", help="Of the commit. [default: Publish and the model's name]")
@click.option("--endpoint", metavar="URL", help="Another server with the Hub's protocol. [default: HF_ENDPOINT]")
@click.option("--token", metavar="TOKEN", help="One that may write. [default: HF_TOKEN or a stored login]")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead.")
def publish_command(
    folder: Path,
    repo: str,
    private: bool,
    dry_run: bool,
    message: str | None,
    endpoint: str | None,
    token: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Upload the exported model in DIR to a repository of yours, and print its registry entry.

    DIR is what `vsalient train export` made: README.md, entry.toml and the weights are uploaded, in one commit, and
    nothing else of it. The printed registry names that commit and the file's hash; whoever saves it can say

    \b
    VSALIENT_WEIGHTS=registry.toml vsalient predict video.mp4 --model NAME
    """
    upload = checkpoints.plan_upload(folder, repo)
    if dry_run:
        _print_published(upload, upload.entry, as_json, dry_run=True)
        return
    if quiet or not sys.stderr.isatty():
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()
    with TransferProgress(quiet=quiet) as progress:
        entry = checkpoints.publish_model(
            upload, private=private, token=token, endpoint=endpoint, message=message, progress=progress
        )
        progress.say(f"{entry.repo} is at commit {entry.revision}")
    _print_published(upload, entry, as_json, dry_run=False)


def _print_published(upload: Upload, entry: WeightsEntry, as_json: bool, *, dry_run: bool) -> None:
    sizes = {path: file.stat().st_size for path, file in upload.files.items()}
    table: dict[str, Any] = entry.to_table()
    if as_json:
        if dry_run:
            table.pop("revision")
        files = [{"path": path, "size": size} for path, size in sizes.items()]
        told = {"dry_run": dry_run, "repo": upload.repo, "files": files, "entry": table}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    if dry_run:
        for path, size in sizes.items():
            click.echo(f"{size:>12,}  {path}", err=True)
        click.echo(
            f"would be uploaded to {upload.repo}; the zeros below stand for the commit that would make", err=True
        )
    click.echo("schema = 1\n\n" + checkpoints.registry_toml(entry), nl=False)
