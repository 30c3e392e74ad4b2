"""`vsalient predict`: videos in, saliency videos, maps and masks out."""

import click

from vsalient.cli.shared.batch import start
from vsalient.cli.shared.choices import Choices, run_options
from vsalient.cli.shared.options import GroupedCommand, option

PREDICT_EXAMPLES = """\b
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


@click.command(
    cls=GroupedCommand,
    epilog=PREDICT_EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@run_options("video")
@option(
    "Output",
    "--threshold",
    metavar="HOW",
    help="How masks are made: adaptive (mean + standard deviation of each map), otsu, or a fixed probability such "
    "as 0.5.  [default: adaptive; the paper's with --protocol paper]",
)
def command(inputs: tuple[str, ...], threshold: str | None, choices: Choices) -> int:
    """Write saliency videos, maps and masks: white where the object is that stands out, black elsewhere.

    INPUT is a video, a folder of frames, a folder of videos, a glob, an address, or - for a film or a list of paths
    on stdin.
    """
    from vsalient.segment.segmenter import Unsegmented
    from vsalient.segment.thresholds import parse_frame_threshold

    choices = choices.checked()
    entry = choices.model.entry()
    procedure = choices.clips.plan(entry)
    chosen = procedure.threshold if threshold is None else threshold
    segmenting = Unsegmented(parse_frame_threshold(chosen).binarise)
    looks, endings = choices.looks(palette=False)
    return start(
        inputs,
        choices,
        name=entry.name,
        endings=endings,
        procedure=procedure,
        segmenting=segmenting,
        looks=looks,
        settings={"threshold": chosen},
    )
