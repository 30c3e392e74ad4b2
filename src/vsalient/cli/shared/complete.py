"""What a shell completes for options of names: models, kinds of output, recipes. Loads no torch."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from vsalient.errors import VsalientError


def models(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Registered names, with what they are; files too."""
    from vsalient.checkpoints import registry

    try:
        entries = registry()
    except VsalientError:  # it is told when the command is run
        return []
    items = [CompletionItem(name, help=entry.summary) for name, entry in entries.items() if name.startswith(incomplete)]
    return items or [CompletionItem(incomplete, type="file")]


def kinds(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds of output, joined by commas."""
    from vsalient.outputs.kinds import KINDS

    return _joined_words(KINDS, incomplete)


def recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recipes of the package, verbs of training, and files."""
    from importlib import resources

    home = resources.files("vsalient.training") / "recipes"
    names = sorted(entry.name.removesuffix(".toml") for entry in home.iterdir() if entry.name.endswith(".toml"))
    items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return items or [CompletionItem(incomplete, type="file")]


def _joined_words(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [CompletionItem(before + comma + name) for name in names if name.startswith(last) and name not in taken]
