"""What `view` and `compare` share: where maps come from, and the page of a film with one or two of them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from vsalient.errors import InputError, OptionError
from vsalient.types import Frame, SaliencyArray

if TYPE_CHECKING:
    from vsalient.cli.shared.console import Console
    from vsalient.media import Source

Maps = Iterator[tuple[Frame, SaliencyArray]]


def check_page(path: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse a place for the page that cannot work.

    Raises:
        OptionError: it does not end in .html.
        OutputError: it exists already, is an input, or cannot be written.
    """
    from vsalient.outputs import check_output

    for source in sources:
        check_output("report", path, source=source, overwrite=overwrite)


def name_of(text: str) -> str:
    """What maps are called: a model's name, or the name of the file or folder."""
    return Path(text).stem if Path(text).exists() else text


def check_maps(text: str) -> None:
    """Refuse what is neither a model nor maps made earlier, before any work.

    Raises:
        OptionError: it is neither.
    """
    from vsalient.checkpoints import find_entry
    from vsalient.errors import WeightsError

    if Path(text).exists():
        return
    try:
        find_entry(text)
    except WeightsError as error:
        raise OptionError(f"'{text}' is neither maps made earlier nor a model: {error}") from None


def maps_of(text: str, film: Path, stack: ExitStack, console: "Console", *, device: str, dtype: str) -> Maps:
    """Frames with maps: of a model by name or weights file, or of gray pictures or a gray video made earlier.

    Args:
        text: which.
        film: the frames.
        stack: closes what is opened.
        console: speaks on stderr.
        device: to run a model on.
        dtype: to run a model in.
    """
    from vsalient.figures import Report
    from vsalient.media import open_source
    from vsalient.run import made_earlier

    source: Source = stack.enter_context(open_source(film))
    path = Path(text)
    if path.exists() and path.suffix != ".safetensors":
        made = made_earlier(source, stack.enter_context(open_source(path)), Report())
        stack.callback(made.close)
        return made
    from vsalient.checkpoints import find_entry
    from vsalient.cli.shared.loading import load_with_progress
    from vsalient.procedure import plan_procedure

    model = load_with_progress(console, text, None, device, dtype, exact=False, flip=False, offline=False)
    console.say(f"{model.name} on {model.description}")
    maps = model.maps(source, plan_procedure(find_entry(text)), Report())
    stack.callback(maps.close)
    return maps


def with_scenes(maps: Maps) -> Maps:
    """The same, every frame with the number of its scene between hard cuts."""
    from vsalient.cuts import mark_scenes

    held: dict[int, SaliencyArray] = {}

    def frames() -> Iterator[Frame]:
        for frame, saliency in maps:
            held[frame.index] = saliency
            yield frame

    for frame in mark_scenes(frames()):
        yield frame, held.pop(frame.index)


def record(
    page: Path, film: Path, texts: Sequence[str], console: "Console", *, device: str, dtype: str, overwrite: bool
) -> int:
    """Write the page of a film and maps of it; the number of frames.

    Raises:
        InputError: there are no frames, or not as many of one as of the other.
    """
    from vsalient.cli.shared.inputs import expected_frames
    from vsalient.media import open_source
    from vsalient.review.recorder import Recorder

    with ExitStack() as stack:
        with open_source(film) as source:
            info = source.info
        names = [name_of(text) for text in texts]
        if len(set(names)) < len(names):
            names = [f"{name} {letter}" for name, letter in zip(names, "AB", strict=False)]
        feeds = [maps_of(text, film, stack, console, device=device, dtype=dtype) for text in texts]
        recorder = Recorder(page, info, names, overwrite=overwrite)
        count = 0
        try:
            with console.frames(film.name, expected_frames(info, None, None)) as bar:
                while True:
                    ready = [next(feed, None) for feed in feeds]
                    if all(item is None for item in ready):
                        break
                    found = [item for item in ready if item is not None]
                    if len(found) < len(feeds):
                        raise InputError(f"{texts[0]} and {texts[1]} do not have as many maps of {film}")
                    recorder.write(found[0][0], [saliency for _, saliency in found])
                    count += 1
                    bar.advance(count)
            if count == 0:
                raise InputError(f"{film} has no frames")
            recorder.close()
        except BaseException:
            recorder.abort()
            raise
    return count
