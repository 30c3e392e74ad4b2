"""`vsalient help [VERB]`: the same as `vsalient VERB --help`."""

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", nargs=-1, metavar="[VERB]...")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of VERB, such as `vsalient help predict` or `vsalient help models fetch`."""
    from vsalient.cli.app import root

    root.main([*words, "--help"], prog_name="vsalient", standalone_mode=False)
