"""The options for many videos, which `vsalient.cli.many` finds in the context of the command."""

from typing import Any

import click

from vsalient.cli.shared.options import Command, option, options

META = "vsalient.many"
"""Where their values lie in the context."""


def many_options(command: Command) -> Command:
    """--manifest, --shard, --claim, --jobs, --retries, --timeout, --watch, --runner, --address.

    Their values are found by `Many.current`, so that the verbs need not hand them on.
    """
    group = "Many videos"

    def kept(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        ctx.meta.setdefault(META, {})[parameter.name] = value
        return value

    own: dict[str, Any] = {"expose_value": False, "callback": kept}
    return options(
        option(group, "--manifest", metavar="FILE",
               help="Record in this JSON Lines file what became of every input, and go on from it: what is done with "
                    "equal settings is skipped, what failed or was broken off is done again. {shard}, {host} and "
                    "{pid} make a file for each worker.", **own),
        option(group, "--shard", metavar="I/N",
               help="Do only the I-th of N shares of the inputs, counted from 1. auto takes Slurm's array or "
                    "torchrun's ranks, auto/N Kubernetes' completion index.", **own),
        option(group, "--claim", is_flag=True,
               help="Share the inputs with other workers on the same output folder: each input is done once, and "
                    "what a worker that died held is taken over.", **own),
        option(group, "--claim-timeout", type=click.FloatRange(min=1), default=60.0, show_default=True,
               metavar="SECONDS", help="How long a worker may be silent before its claims are taken over.", **own),
        option(group, "-j", "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N",
               help="Work in N processes that share the cores; pays for many short videos.", **own),
        option(group, "--retries", type=click.IntRange(0, 100), default=0, show_default=True, metavar="N",
               help="Try an input that failed N more times, each after a longer pause.", **own),
        option(group, "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
               help="Give an input up that takes longer; the work is then done in a process of its own.", **own),
        option(group, "--split-long", metavar="LENGTH",
               help="Do films that are longer than this, such as 10min, in pieces: a run that breaks off goes on near "
                    "there, and with --claim several workers share one film. The maps are the same.", **own),
        option(group, "--watch", is_flag=True,
               help="Keep the input folders under watch and do what arrives, once it is complete; ends with Ctrl-C.",
               **own),
        option(group, "--runner", type=click.Choice(["local", "ray"]), default="local", show_default=True,
               help="Where the work is done: in this process and --jobs, or by actors of a Ray cluster.", **own),
        option(group, "--address", metavar="ADDRESS",
               help="The Ray cluster; auto finds one that runs here.  [default: a new one on this machine]", **own),
        option(group, "--worker", is_flag=True, hidden=True, help="Take requests from stdin.", **own),
    )(command)  # fmt: skip
