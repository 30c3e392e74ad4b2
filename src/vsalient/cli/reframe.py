"""`vsalient reframe`: a film in another aspect, the window following the object."""

import dataclasses
from contextlib import ExitStack
from pathlib import Path

import click

from vsalient.cli.shared.options import GroupedCommand, check_engine_options, option
from vsalient.cli.shared.outcome import print_path
from vsalient.errors import InputError, OptionError

EPILOG = """\b
Examples:
  vsalient reframe holiday.mp4 --aspect 9:16
      holiday_9x16.mp4 for phones, with its sound
  vsalient reframe holiday.mp4 --aspect 1:1 --maps holiday_maps/ -o square.mp4
      by maps made earlier
"""


@click.command(
    cls=GroupedCommand,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("film", type=click.Path(path_type=Path), metavar="INPUT")
@option("Output", "--aspect", required=True, metavar="WIDTH:HEIGHT", help="The new shape, such as 9:16, 1:1 or 4:5.")
@option(
    "Output",
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The film to write: .mp4, .mkv or .mov.  [default: the input's name with the aspect]",
)
@option("Output", "--overwrite", is_flag=True, help="Replace a film that exists.")
@option("Output", "--no-audio", is_flag=True, help="Leave the sound out.")
@option("Maps", "--maps", metavar="FOLDER|VIDEO", help="Use maps made earlier instead of running a model.")
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
    film: Path,
    aspect: str,
    output: Path | None,
    overwrite: bool,
    no_audio: bool,
    maps: str | None,
    model: str,
    device: str,
    quiet: bool,
) -> int:
    """Cut a film to another shape, the window following what stands out.

    The film is read twice: once for where the object is, once to cut. The window moves as calmly as it can while the
    object stays inside, and begins anew at every cut.
    """
    from vsalient.cli.looking import check_maps, maps_of, with_scenes
    from vsalient.cli.shared.naming import stem_of
    from vsalient.outputs import check_output
    from vsalient.reframe.crop import Window, parse_aspect

    shape = parse_aspect(aspect)
    check_engine_options(device, "auto", False)
    if not film.exists():
        raise OptionError(f"{film} does not exist: check the name")
    check_maps(maps or model)
    place = output or Path(f"{stem_of(film)}_{aspect.strip().replace(':', 'x')}.mp4")
    check_output("overlay", place, source=film, overwrite=overwrite)
    from vsalient.media import open_source

    with open_source(film) as source:
        info = source.info
    window = Window.of(info, shape)
    from vsalient.cli.shared.console import Console
    from vsalient.cli.shared.inputs import expected_frames
    from vsalient.media.encoder import VideoEncoder
    from vsalient.outputs.encodings import encodings
    from vsalient.reframe.boxes import Boxes
    from vsalient.reframe.crop import cut_window, window_path

    console = Console(quiet=quiet, verbose=False)
    boxes = Boxes()
    expected = expected_frames(info, None, None)
    with ExitStack() as stack:
        feed = maps_of(maps or model, film, stack, console, device=device, dtype="auto")
        with console.frames(f"{film.name}: looking", expected) as bar:
            for frame, saliency in with_scenes(feed):
                boxes.push(saliency, frame.scene)
                bar.advance(len(boxes.found))
    if not boxes.found:
        raise InputError(f"{film} has no frames")
    if max(boxes.sure) == 0:
        console.say(f"{film}: no object was found; the window stays in the middle")
    places = window_path(boxes, info, window)
    cropped = dataclasses.replace(info, width=window.width, height=window.height)
    encoder = VideoEncoder(
        place, cropped, encodings("colour")[place.suffix.lower()], source=film, audio=not no_audio, overwrite=overwrite
    )
    try:
        with open_source(film) as source, console.frames(f"{film.name}: cutting", expected) as bar:
            for frame, (left, top) in zip(source, places, strict=False):
                encoder.write(cut_window(frame.pixels, window, left, top), frame.pts, frame.time_base, frame.duration)
                bar.advance(frame.index + 1)
        encoder.close()
    except BaseException:
        encoder.abort()
        raise
    print_path(place)
    return 0
