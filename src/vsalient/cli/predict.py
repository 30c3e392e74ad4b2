"""`vsalient predict`: videos in, saliency videos, maps and masks out."""

import click

from vsalient.cli.editing import Editing, editing_options
from vsalient.cli.many_options import many_options
from vsalient.cli.shared.batch import start
from vsalient.cli.shared.choices import BatchChoice, ModelChoice, OutputChoice, Span, gather
from vsalient.cli.shared.options import (
    GroupedCommand,
    batch_options,
    clip_options,
    look_options,
    model_options,
    option,
    options,
    range_options,
)
from vsalient.cli.work import Worker
from vsalient.procedure import Clips

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
@gather(outputs=OutputChoice, batch=BatchChoice, model=ModelChoice, clips=Clips, span=Span)
def command(
    inputs: tuple[str, ...],
    threshold: str | None,
    editing: Editing,
    outputs: OutputChoice,
    batch: BatchChoice,
    model: ModelChoice,
    clips: Clips,
    span: Span,
) -> int:
    """Write saliency videos, maps and masks: white where the object is that stands out, black elsewhere.

    INPUT is a video, a folder of frames, a folder of videos, a glob, an address, or - for a film or a list of paths
    on stdin.
    """
    batch.check()
    model = model.checked(clips.protocol)
    span.check()
    wanted, endings = outputs.wanted, outputs.endings()
    entry = model.entry()
    procedure = clips.plan(entry)
    from vsalient.segment.thresholds import parse_frame_threshold

    chosen = procedure.threshold if threshold is None else threshold
    binarise = parse_frame_threshold(chosen).binarise
    looks = outputs.looks(palette=clips.protocol == "paper", **editing.looks(wanted, endings))
    return start(
        inputs,
        outputs,
        editing,
        batch,
        name=entry.name,
        endings=endings,
        worker=lambda console, sources: Worker(
            console=console,
            procedure=procedure,
            load=lambda: model.load(console),
            looks=looks,
            overwrite=batch.overwrite,
            span=span.seconds,
            reading=span.reading(),
            print_paths=not batch.as_json,
            binarise=binarise,
        ),
        procedure=procedure,
        settings={"threshold": chosen},
    )
