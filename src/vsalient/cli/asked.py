"""What a command was asked for: by which a rerun knows its settings again, and a child is told them."""

import hashlib
from pathlib import Path
from typing import Any

import click

from vsalient.checkpoints import find_entry, resolve
from vsalient.errors import OptionError

RUNTIME = frozenset(
    (
        *("inputs", "output", "overwrite", "skip_existing", "keep_going", "as_json", "quiet", "verbose"),
        *("device", "offline", "threads", "dry_run", "progress", "model", "weights"),
    )
)
"""Parameters that change how a run goes and not what comes of it; the model is named by its weights' hash instead."""


def asked_options(context: click.Context) -> dict[str, Any]:
    """What the user asked for that shows in the outputs: options off their defaults, and the weights' hash."""
    asked = {
        parameter.name: context.params[parameter.name]
        for parameter in context.command.params
        if parameter.name in context.params
        and parameter.name not in RUNTIME
        and context.params[parameter.name] not in (parameter.get_default(context), None, (), False)
    }
    model = str(context.params.get("model"))
    entry = find_entry(model, own_weights=context.params.get("weights") is not None)
    file = context.params.get("weights") or (model if Path(model).is_file() else None)
    asked["model"] = entry.name
    asked["weights"] = entry.sha256 or entry.revision
    if file is None and entry.sha256 is None and entry.source == "file":
        file = resolve(entry, offline=True)
    if file is not None:
        try:
            with Path(file).expanduser().open("rb") as stream:
                asked["weights"] = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise OptionError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    return {str(name): value for name, value in asked.items()}


def child_arguments(context: click.Context) -> list[str]:
    """The command line of a child that does the same with inputs that it is told of."""
    own = {"inputs", "output", "overwrite", "skip_existing", "keep_going", "as_json", "quiet", "verbose", "progress"}
    arguments = [str(context.info_name), "--quiet"]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in own or name not in context.params or source is None or source.name == "DEFAULT":
            continue
        if not isinstance(parameter, click.Option):
            continue
        value = context.params[name]
        if parameter.is_flag and parameter.flag_value is True:
            arguments += [parameter.opts[-1]] if value else list(parameter.secondary_opts[:1])
            continue
        for item in value if parameter.multiple else (value,):
            arguments += [parameter.opts[-1], str(item)]
    return arguments + ["."] * bool(context.params.get("inputs"))
