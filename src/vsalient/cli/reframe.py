"""`vsalient reframe`: a film in another aspect, the window following the object."""

import dataclasses
from contextlib import ExitStack
from pathlib import Path

import click

from vsalient.cli.looking import Look, film_options, maps_options, with_scenes
from vsalient.cli.shared.options import GroupedCommand, option
from vsalient.cli.shared.outcome import print_path
from vsalient.errors import InputError

REFRAME_EXAMPLES = """\b
Examples:
  vsalient reframe holiday.mp4 --aspect 9:16
      holiday_9x16.mp4 for phones, with its sound
  vsalient reframe holiday.mp4 --aspect 1:1 --maps holiday_maps/ -o square.mp4
      by maps made earlier
"""


@click.command(
    cls=GroupedCommand,
    epilog=REFRAME_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("film", type=click.Path(path_type=Path), metavar="INPUT")
@option("Output", "--aspect", required=True, metavar="WIDTH:HEIGHT", help="The new shape, such as 9:16, 1:1 or 4:5.")
@film_options("film", "FILE.mp4|.mkv|.mov", "the input's name with the aspect")
@option("Output", "--no-audio", is_flag=True, help="Leave the sound out.")
@maps_options
def command(look: Look, aspect: str, no_audio: bool, maps: str | None, model: str) -> int:
    """Cut a film to another shape, the window following what stands out.

    The film is read twice: once for where the object is, once to cut. The window moves as calmly as it can while the
    object stays inside, and begins anew at every cut.
    """
    from vsalient.reframe.crop import Window, parse_aspect

    shape, film = parse_aspect(aspect), look.film
    place = look.place(f"_{aspect.strip().replace(':', 'x')}.mp4", "overlay", maps or model)
    from vsalient.media import open_source

    with open_source(film) as source:
        info = source.info
    window = Window.of(info, shape)
    from vsalient.cli.shared.inputs import expected_frames
    from vsalient.media.encoder import VideoEncoder
    from vsalient.outputs.encodings import encodings
    from vsalient.reframe.boxes import Boxes
    from vsalient.reframe.crop import cut_window, window_path

    boxes, console = Boxes(), look.console()
    expected = expected_frames(info, None, None)
    with ExitStack() as stack:
        feed = look.maps(maps or model, stack, console)
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
    encoding = encodings("colour")[place.suffix.lower()]
    encoder = VideoEncoder(place, cropped, encoding, source=film, audio=not no_audio, overwrite=look.overwrite)
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
