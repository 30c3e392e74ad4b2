"""`vsalient completion SHELL`: what makes a shell complete verbs, options, models, kinds and recipes."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from vsalient.files import write_whole

SHELLS = ("bash", "zsh", "fish")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Put it where the shell looks for it, instead of printing it.")
def command(shell: str, install: bool) -> None:
    """Print a script that lets SHELL complete what you type after `vsalient`.

    \b
    vsalient completion bash --install      from the next bash on (needs the package bash-completion)
    vsalient completion fish --install
    vsalient completion zsh --install       then once: fpath+=(~/.zfunc); autoload -Uz compinit; compinit
    eval "$(vsalient completion bash)"      in this shell only
    """
    from vsalient.cli.app import root

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(root, {}, "vsalient", "_VSALIENT_COMPLETE").source()
    if not install:
        click.echo(script)
        return
    place = _script_place(shell)
    write_whole(place, script)
    click.echo(str(place))


def _script_place(shell: str) -> Path:
    home = Path.home()
    if shell == "bash":
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
        return data / "bash-completion" / "completions" / "vsalient"
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return config / "fish" / "completions" / "vsalient.fish"
    return home / ".zfunc" / "_vsalient"
