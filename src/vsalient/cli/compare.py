"""`vsalient compare`: two models, or two sets of maps, on one film in one HTML file."""

from pathlib import Path

import click

from vsalient.cli.shared.options import GroupedCommand, check_engine_options, option
from vsalient.cli.shared.outcome import print_path
from vsalient.errors import OptionError

EPILOG = """\b
Examples:
  vsalient compare 3dc-lite scnn-s --film holiday.mp4
      two models
  vsalient compare old_maps/ new_saliency.mp4 --film holiday.mp4
      maps made earlier, whatever their settings were
"""


@click.command(
    cls=GroupedCommand,
    epilog=EPILOG,
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
@option(
    "Output",
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PAGE.html",
    help="Where the page goes.  [default: the film's name with _compare.html]",
)
@option("Output", "--overwrite", is_flag=True, help="Replace a page that exists.")
@option(
    "Running",
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N|mps",
    help="Where models run.",
)
@option("Running", "-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
def command(first: str, second: str, film: Path, output: Path | None, overwrite: bool, device: str, quiet: bool) -> int:
    """Show two models, or two sets of maps, on one film: side by side, by wipe, and where they differ.

    A and B are models by name or weights file, or maps made earlier: a folder of gray PNGs or a gray video.
    """
    from vsalient.cli.looking import check_maps, check_page, record
    from vsalient.cli.shared.naming import stem_of

    check_engine_options(device, "auto", False)
    if not film.exists():
        raise OptionError(f"{film} does not exist: check the name")
    for text in (first, second):
        check_maps(text)
    page = output or Path(f"{stem_of(film)}_compare.html")
    check_page(page, [film], overwrite=overwrite)
    from vsalient.cli.shared.console import Console

    console = Console(quiet=quiet, verbose=False)
    record(page, film, [first, second], console, device=device, dtype="auto", overwrite=overwrite)
    print_path(page)
    return 0
