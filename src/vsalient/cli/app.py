"""The root command, its lazy verbs and the one place where errors become exit codes."""

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import click

from vsalient.errors import VsalientError

VERBS = {
    "predict": ("vsalient.cli.predict", "Write saliency videos, maps and masks for videos or frame folders."),
    "segment": ("vsalient.cli.segment", "Turn videos or saliency maps into object masks."),
    "evaluate": ("vsalient.cli.evaluate", "Score predictions against ground truth."),
    "models": ("vsalient.cli.models", "List, inspect, fetch, verify, import, add and publish weights."),
    "train": ("vsalient.cli.train", "Train a network from a recipe."),
    "merge": ("vsalient.cli.merge", "Sum the manifests of many workers, and say what is missing."),
    "clean": ("vsalient.cli.clean", "Remove what killed runs left behind."),
    "doctor": ("vsalient.cli.doctor", "Say what this machine can do."),
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


def main(args: list[str] | None = None) -> Any:
    """Run the command line; expected failures end with one line on stderr and exit code 1.

    Usage errors exit with 2, Ctrl-C with 130, other signals to stop with 128 and their number. `VSALIENT_DEBUG=1`
    lets the traceback through.
    """
    try:
        with _stoppable() as received:
            code = root.main(args=args, prog_name="vsalient", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(128 + (received or [signal.SIGINT])[0])
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except VsalientError as error:
        if os.environ.get("VSALIENT_DEBUG"):
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our stdout went away (`vsalient models list | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if os.environ.get("VSALIENT_DEBUG"):
            raise
        click.echo(f"Error: {' '.join(str(error).split())}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _stoppable() -> Iterator[list[int]]:
    """Let a terminal that closes, or a scheduler that ends the job, stop the work as Ctrl-C does: with cleaning up.

    A second signal is ignored, so that an impatient Ctrl-C leaves no half file; a third one stops the cleaning up too.

    Yields:
        The numbers of the signals that came.
    """
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        received.append(number)
        if len(received) != 2:
            raise KeyboardInterrupt

    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
                before[number] = signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in before.items():
            # Once stopped, the program is on its way out, and one more Ctrl-C would only show a traceback of that.
            signal.signal(number, signal.SIG_IGN if received else handler)
