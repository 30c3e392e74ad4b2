"""`vsalient predict`: videos in, saliency videos, maps and masks out."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from vsalient import __version__
from vsalient.checkpoints import find_entry
from vsalient.cli.common import (
    GroupedCommand,
    Outcome,
    batch_options,
    check_batch_options,
    check_engine_options,
    check_times,
    clip_options,
    expected_frames,
    find_inputs,
    input_records,
    load_with_progress,
    model_options,
    option,
    options,
    print_path,
    range_options,
    run_batch,
)
from vsalient.cli.naming import KINDS, Job, keep_wanted, parse_kinds, plan_targets
from vsalient.errors import OptionError
from vsalient.procedure import Procedure, plan_procedure
from vsalient.types import VideoInfo

if TYPE_CHECKING:
    from vsalient.api import Model
    from vsalient.cli.progress import Narrator
    from vsalient.media import Output, OutputKind

EPILOG = """\b
Examples:
  vsalient predict holiday.mp4
      writes holiday_saliency.mp4 into the current folder
  vsalient predict holiday.mp4 --write overlay,masks -o results/
      an overlay with the sound kept, and a folder of binary PNG masks
  vsalient predict videos/*.mp4 -o '{parent}/{stem}_{model}.mp4' --keep-going
      one map video beside each video
  vsalient predict holiday.mp4 --write alpha -o cut-out.webm
      the object with a transparent background
  vsalient predict DAVIS/bear --model 3dc-seg --protocol paper --write masks
      a folder of frames, by the official procedure
"""


@dataclass(frozen=True, slots=True)
class _Looks:
    """How outputs look."""

    threshold: str
    mask_style: Literal["gray", "palette"]
    audio: bool
    background: tuple[int, int, int]
    overwrite: bool


_output_options = options(
    option("Output", "-o", "--output", metavar="PATH",
           help="A folder, a file, or a template with {stem}, {model}, {kind}, {ext} and {parent} (the input's "
                "folder).  [default: the current folder]"),
    option("Output", "-w", "--write", "kinds", multiple=True, default=("video",), metavar="KIND[,KIND...]",
           help=f"What to write, one or several of: {', '.join(KINDS)}.  [default: video]"),
    option("Output", "--threshold", metavar="HOW",
           help="How masks are made: adaptive (mean + standard deviation of each map), otsu, or a fixed "
                "probability such as 0.5.  [default: adaptive; the paper's with --protocol paper]"),
    option("Output", "--mask-style", type=click.Choice(["gray", "palette"]),
           help="Mask PNGs of 0 and 255, or DAVIS's palette with 0 and 1.  [default: gray; palette with "
                "--protocol paper]"),
    option("Output", "--lossless", is_flag=True, help="The saliency video as FFV1 in .mkv, exact to the bit."),
    option("Output", "--alpha-format", type=click.Choice(["webm", "prores"]), default="webm", show_default=True,
           help="Transparent video as VP9 in .webm, or ProRes 4444 in .mov for editing."),
    option("Output", "--background-color", default="#00b140", show_default=True, metavar="COLOUR",
           help="Behind the foreground: a name such as white, or #rrggbb."),
    option("Output", "--no-audio", is_flag=True, help="Leave the sound out of overlay, heatmap, alpha, foreground."),
)  # fmt: skip


@click.command(
    cls=GroupedCommand,
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@_output_options
@batch_options
@model_options
@clip_options
@range_options
def command(
    inputs: tuple[str, ...],
    output: str | None,
    kinds: tuple[str, ...],
    threshold: str | None,
    mask_style: Literal["gray", "palette"] | None,
    lossless: bool,
    alpha_format: str,
    background_color: str,
    no_audio: bool,
    overwrite: bool,
    skip_existing: bool,
    keep_going: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    model: str,
    weights: Path | None,
    device: str,
    dtype: str,
    exact: bool,
    flip: bool,
    offline: bool,
    clip_length: int | None,
    overlap: int | None,
    tail: Any,
    resolution: str | None,
    protocol: Any,
    start: float | None,
    end: float | None,
    rate: float | None,
) -> int:
    """Write saliency videos, maps and masks: white where the object is that stands out, black elsewhere.

    INPUT is a video, a folder of frames, a folder of videos, a glob, or - for a list of paths on stdin.
    """
    check_batch_options(overwrite, skip_existing, quiet, verbose)
    exact = check_engine_options(device, dtype, exact, protocol)
    check_times(start, end, rate)
    wanted = parse_kinds(kinds)
    entry = find_entry(model)
    procedure = plan_procedure(
        entry,
        protocol=protocol,
        clip_length=clip_length,
        overlap=overlap,
        tail=tail,
        resolution=resolution,
    )
    looks = _Looks(
        threshold=_check_threshold(procedure.threshold if threshold is None else threshold),
        mask_style=mask_style or ("palette" if protocol == "paper" else "gray"),
        audio=not no_audio,
        background=_check_color(background_color),
        overwrite=overwrite,
    )
    endings: dict[OutputKind, str] = {
        "alpha": ".mov" if alpha_format == "prores" else ".webm",
        "video": ".mkv" if lossless else ".mp4",
    }
    sources, failed = find_inputs(inputs, keep_going=keep_going, quiet=quiet)
    planned = plan_targets(sources, wanted, output, model=entry.name, endings=endings, skip_existing=skip_existing)
    jobs = keep_wanted(planned, overwrite=overwrite, skip_existing=skip_existing)

    # Rich and PyTorch are loaded only now, when nothing can be wrong with the options any more.
    from vsalient.cli.progress import Narrator

    narrator = Narrator(quiet=quiet, verbose=verbose)
    worker = _Worker(
        narrator=narrator,
        procedure=procedure,
        looks=looks,
        load=lambda: load_with_progress(
            narrator, model, weights, device, dtype, exact=exact, flip=flip, offline=offline
        ),
        span=(start, end, rate),
        print_paths=not as_json,
    )
    by_source = {job.source: job for job in jobs}
    began = time.perf_counter()
    outcomes, failure = run_batch(
        list(by_source), lambda source: worker.work(by_source[source]), keep_going=keep_going, failed=failed
    )
    if as_json:
        click.echo(json.dumps(_summary(worker, procedure, outcomes, time.perf_counter() - began), indent=2))
    if failure is not None:
        raise failure
    narrator.table(outcomes)
    return int(any(outcome.error is not None for outcome in outcomes))


def _check_threshold(text: str) -> str:
    from vsalient.segment.thresholds import parse_frame_threshold

    parse_frame_threshold(text)
    return text


def _check_color(text: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        color = bytes(ImageColor.getrgb(text)[:3])
    except ValueError:  # also of bytes: rgb(1000,0,0)
        raise OptionError(f"--background-color '{text}' is no colour: give a name such as white, or #rrggbb") from None
    return color[0], color[1], color[2]


@dataclass
class _Worker:
    """Does one job after another with one model, which the first job that needs it loads."""

    narrator: "Narrator"
    procedure: Procedure
    looks: _Looks
    load: Callable[[], "Model"]
    span: tuple[float | None, float | None, float | None]
    print_paths: bool
    model: "Model | None" = None

    def work(self, job: Job) -> Outcome:
        """Write all of a job's outputs."""
        outcome = Outcome(str(job.source), {target.kind: target.path for target in job.targets})
        if not job.targets:
            outcome.skipped = True
            self.narrator.say(f"{job.source}: skipped, its outputs exist")
            return outcome
        from vsalient.media import exact_rate, open_source

        start, end, rate = self.span
        # The source is opened first: whether it can be read is known long before PyTorch is loaded.
        with open_source(job.source, start=start, end=end, rate=None if rate is None else exact_rate(rate)) as source:
            info = source.info
            self.narrator.detail(f"{job.source}: {_describe(info)}")
            model = self._loaded()
            outputs = self._open(job, info)
            with self.narrator.frames(job.source.name, expected_frames(info, start, end)) as bar:
                report = model.write(
                    source, self.procedure, outputs, on_map=lambda frame, report: bar.advance(report.frames)
                )
            if source.cut_short:
                outcome.partial = True
                outcome.error = "the file was cut short: the outputs hold the frames that are there"
        self.narrator.summary(str(job.source), report)
        outcome.summary = report.figures()
        if self.print_paths:
            for target in job.targets:
                print_path(target.path)
        return outcome

    def _open(self, job: Job, info: VideoInfo) -> "list[Output]":
        from vsalient.media import open_output
        from vsalient.segment.thresholds import parse_frame_threshold

        start, end, _ = self.span
        with ExitStack() as undo:
            outputs = []
            for target in job.targets:
                output = open_output(
                    target.kind,
                    target.path,
                    info,
                    source=job.source if job.source.is_file() else None,
                    audio=self.looks.audio,
                    overwrite=self.looks.overwrite,
                    start=start,
                    end=end,
                    color=self.looks.background if target.kind == "foreground" else None,
                    binarise=parse_frame_threshold(self.looks.threshold).binarise,
                    mask_style=self.looks.mask_style,
                )
                undo.callback(output.abort)
                outputs.append(output)
            undo.pop_all()
        return outputs

    def _loaded(self) -> "Model":
        if self.model is None:
            self.model = self.load()
            self.narrator.say(f"{self.model.name} on {self.model.description}")
        return self.model


def _describe(info: VideoInfo) -> str:
    rate = f"{float(info.rate):g} frames/s" if info.rate else "unknown rate"
    turned = f", turned by {info.rotation}°" if info.rotation else ""
    sound = ", with sound" if info.has_audio else ""
    return f"{info.width}x{info.height}, {rate}, {info.codec} {info.pixel_format} {info.color_space}{turned}{sound}"


def _summary(worker: _Worker, procedure: Procedure, outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    model = worker.model
    return {
        "version": __version__,
        "model": model.name if model else None,
        "engine": model.description if model else None,
        "procedure": asdict(procedure),
        "threshold": worker.looks.threshold,
        "seconds": round(seconds, 3),
        "inputs": input_records(outcomes),
        "failed": sum(outcome.error is not None for outcome in outcomes),
    }
