"""`vsalient view`: one HTML file to go through a film and its maps."""

from pathlib import Path

import click

from vsalient.cli.shared.options import GroupedCommand, check_engine_options, option
from vsalient.cli.shared.outcome import print_path
from vsalient.errors import OptionError


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("film", type=click.Path(path_type=Path), metavar="INPUT")
@option(
    "Output",
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PAGE.html",
    help="Where the page goes.  [default: the input's name with _report.html]",
)
@option("Output", "--overwrite", is_flag=True, help="Replace a page that exists.")
@option("Output", "--open", "show", is_flag=True, help="Open it in the browser.")
@option("Maps", "--maps", metavar="FOLDER|VIDEO", help="Show maps made earlier instead of running a model.")
@option("Maps", "-m", "--model", default="3dc-lite", show_default=True, metavar="NAME|FILE", help="The network.")
@option(
    "Maps",
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N|mps",
    help="Where the network runs.",
)
@option("Running", "-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
def command(
    film: Path, output: Path | None, overwrite: bool, show: bool, maps: str | None, model: str, device: str, quiet: bool
) -> int:
    """Make a page to go through a film with its maps: play, wipe, threshold, curves, and the frames to review.

    The page is one file that needs no network: film and maps travel in it.
    """
    from vsalient.cli.looking import check_maps, check_page, record
    from vsalient.cli.shared.naming import stem_of

    check_engine_options(device, "auto", False)
    if not film.exists():
        raise OptionError(f"{film} does not exist: check the name")
    check_maps(maps or model)
    page = output or Path(f"{stem_of(film)}_report.html")
    check_page(page, [film], overwrite=overwrite)
    from vsalient.cli.shared.console import Console

    console = Console(quiet=quiet, verbose=False)
    record(page, film, [maps or model], console, device=device, dtype="auto", overwrite=overwrite)
    print_path(page)
    if show:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0
