"""`vsalient segment`: videos or saliency maps in, object masks out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from vsalient.cli.shared.batch import start
from vsalient.cli.shared.choices import Choices, Span, gather, run_options
from vsalient.cli.shared.options import GroupedCommand, option, options
from vsalient.errors import InputError, OptionError
from vsalient.outputs.kinds import KINDS

if TYPE_CHECKING:
    from vsalient.segment.masks import Masks

SEGMENT_EXAMPLES = """\b
Examples:
  vsalient segment holiday.mp4
      masks as PNGs in holiday_masks/, by the default model
  vsalient segment DAVIS/JPEGImages/480p -w masks --mask-style palette -o 'masks/{stem}'
      a DAVIS tree: masks/bear/00000.png, masks/bus/00000.png, ...
  vsalient segment holiday.mp4 --refine boundary --min-area 0.1% --fill-holes --largest 1
      cleaner masks of the one main object
  vsalient segment holiday.mp4 --maps holiday_maps/ --threshold hysteresis:0.3,0.7 -w contours,json
      from maps that predict wrote, without running a model again
  vsalient segment --maps holiday_saliency.mp4 -w coco --instances
      no frames needed where no step looks at colours
"""

_masks_options = options(
    option("Masks", "--threshold", metavar="HOW",
           help="adaptive (mean + standard deviation of each map), otsu, fixed:0.5, hysteresis:LOW,HIGH over space "
                "and time, or max-f:GROUND_TRUTH for analysis.  [default: adaptive; the paper's with --protocol "
                "paper]"),
    option("Masks", "--threshold-scope", type=click.Choice(["frame", "clip"]), default="frame", show_default=True,
           help="Whether adaptive takes its statistics from one map or from all maps of a clip."),
    option("Masks", "--refine", multiple=True, metavar="none|boundary[:NAME]|crf",
           help="boundary snaps masks to superpixels of a contour map (:NAME of an installed detector), crf sharpens "
                "maps with a dense CRF; both may be given.  [default: none, or what belongs to the model]"),
    option("Masks", "--tau", type=float, metavar="LEVEL",
           help="Contour level of --refine boundary: higher gives larger superpixels.  [default: 0.15]"),
    option("Masks", "--median", type=int, default=1, metavar="FRAMES",
           help="Let each pixel take what it is in most of so many frames around, against flicker."),
    option("Masks", "--min-area", default="0", metavar="PIXELS|P%", help="Remove parts that are smaller."),
    option("Masks", "--fill-holes", is_flag=True, help="Fill holes."),
    option("Masks", "--largest", type=int, metavar="N", help="Keep only the N largest parts of each frame."),
    option("Masks", "--instances", is_flag=True,
           help="Split masks into objects whose numbers last over time (palette masks, coco, csv, json)."),
)  # fmt: skip
_maps_option = option(
    "Input", "--maps", multiple=True, metavar="FOLDER|VIDEO",
    help="Use these maps instead of running a model: PNGs or a gray video, for several inputs a folder that has them "
         "under the inputs' names. Without INPUT, any number of them are the inputs.",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskChoice:
    """How maps become masks; the attributes are named like the options."""

    threshold: str | None
    threshold_scope: Literal["frame", "clip"]
    refine: tuple[str, ...]
    tau: float | None
    median: int
    min_area: str
    fill_holes: bool
    largest: int | None
    instances: bool

    def masks(self) -> "Masks":
        """The same, read and partly checked.

        Raises:
            OptionError: a value makes no sense.
        """
        from vsalient.segment.masks import Masks
        from vsalient.segment.segmenter import Cleanup

        area = _area(self.min_area)
        clean = Cleanup(median=self.median, min_area=area, fill=self.fill_holes, largest=self.largest)
        return Masks(
            threshold=self.threshold,
            scope=self.threshold_scope,
            refine=self.refine,
            tau=self.tau,
            clean=clean,
            instances=self.instances,
        )


@click.command(
    cls=GroupedCommand,
    epilog=SEGMENT_EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("inputs", nargs=-1, metavar="[INPUT...]")
@_masks_options
@run_options("masks")
@_maps_option
@gather(masks=MaskChoice)
@click.pass_context
def command(
    ctx: click.Context, inputs: tuple[str, ...], maps: tuple[str, ...], masks: MaskChoice, choices: Choices
) -> int:
    """Turn videos, or saliency maps made earlier, into object masks.

    INPUT is a video, a folder of frames, a folder of videos, a glob, an address, or - for a film or a list of paths
    on stdin.
    """
    choices = choices.checked()
    wanted, asked = choices.outputs.wanted, masks.masks()
    refinements = asked.refinements
    if not inputs and not maps:
        raise click.UsageError("Give INPUT..., or --maps with maps made earlier.")
    if maps:
        _check_maps(ctx, inputs, maps, [kind for kind in wanted if KINDS[kind].colour], refinements, choices.span)
    entry = choices.model.entry()
    procedure = choices.clips.plan(entry)
    if asked.refine:  # what the user says of refinement replaces what belongs to the model
        procedure = replace(procedure, postprocess=None)
    segmenting = asked.plan(procedure.threshold, (choices.clips.length or 4) if maps else procedure.clip_length)
    looks, endings = choices.looks(palette=asked.instances)
    if asked.instances and looks.mask_style == "gray" and "masks" in wanted:
        raise OptionError("gray masks cannot hold object numbers: leave out --mask-style gray or --instances")

    def made(sources: list[Path]) -> dict[Path, Path]:
        return _pair_maps(sources, Path(maps[0]).expanduser()) if inputs else {source: source for source in sources}

    return start(
        inputs or maps,
        choices,
        name="maps" if maps else entry.name,
        endings=endings,
        procedure=procedure,
        segmenting=segmenting,
        looks=looks,
        maps=made if maps else None,
        settings={
            "threshold": segmenting.threshold.spec,
            "refine": refinements,
            **asdict(asked.clean),
            "instances": asked.instances,
        },
    )


def _check_maps(
    ctx: click.Context,
    inputs: Sequence[str],
    maps: Sequence[str],
    in_colour: Sequence[str],
    refinements: Sequence[str],
    span: Span,
) -> None:
    for name in ("model", "weights", "flip"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise OptionError(f"--maps takes the place of a model: leave out --{name} or --maps")
    if span.start is not None or span.end is not None:
        raise OptionError("--start and --end do not go with --maps: give the maps and frames of the part you want")
    if inputs and len(maps) > 1:
        raise OptionError(
            f"{len(maps)} --maps are too many beside INPUT: give one folder that has the maps of all inputs"
        )
    colourful = [f"--refine {name}" for name in refinements] + [f"-w {kind}" for kind in in_colour]
    if colourful and not inputs:
        raise OptionError(f"{colourful[0]} needs the frames: give them as INPUT beside --maps")


def _area(text: str) -> float:
    """`--min-area` as pixels, or as a share of the frame below 1."""
    number, percent, rest = text.strip().partition("%")
    try:
        area = float(number) / 100 if percent else float(int(number))
    except ValueError:
        area = -1.0
    if rest or area < 0 or (percent and not area < 1):
        raise OptionError(f"--min-area '{text}' is neither pixels nor a percentage: give for example 200 or 0.1%")
    return area


def _pair_maps(sources: list[Path], maps: Path) -> dict[Path, Path]:
    """Find each input's maps: `maps` itself for one input, else what is named like the input inside it, or after it.

    Raises:
        InputError: there are none, or several that would fit.
        DataError: the same, of names made by a template.
    """
    from vsalient.cli.shared.naming import stem_of

    if not maps.exists():
        raise InputError(f"{maps} does not exist; give --maps a folder of maps or a gray video.")
    own = {source.resolve() for source in sources}
    inside = [entry for entry in maps.iterdir() if entry.resolve() not in own] if maps.is_dir() else []
    found: dict[Path, Path] = {}
    named: dict[str, Path] | None = None
    for source in sources:
        stem = stem_of(source)
        names = (stem, f"{stem}_maps", f"{stem}_saliency")
        fitting = [entry for entry in inside if stem_of(entry) in names and _has_frames(entry)]
        if len(fitting) > 1:
            raise InputError(f"{fitting[0]} and {fitting[1]} could both be the maps of {source}; remove one.")
        if fitting:
            found[source] = fitting[0]
            continue
        if len(sources) == 1 and _has_frames(maps):
            found[source] = maps
            continue
        named = _named_by_template(sources, maps) if named is None else named
        if stem not in named:
            raise InputError(
                f"{maps} holds no maps of {source}; they must be called {' or '.join(names)}, or as one template of "
                "-o names them all."
            )
        found[source] = named[stem]
    return found


def _named_by_template(sources: Sequence[Path], maps: Path) -> "dict[str, Path]":
    """Stem -> the maps that `-o` put below a folder under a name made of it, found as `evaluate` finds predictions."""
    from vsalient.cli.shared.naming import stem_of
    from vsalient.datasets.layout import find_partner, find_tree

    try:
        tree = find_tree(maps, "maps")
    except InputError:
        return {}
    own = {path.resolve() for path in sources}
    kinds = [kind for kind in KINDS.values() if kind.name not in ("maps", "video")]
    others = tuple(f"_{word}" for kind in kinds for word in (kind.label, kind.name))
    tree = {name: one for name, one in tree.items() if one.path.resolve() not in own and not name.endswith(others)}
    stems = {stem_of(path) for path in sources}
    partners = {stem: find_partner(stem, stems, tree) for stem in stems}
    return {stem: partner.path for stem, partner in partners.items() if partner is not None}


def _has_frames(path: Path) -> bool:
    from vsalient.media.images import list_images

    return path.is_file() or bool(list_images(path))
