"""`vsalient view`: one HTML file to go through a film and its maps."""

from pathlib import Path

import click

from vsalient.cli.looking import Look, film_options, maps_options, record
from vsalient.cli.shared.options import GroupedCommand, option
from vsalient.cli.shared.outcome import print_path


@click.command(cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("film", type=click.Path(path_type=Path), metavar="INPUT")
@film_options("page", "PAGE.html", "the input's name with _report.html")
@option("Output", "--open", "show", is_flag=True, help="Open it in the browser.")
@maps_options
def command(look: Look, show: bool, maps: str | None, model: str) -> int:
    """Make a page to go through a film with its maps: play, wipe, threshold, curves, and the frames to review.

    The page is one file that needs no network: film and maps travel in it.
    """
    page = look.place("_report.html", "report", maps or model)
    record(page, look, [maps or model])
    print_path(page)
    if show:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0
