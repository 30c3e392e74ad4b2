"""The root command and its verbs, each imported only when it is called."""

import importlib
from difflib import get_close_matches
from typing import Any

import click

VERBS = {
    "predict": ("vsalient.cli.predict", "Write saliency videos, maps and masks for videos or frame folders."),
    "segment": ("vsalient.cli.segment", "Turn videos or saliency maps into object masks."),
    "view": ("vsalient.cli.view", "Make one HTML file to go through a film and its maps."),
    "compare": ("vsalient.cli.compare", "The same for two models, or two sets of maps."),
    "reframe": ("vsalient.cli.reframe", "Cut a film to another shape, the window following the object."),
    "evaluate": ("vsalient.cli.evaluate", "Score predictions against ground truth."),
    "reproduce": ("vsalient.cli.reproduce", "Run a paper's experiments and print our numbers beside its."),
    "models": ("vsalient.cli.models", "List, inspect, fetch, verify, import, add and publish weights."),
    "train": ("vsalient.cli.train", "Train a network from a recipe."),
    "serve": ("vsalient.cli.serve", "Take videos over HTTP, with a page to drop them on."),
    "merge": ("vsalient.cli.merge", "Sum the manifests of many workers, and say what is missing."),
    "clean": ("vsalient.cli.clean", "Remove what killed runs left behind."),
    "benchmark": ("vsalient.cli.benchmark", "Time the models on this machine."),
    "doctor": ("vsalient.cli.doctor", "Say what this machine can do."),
    "completion": ("vsalient.cli.completion", "Let bash, zsh or fish complete verbs, options, models and kinds."),
    "help": ("vsalient.cli.help", "Show the help of a verb."),
}
"""Verb -> (module that defines a click command named `command`, one line for the root help)."""


class VerbGroup(click.Group):
    """A group whose verbs are imported on use, so that `--help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module; unknown names give None, and click suggests."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; what is no verb is told with the closest one. The user's own defaults come with it."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            close = get_close_matches(name, VERBS, 1, 0.5)
            hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(VERBS)}."
            raise click.UsageError(f"There is no verb '{name}': {hint}", ctx)
        found, command, rest = super().resolve_command(ctx, args)
        if found is not None and command is not None:
            from vsalient.cli.shared.defaults import defaults_of

            ctx.default_map = {found: defaults_of(found, command, VERBS)}
        return found, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="vsalient", message="%(prog)s %(version)s")
def root() -> None:
    """Find the object that stands out in every frame of any video.

    \b
    vsalient predict clip.mp4                     a saliency video beside you, no network needed
    vsalient predict clip.mp4 --model 3dc-seg     another network
    vsalient segment clip.mp4 --threshold adaptive
    vsalient models list
    """


def __getattr__(name: str) -> Any:
    # `main` imports this module, and is known to many by the name it has here.
    if name == "main":
        return importlib.import_module("vsalient.cli.start").main
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
