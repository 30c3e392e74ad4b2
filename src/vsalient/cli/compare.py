"""`vsalient compare`: two models, or two sets of maps, on one film in one HTML file."""

from pathlib import Path

import click

from vsalient.cli.looking import Look, film_options, record
from vsalient.cli.shared.options import GroupedCommand, option
from vsalient.cli.shared.outcome import print_path

COMPARE_EXAMPLES = """\b
Examples:
  vsalient compare 3dc-lite scnn-s --film holiday.mp4
      two models
  vsalient compare old_maps/ new_saliency.mp4 --film holiday.mp4
      maps made earlier, whatever their settings were
"""


@click.command(
    cls=GroupedCommand,
    epilog=COMPARE_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@option(
    "Input",
    "--film",
    required=True,
    type=click.Path(path_type=Path),
    metavar="INPUT",
    help="The video or the folder of frames.",
)
@film_options("page", "PAGE.html", "the film's name with _compare.html")
def command(first: str, second: str, look: Look) -> int:
    """Show two models, or two sets of maps, on one film: side by side, by wipe, and where they differ.

    A and B are models by name or weights file, or maps made earlier: a folder of gray PNGs or a gray video.
    """
    page = look.place("_compare.html", "report", first, second)
    record(page, look, [first, second])
    print_path(page)
    return 0
