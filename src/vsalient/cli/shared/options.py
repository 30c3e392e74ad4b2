"""Options that verbs share, in groups with a heading each, and the checks of their values."""

import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vsalient.cli.shared import complete
from vsalient.errors import OptionError
from vsalient.outputs.kinds import KINDS
from vsalient.outputs.looks import Color
from vsalient.vocabulary import CUTS, DEFAULT_MODEL, DEVICE_FORMS, DTYPE_NAMES, ENGINES, PROTOCOLS, is_device_name

Command = TypeVar("Command", bound=Callable[..., Any])
DEVICE_HELP = "auto takes CUDA, else Apple's MPS, else the CPU. A device that is not there is an error."


class GroupedOption(click.Option):
    """An option with a heading of the help text."""

    def __init__(self, *args: Any, group: str = "Options", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help lists its options below their headings, in the order of definition."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section a heading; options without one come last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        last: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                group = getattr(parameter, "group", None)
                (sections.setdefault(group, []) if group else last).append(record)
        sections["Help"] = last
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option(group: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:
    """Declare an option below a heading."""
    return click.option(*names, cls=GroupedOption, group=group, **attributes)


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Stack option decorators so that the help shows them in the order given."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def look_options(default: str) -> Callable[[Command], Command]:
    """-o, -w, and how outputs look: --mask-style, --lossless, --alpha-format, --background-color, --no-audio."""
    return options(
        option("Output", "-o", "--output", metavar="PATH",
               help="A folder, a file, or a template with {stem}, {suffix}, {model}, {kind}, {ext} and {parent} (the "
                    "input's folder).  [default: the current folder]"),
        option("Output", "-w", "--write", "kinds", multiple=True, default=(default,), metavar="KIND[,KIND...]",
               shell_complete=complete.kinds,
               help=f"What to write, one or several of: {', '.join(KINDS)}.  [default: {default}]"),
        option("Output", "--mask-style", type=click.Choice(["gray", "palette"]),
               help="Mask PNGs of 0 and 255, or DAVIS's palette with 0 and 1.  [default: gray; palette with "
                    "--instances or --protocol paper]"),
        option("Output", "--lossless", is_flag=True, help="The saliency video as FFV1 in .mkv, exact to the bit."),
        option("Output", "--alpha-format", type=click.Choice(["webm", "prores", "webp", "gif"]), default="webm",
               show_default=True,
               help="Transparent video as VP9 in .webm, ProRes 4444 in .mov for editing, or a looping WebP or GIF."),
        option("Output", "--background-color", default="#00b140", show_default=True, metavar="COLOUR",
               help="Behind the foreground: a name such as white, or #rrggbb."),
        option("Output", "--no-audio", is_flag=True,
               help="Leave the sound out of overlay, contours, heatmap, alpha, foreground."),
    )  # fmt: skip


def model_options(command: Command) -> Command:
    """--model, --weights, --device, --dtype, --engine, --threads, --exact, --flip, --offline."""
    return options(
        option("Model", "-m", "--model", default=DEFAULT_MODEL, show_default=True, metavar="NAME|FILE",
               callback=allow_code, shell_complete=complete.models,
               help="A network by its name in `vsalient models list`, a weights file that vsalient wrote, or code of "
                    "yours as package.module:Class with --weights."),
        option("Model", "--weights", type=click.Path(path_type=Path), metavar="FILE",
               help="Load this file instead of the model's own weights."),
        option("Model", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps",
               help=DEVICE_HELP),
        option("Model", "--dtype", default="auto", show_default=True,
               type=click.Choice(DTYPE_NAMES),
               help="auto is bfloat16 where the device is fast at it and a self-check passes, else float32."),
        option("Model", "--engine", default="auto", show_default=True, type=click.Choice(ENGINES),
               help="The library that computes. openvino is for CPUs and comes with the extra of that name; auto takes "
                    "the faster of those that are installed."),
        option("Model", "--threads", type=click.IntRange(1), metavar="N",
               help="Processor threads for the network.  [default: all cores]"),
        option("Model", "--exact", is_flag=True,
               help="Plain float32, nothing folded or reordered: slower, for comparing numbers."),
        option("Model", "--flip", is_flag=True,
               help="Run each clip mirrored as well and take the mean: half as fast, a little better."),
        option("Model", "--offline", is_flag=True,
               help="Never ask the network: weights that are not on this machine are an error."),
    )(command)  # fmt: skip


def allow_code(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Let `package.module:Class` be a model: what a person types is trusted, what a file or a request says is not."""
    if value is not None:
        from vsalient.models import plugins

        if plugins.is_code(value) and not Path(value).exists():
            sys.path.append(str(Path.cwd()))  # an installed script has its own folder there, not the user's
            plugins.allow(value)
    return value


def clip_options(command: Command) -> Command:
    """--clip-length, --overlap, --tail, --interval, --resolution, --protocol, --cuts, --live, --fast."""
    return options(
        option("Clips", "--clip-length", "length", type=int, metavar="FRAMES",
               help="Frames fed to the network together.  [default: the model's own]"),
        option("Clips", "--overlap", type=int, metavar="FRAMES",
               help="Frames that neighbouring clips share; their maps are averaged. One less than the clip "
                    "length is the dense variant: slower, a little better.  [default: the model's own]"),
        option("Clips", "--tail", type=click.Choice(["shift", "repeat-first", "repeat-last"]),
               help="Where frames run out: move the last clip back (shift), or repeat its first or the last "
                    "frame.  [default: the model's own, mostly shift]"),
        option("Clips", "--interval", type=int, default=1, show_default=True, metavar="FRAMES",
               help="From one frame of a clip to its next: 2 takes every other frame, and every frame gets a map all "
                    "the same."),
        option("Clips", "--resolution", metavar="SIZE",
               help="The network's input: native, short:480, exact:112x112 or area:256x448 (height x width).  "
                    "[default: the model's own]"),
        option("Clips", "--protocol", type=click.Choice(PROTOCOLS), default="default", show_default=True,
               help="paper is the procedure of the model's authors, to the letter where known; --exact comes with "
                    "it unless --dtype says otherwise."),
        option("Clips", "--cuts", type=click.Choice(CUTS), default="auto", show_default=True,
               help="Look for hard cuts and take each scene by itself; never with --protocol paper."),
        option("Clips", "--live", is_flag=True,
               help="For a camera or a stream: clips of 4 frames end at the newest, maps come with the least delay, "
                    "which is said at the end. With -o - another program can show them."),
        option("Clips", "--fast", is_flag=True,
               help="The network sees every second frame; the maps between are carried along the optical flow."),
    )(command)  # fmt: skip


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """A time as seconds, `mm:ss` or `hh:mm:ss`, with decimals."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read one."""
        if isinstance(value, float | int):
            return float(value)
        seconds = 0.0
        parts = str(value).split(":")
        try:
            for place, part in enumerate(parts):
                number = float(part)
                if len(parts) > 3 or (place and not 0 <= number < 60) or (place < len(parts) - 1 and "." in part):
                    raise ValueError(part)
                seconds = 60 * seconds + number
        except ValueError:
            self.fail(f"{value!r} is no time: give seconds such as 2.5, or mm:ss or hh:mm:ss", param, ctx)
        return seconds


SECONDS_TYPE = Seconds()


def range_options(command: Command) -> Command:
    """--start, --end, --rate, --every, --limit, --deinterlace."""
    return options(
        option("Input", "--start", type=SECONDS_TYPE, metavar="TIME", help="Begin here: seconds, or [hh:]mm:ss."),
        option("Input", "--end", type=SECONDS_TYPE, metavar="TIME", help="Stop before this time."),
        option("Input", "--rate", type=float, metavar="FPS",
               help="Frames a second of a folder of frames; videos have their own clock.  [default: 25]"),
        option("Input", "--every", type=int, default=1, metavar="N", help="Take every N-th frame only."),
        option("Input", "--limit", type=int, metavar="N", help="Take N frames at most."),
        option("Input", "--deinterlace", type=click.Choice(["auto", "off"]), default="auto", show_default=True,
               help="Make whole pictures of interlaced ones."),
    )(command)  # fmt: skip


def batch_options(command: Command) -> Command:
    """--overwrite, --skip-existing, --keep-going, --json, --dry-run, --progress, -q, -v."""
    return options(
        option("Output", "--overwrite", is_flag=True, help="Replace outputs that exist."),
        option("Output", "--skip-existing", is_flag=True,
               help="Leave outputs alone that exist. Without one of these two they are an error before any work."),
        option("Running", "--keep-going", is_flag=True,
               help="Go on with the other inputs when one fails; the exit code is 1 all the same."),
        option("Running", "--json", "as_json", is_flag=True,
               help="Print one JSON summary on stdout instead of the written paths."),
        option("Running", "-n", "--dry-run", is_flag=True,
               help="Say what would be written where, and stop. Nothing is loaded, nothing is made."),
        option("Running", "--progress", type=click.Choice(["auto", "bar", "lines", "json", "none"]), default="auto",
               show_default=True,
               help="On stderr: a bar, a line a minute, or a JSON object a line for programs. auto is a bar on a "
                    "terminal, else lines."),
        option("Running", "-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors."),
        option("Running", "-v", "--verbose", is_flag=True, help="Say more on stderr."),
    )(command)  # fmt: skip


def check_batch_options(overwrite: bool, skip_existing: bool, quiet: bool, verbose: bool) -> None:
    """Refuse flags that contradict each other.

    Raises:
        OptionError: both of a pair are given.
    """
    if overwrite and skip_existing:
        raise OptionError("--overwrite and --skip-existing contradict each other: give one of them")
    if quiet and verbose:
        raise OptionError("--quiet and --verbose contradict each other: give one of them")


def check_engine_options(device: str, dtype: str, exact: bool, protocol: str = "default", engine: str = "auto") -> bool:
    """Refuse what can be seen to be wrong without PyTorch.

    Returns:
        Whether the engine is to be exact: as asked for, or as the authors' procedure implies where no dtype is named.

    Raises:
        OptionError: not the name of a device, or options that exclude each other, or an engine that is not installed.
    """
    if not is_device_name(device):
        raise OptionError(f"unknown device '{device}': choose one of {DEVICE_FORMS}")
    if exact and dtype not in ("auto", "float32"):
        raise OptionError(f"--exact means float32, not {dtype}: leave one of the two out")
    exact = exact or (protocol == "paper" and dtype == "auto")
    if engine == "openvino":
        if exact:
            reason = "--exact" if protocol != "paper" else "--protocol paper without --dtype"
            raise OptionError(f"{reason} is PyTorch's float32: leave it out, or take --engine torch")
        if device not in ("auto", "cpu"):
            raise OptionError(f"--engine openvino runs on the CPU, not on {device}: take --device cpu")
        if dtype == "float16":
            raise OptionError("--engine openvino has no float16: use --dtype float32, bfloat16 or auto")
        if importlib.util.find_spec("openvino") is None:
            raise OptionError("--engine openvino is not installed here: pip install 'vsalient[openvino]'")
    return exact


def check_times(start: float | None, end: float | None, rate: float | None) -> None:
    """Refuse an impossible time range or rate.

    Raises:
        OptionError: not a finite number, a negative start, an end that does not come after the start, or a rate of
            0 or less.
    """
    for name, value in (("start", start), ("end", end), ("rate", rate)):
        if value is not None and not math.isfinite(value):
            raise OptionError(f"--{name} {value:g} is no number to work with: give a finite one")
    if rate is not None and rate <= 0:
        raise OptionError(f"--rate {rate:g} is impossible: give frames a second, above 0")
    if start is not None and start < 0:
        raise OptionError(f"--start {start:g} is negative: give seconds from the beginning")
    if end is not None and end <= (start or 0):
        raise OptionError(f"--end {end:g} does not come after --start {start or 0:g}")


def check_color(text: str) -> Color:
    """Read a colour.

    Raises:
        OptionError: it is none.
    """
    from vsalient.outputs.colors import parse_color

    try:
        return parse_color(text)
    except ValueError:
        raise OptionError(f"--background-color '{text}' is no colour: give a name such as white, or #rrggbb") from None
