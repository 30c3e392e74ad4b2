"""What `view` and `compare` share: where maps come from, and the page of a film with one or two of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vsalient.cli.shared import complete
from vsalient.cli.shared.choices import gather
from vsalient.cli.shared.options import Command, check_engine_options, option, options
from vsalient.errors import InputError, OptionError
from vsalient.types import Frame, SaliencyArray
from vsalient.vocabulary import DEFAULT_MODEL

if TYPE_CHECKING:
    from vsalient.cli.shared.console import Console
    from vsalient.figures import Report
    from vsalient.media import Source

FramesWithMaps = Iterator[tuple[Frame, SaliencyArray]]


def film_options(kind: str, ending: str, default: str) -> Callable[[Command], Command]:
    """-o, --overwrite, --device and --quiet; with the command's `film` they are its `film`.

    Args:
        kind: what is made: "page" or "film".
        ending: what its name ends in.
        default: what it is called, where the user does not say.
    """
    added = options(
        option("Output", "-o", "--output", type=click.Path(path_type=Path), metavar=ending,
               help=f"Where the {kind} goes.  [default: {default}]"),
        option("Output", "--overwrite", is_flag=True, help=f"Replace a {kind} that exists."),
        option("Running", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps",
               help="Where a network runs."),
        option("Running", "-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors."),
    )  # fmt: skip
    return lambda command: added(gather(look=Look)(command))


def maps_options(command: Command) -> Command:
    """--maps and --model: where one film's maps come from."""
    return options(
        option("Maps", "--maps", metavar="FOLDER|VIDEO", help="Use maps made earlier instead of running a model."),
        option("Maps", "-m", "--model", default=DEFAULT_MODEL, show_default=True, metavar="NAME|FILE",
               shell_complete=complete.models, help="The network."),
    )(command)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A film to be looked at, and what becomes of it; the attributes are named like the options."""

    film: Path
    output: Path | None
    overwrite: bool
    device: str
    quiet: bool

    def place(self, ending: str, kind: str, *maps: str) -> Path:
        """Where the output goes, once all is known to be possible.

        Args:
            ending: of the default name, behind the film's.
            kind: of output whose rules count.
            maps: models, or maps made earlier.

        Raises:
            OptionError: the film is not there, maps are neither, or the place's name does not fit the kind.
            OutputError: it exists already, is an input, or cannot be written.
        """
        from vsalient.cli.shared.naming import stem_of
        from vsalient.outputs import check_output

        check_engine_options(self.device, "auto", False)
        if not self.film.exists():
            raise OptionError(f"{self.film} does not exist: check the name")
        for text in maps:
            check_maps(text)
        place = self.output or Path(f"{stem_of(self.film)}{ending}")
        check_output(kind, place, source=self.film, overwrite=self.overwrite)
        return place

    def console(self) -> "Console":
        """What speaks on stderr."""
        from vsalient.cli.shared.console import Console

        return Console(quiet=self.quiet)

    def maps(self, text: str, stack: ExitStack, console: "Console", report: "Report | None" = None) -> FramesWithMaps:
        """Frames with maps: of a model by name or weights file, or of gray pictures or a gray video made earlier.

        Args:
            text: which.
            stack: closes what is opened.
            console: speaks on stderr.
            report: is kept up to date.
        """
        from vsalient.figures import Report
        from vsalient.media import open_source
        from vsalient.run import made_earlier

        report = report or Report()
        source: Source = stack.enter_context(open_source(self.film))
        path = Path(text)
        if path.exists() and path.suffix != ".safetensors":
            made = made_earlier(source, stack.enter_context(open_source(path)), report)
            stack.callback(made.close)
            return made
        from vsalient.checkpoints import find_entry
        from vsalient.cli.shared.loading import load_with_progress
        from vsalient.procedure import plan_procedure

        model = load_with_progress(console, text, None, self.device, "auto", exact=False, flip=False, offline=False)
        console.say(f"{model.name} on {model.description}")
        maps = model.maps(source, plan_procedure(find_entry(text)), report)
        stack.callback(maps.close)
        return maps


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


def with_scenes(maps: FramesWithMaps) -> FramesWithMaps:
    """The same, every frame with the number of its scene between hard cuts."""
    from vsalient.cuts import mark_scenes

    held: dict[int, SaliencyArray] = {}

    def frames() -> Iterator[Frame]:
        for frame, saliency in maps:
            held[frame.index] = saliency
            yield frame

    for frame in mark_scenes(frames()):
        yield frame, held.pop(frame.index)


def record(page: Path, look: Look, texts: Sequence[str]) -> int:
    """Write the page of a film and maps of it; the number of frames.

    Raises:
        InputError: there are no frames, or not as many of one as of the other.
    """
    from vsalient.cli.shared.inputs import expected_frames
    from vsalient.figures import Report
    from vsalient.media import open_source
    from vsalient.review.recorder import Recorder

    film, console = look.film, look.console()
    with ExitStack() as stack:
        with open_source(film) as source:
            info = source.info
        names = [name_of(text) for text in texts]
        if len(set(names)) < len(names):
            names = [f"{name} {letter}" for name, letter in zip(names, "AB", strict=False)]
        reports = [Report() for _ in texts]
        feeds = [look.maps(text, stack, console, report) for text, report in zip(texts, reports, strict=True)]
        # Of two models side by side nobody could tell the stages apart.
        stages = (lambda: reports[0].stages) if len(texts) == 1 else None
        recorder = Recorder(page, info, names, overwrite=look.overwrite, stages=stages)
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
