"""`vsalient predict`: videos in, saliency videos, maps and masks out."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from vsalient.checkpoints import find_entry
from vsalient.cli.editing import Editing, editing_options
from vsalient.cli.many import Many, many_options
from vsalient.cli.shared.loading import load_with_progress
from vsalient.cli.shared.naming import keep_wanted, parse_kinds, plan_targets
from vsalient.cli.shared.options import (
    GroupedCommand,
    alpha_ending,
    batch_options,
    check_batch_options,
    check_color,
    check_engine_options,
    check_times,
    clip_options,
    look_options,
    model_options,
    option,
    options,
    range_options,
)
from vsalient.cli.work import Reading, Worker, show_plan
from vsalient.outputs.looks import Looks
from vsalient.procedure import plan_procedure

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


_mask_options = options(
    option("Output", "--threshold", metavar="HOW",
           help="How masks are made: adaptive (mean + standard deviation of each map), otsu, or a fixed "
                "probability such as 0.5.  [default: adaptive; the paper's with --protocol paper]"),
)  # fmt: skip


@click.command(
    cls=GroupedCommand,
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@look_options("video")
@_mask_options
@editing_options
@batch_options
@many_options
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
    editing: Editing,
    overwrite: bool,
    skip_existing: bool,
    keep_going: bool,
    as_json: bool,
    dry_run: bool,
    progress: Any,
    quiet: bool,
    verbose: bool,
    model: str,
    weights: Path | None,
    device: str,
    dtype: str,
    engine: str,
    threads: int | None,
    exact: bool,
    flip: bool,
    offline: bool,
    clip_length: int | None,
    overlap: int | None,
    tail: Any,
    interval: int,
    resolution: str | None,
    protocol: Any,
    cuts: Any,
    start: float | None,
    end: float | None,
    rate: float | None,
    every: int,
    limit: int | None,
    deinterlace: str,
) -> int:
    """Write saliency videos, maps and masks: white where the object is that stands out, black elsewhere.

    INPUT is a video, a folder of frames, a folder of videos, a glob, an address, or - for a film or a list of paths
    on stdin.
    """
    many = Many.current()
    check_batch_options(overwrite, skip_existing, quiet, verbose)
    exact = check_engine_options(device, dtype, exact, protocol, engine)
    check_times(start, end, rate)
    reading = Reading(every=every, limit=limit, deinterlace=deinterlace == "auto")
    wanted = parse_kinds(kinds)
    entry = find_entry(model, own_weights=weights is not None)
    procedure = plan_procedure(
        entry,
        protocol=protocol,
        clip_length=clip_length,
        overlap=overlap,
        tail=tail,
        resolution=resolution,
        interval=interval,
        cuts=cuts,
    )
    from vsalient.segment.thresholds import parse_frame_threshold

    chosen = threshold if threshold is not None else procedure.threshold
    binarise = parse_frame_threshold(chosen).binarise
    endings = {"alpha": alpha_ending(alpha_format), "video": ".mkv" if lossless else ".mp4"}
    looks = Looks(
        mask_style=mask_style or ("palette" if protocol == "paper" else "gray"),
        audio=not no_audio,
        background=check_color(background_color),
        **editing.looks(wanted, endings),
    )
    sources, failed = many.inputs(inputs, keep_going=keep_going, quiet=quiet)
    sources = editing.sources(sources)
    name = entry.name
    plan = editing.checked(
        partial(plan_targets, kinds=wanted, output=output, model=name, endings=endings, skip_existing=skip_existing)
    )
    if dry_run:
        jobs = keep_wanted(plan(sources), overwrite=overwrite, skip_existing=skip_existing)
        return show_plan(jobs, failed, as_json=as_json)
    asked = {"procedure": procedure}
    jobs = many.wanted(sources, plan, asked, overwrite=overwrite, skip_existing=skip_existing)

    # Rich and PyTorch are loaded only now, when nothing can be wrong with the options any more.
    from vsalient.cli.shared.console import Console

    console = Console(quiet=quiet, verbose=verbose, progress=progress)
    worker = Worker(
        console=console,
        procedure=procedure,
        load=lambda: load_with_progress(
            console,
            model,
            weights,
            device,
            dtype,
            engine=engine,
            exact=exact,
            flip=flip,
            offline=offline,
            threads=threads,
        ),
        looks=looks,
        overwrite=overwrite,
        span=(start, end, rate),
        reading=reading,
        print_paths=not as_json,
        binarise=binarise,
    )
    return worker.run(jobs, failed, keep_going=keep_going, as_json=as_json, settings={"threshold": chosen})
