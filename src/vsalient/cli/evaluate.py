"""`vsalient evaluate`: predictions against ground truth."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsalient.cli.shared.options import GroupedCommand, allow_code, option, options
from vsalient.datasets.presets import PRESETS
from vsalient.errors import OptionError, OutputError
from vsalient.files import write_whole
from vsalient.metrics.catalogue import CATALOGUE, GROUPS, select_metrics
from vsalient.vocabulary import PROTOCOLS

if TYPE_CHECKING:
    from vsalient.evaluation.compare import Spread
    from vsalient.evaluation.dataset import Evaluation
    from vsalient.evaluation.predict import Predicted

TO_STDOUT = "-"

EVALUATE_EXAMPLES = """\b
Examples:
  vsalient evaluate results/3dc-lite DAVIS --dataset davis16
      all metrics on the 20 validation sequences, first and last frames dropped
  vsalient evaluate results/a results/b Annotations --metrics davis --report compare.html
      J and boundary F of two sets of predictions side by side, and a page to look at
  vsalient evaluate maps/ FBMS/Testset --dataset fbms
      ground truth for every 20th frame: the other predictions are passed over
  vsalient evaluate --model 3dc-lite --frames DAVIS/JPEGImages/480p DAVIS --dataset davis16
      run the model first
"""


class EvaluateCommand(GroupedCommand):
    """Lets `--json` and `--csv` stand alone, or take a file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `--json` without a .json file behind it as `--json -`, so that it never eats an argument."""
        written = []
        for at, arg in enumerate(args):
            if arg == "--":
                written += args[at:]
                break
            if arg in ("--json", "--csv"):
                following = args[at + 1] if at + 1 < len(args) else ""
                if following != TO_STDOUT and not following.lower().endswith(arg.replace("--", ".")):
                    arg = f"{arg}={TO_STDOUT}"
            written.append(arg)
        return super().parse_args(ctx, written)


def _refuse_counting(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """What `--protocol` meant here before it meant what it means everywhere."""
    if value in ("davis16", "all-frames"):
        raise OptionError(f"--protocol is how a model is run (default or paper): which frames count is --count {value}")
    if value not in PROTOCOLS:
        raise click.BadParameter(f"'{value}' is not one of {', '.join(PROTOCOLS)}", ctx, parameter)
    return value


_data_options = options(
    option("Data", "--dataset", type=click.Choice(list(PRESETS)), default="custom", show_default=True,
           help="Knows where the ground truth lies, the protocol and the split."),
    option("Data", "--count", type=click.Choice(["davis16", "all-frames"]),
           help="Which frames count; davis16 leaves out the first and the last of each sequence.  [default: as usual "
                "for the data set]"),
    option("Data", "--split", metavar="NAME|FILE|LIST",
           help="The sequences that count: a split of the data set (train, val, test), all, a file with a sequence a "
                "line, or names joined by commas.  [default: the data set's]"),
    option("Data", "--frames", type=click.Path(path_type=Path), metavar="DIR",
           help="The video frames: for --model, for overlays in the report, and to place predicted videos against "
                "sparse ground truth."),
    option("Data", "--fixations", type=click.Path(path_type=Path), metavar="DIR",
           help="Fixation points in the layout of the ground truth, which then holds fixation density maps."),
)  # fmt: skip

_rule_options = options(
    option("Rules", "--metrics", multiple=True, metavar="NAME[,NAME...]",
           help=f"Which ones: {', '.join(CATALOGUE)}; J&F; or a group: {', '.join(GROUPS)}, default, all.  "
                "[default: all but T and Fadp_voxel]"),
    option("Rules", "--missing", type=click.Choice(["error", "zero", "skip"]), default="error", show_default=True,
           help="A frame without a prediction: stop, count an empty map, or leave it out and say so."),
    option("Rules", "--extra", type=click.Choice(["error", "ignore"]),
           help="A prediction without ground truth.  [default: ignore where only some frames have ground truth (fbms, "
                "visal, vos, youtube-vos), else error]"),
    option("Rules", "--size-mismatch", type=click.Choice(["error", "resize"]), default="error", show_default=True,
           help="A prediction of another size: stop, or resize it to the ground truth (bilinear)."),
    option("Rules", "--values", type=click.Choice(["auto", "gray", "labels"]), default="auto", show_default=True,
           help="What pixels mean. auto: predictions are maps (palettes labels), ground truth is labels or a mask, see "
                "docs/evaluate.md; gray: cut at the middle; labels: all above 0 is object."),
    option("Rules", "--objects", is_flag=True,
           help="Score every object of label maps by itself, paired as in DAVIS 2017's unsupervised track (J, F)."),
    option("Rules", "--block", type=click.IntRange(1), default=4, show_default=True, metavar="FRAMES",
           help="Frames of a voxel of Fadp_voxel."),
    option("Rules", "--void", type=click.IntRange(0, 255), metavar="VALUE",
           help="A ground-truth value that marks pixels to leave out, besides 255 in palette masks."),
)  # fmt: skip

_model_options = options(
    option("Model", "--model", metavar="NAME|FILE", callback=allow_code,
           help="Run this network on --frames first and score its maps."),
    option("Model", "--weights", type=click.Path(path_type=Path), metavar="FILE",
           help="Load this file instead of the model's own weights."),
    option("Model", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps",
           help="Where the network runs."),
    option("Model", "--dtype", default="auto", show_default=True,
           type=click.Choice(["auto", "float32", "bfloat16", "float16"]), help="As for predict."),
    option("Model", "--exact", is_flag=True, help="Plain float32, nothing folded or reordered."),
    option("Model", "--flip", is_flag=True, help="The mean with the mirror image's maps."),
    option("Model", "--offline", is_flag=True, help="Never ask the network for weights."),
    option("Model", "--protocol", metavar=f"[{'|'.join(PROTOCOLS)}]", default="default", show_default=True,
           callback=_refuse_counting, help="paper is the procedure of the model's authors."),
    option("Model", "--clip-length", type=int, metavar="FRAMES", help="Frames fed to the network together."),
    option("Model", "--overlap", type=int, metavar="FRAMES",
           help="Frames that neighbouring clips share; one less than the clip length is the dense variant."),
    option("Model", "--tail", type=click.Choice(["shift", "repeat-first", "repeat-last"]),
           help="What happens where frames run out."),
    option("Model", "--resolution", metavar="SIZE",
           help="The network's input: native, short:480, exact:112x112 or area:256x448 (height x width)."),
    option("Model", "--cuts", type=click.Choice(["auto", "off"]), default="auto", show_default=True,
           help="Whether each scene between hard cuts is taken by itself."),
    option("Model", "--keep-maps", type=click.Path(path_type=Path), metavar="DIR",
           help="Keep the network's maps there, as DIR/sequence/00000.png."),
)  # fmt: skip

_output_options = options(
    option("Output", "--json", "json_path", metavar="[FILE.json]",
           help="Everything as JSON, each frame's numbers too; on stdout instead of the tables without a file."),
    option("Output", "--csv", "csv_path", metavar="[FILE.csv]",
           help="A row for the data set and each sequence; on stdout instead of the tables without a file."),
    option("Output", "--table", type=click.Path(path_type=Path), metavar="FILE.md|FILE.tex",
           help="The data set's numbers as a Markdown or LaTeX table, a row for each set of predictions."),
    option("Output", "--column", "columns", multiple=True, metavar="NAME=VALUE[,VALUE...]",
           help="A further column of the tables, such as 'fps=12.1,0.4' or 'params (M)=1.9,28.7': a value for each "
                "set of predictions in their order."),
    option("Output", "--intervals", is_flag=True,
           help="95 % bootstrap intervals over sequences, and for several predictions a paired test against the "
                "first."),
    option("Output", "--report", type=click.Path(path_type=Path), metavar="FILE.html",
           help="One self-contained page with curves, bars, J over time, best and worst frames."),
    option("Running", "-j", "--jobs", type=click.IntRange(1), metavar="N",
           help="Sequences at a time, each in a process.  [default: by cores and work]"),
    option("Running", "-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors."),
)  # fmt: skip


@click.command(
    cls=EvaluateCommand,
    epilog=EVALUATE_EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("paths", nargs=-1, required=True, metavar="[PREDICTIONS...] GROUND_TRUTH")
@_data_options
@_rule_options
@_model_options
@_output_options
def command(
    paths: tuple[str, ...],
    dataset: str,
    count: Any,
    split: str | None,
    frames: Path | None,
    fixations: Path | None,
    metrics: tuple[str, ...],
    missing: Any,
    extra: Any,
    size_mismatch: Any,
    values: Any,
    objects: bool,
    block: int,
    void: int | None,
    model: str | None,
    weights: Path | None,
    device: str,
    dtype: str,
    exact: bool,
    flip: bool,
    offline: bool,
    protocol: Any,
    clip_length: int | None,
    overlap: int | None,
    tail: Any,
    resolution: str | None,
    cuts: Any,
    keep_maps: Path | None,
    json_path: str | None,
    csv_path: str | None,
    table: Path | None,
    columns: tuple[str, ...],
    intervals: bool,
    report: Path | None,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Score saliency maps or masks against ground truth, by the papers' protocols.

    Both are folder trees (sequence/00000.png), flat folders of pictures, or gray videos. Several predictions before
    the ground truth are compared. Every number is explained in docs/evaluate.md.
    """
    _check_asked(paths, model, frames, [json_path, csv_path, report, table])
    if table is not None and table.suffix.lower() not in (".md", ".tex"):
        raise OptionError(f"--table {table}: the ending says what it is; give a .md or a .tex file")
    if objects and report is not None:
        raise OptionError("--report shows one mask a frame; leave it out with --objects")
    further = _columns(columns, len(paths) - 1 + (model is not None))
    names = [name.strip() for entry in metrics for name in entry.split(",") if name.strip()] or ["default"]
    select_metrics(names, fixation=fixations is not None)
    truth, given = Path(paths[-1]), [Path(path) for path in paths[:-1]]

    from vsalient.cli.scoreboard import Scoreboard
    from vsalient.evaluation.dataset import evaluate

    board, predicted = Scoreboard(quiet=quiet), None
    with board, _maps_folder(keep_maps) as folder:
        if model is not None:
            assert frames is not None
            from vsalient.evaluation.predict import predict_sequences
            from vsalient.procedure import Clips

            predicted = predict_sequences(
                model, frames, truth, folder, dataset=dataset, split=split,
                loading={"weights": weights, "device": device, "dtype": dtype, "exact": exact, "flip": flip,
                         "offline": offline},
                clips=Clips(length=clip_length, overlap=overlap, tail=tail, resolution=resolution, cuts=cuts,
                            protocol=protocol),
                progress=board.predicted, say=board.say,
            )  # fmt: skip
            given.append(predicted.folder)
            # What the user gives under these names stands.
            for name, cell in predicted.columns().items():
                further.setdefault(name, ["–"] * (len(given) - 1) + [cell])
        evaluation = evaluate(
            given,
            truth,
            dataset=dataset,
            protocol=count,
            split=split,
            metrics=names,
            missing=missing,
            extra=extra,
            size_mismatch=size_mismatch,
            values=values,
            void_value=void,
            frames=frames,
            fixations=fixations,
            block=block,
            objects=objects,
            maps=given[len(paths) - 1 :],
            jobs=jobs,
            progress=board.scored,
        )
        board.done()
        if report is not None:
            _write_report(evaluation, report, frames)
    spread = _spread_of(evaluation) if intervals else None
    _write_scores(evaluation, json_path, csv_path, spread, predicted)
    if table is not None:
        _write_table(evaluation, table, further)
    if TO_STDOUT not in (json_path, csv_path):
        board.tables(evaluation, further, spread)
    if report is not None:
        board.say(f"Report: {report}")


_MODEL_ONLY = (
    *("weights", "device", "dtype", "exact", "flip", "offline", "protocol", "clip_length", "overlap", "tail"),
    *("resolution", "cuts", "keep_maps"),
)
"""Parameters that say nothing without --model."""


def _check_asked(
    paths: tuple[str, ...], model: str | None, frames: Path | None, written: "Sequence[str | Path | None]"
) -> None:
    """Refuse what cannot work before anything is read."""
    if model is None:
        if len(paths) < 2:
            raise OptionError("give predictions and ground truth, or --model and --frames with the ground truth alone")
        context = click.get_current_context()
        for name in _MODEL_ONLY:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise OptionError(f"--{name.replace('_', '-')} belongs to --model; name a model, or leave it out")
    elif frames is None:
        raise OptionError("--model needs the video frames; give their folder with --frames")
    if list(written).count(TO_STDOUT) > 1:
        raise OptionError("--json and --csv cannot both go to stdout; give one of them a file")
    for path in written:
        if path is not None and path != TO_STDOUT and not Path(path).absolute().parent.is_dir():
            raise OutputError(f"{path} cannot be written: its folder does not exist; make it first")


def _columns(texts: tuple[str, ...], count: int) -> dict[str, list[str]]:
    """Read `NAME=VALUE,VALUE`, one value for each set of predictions."""
    columns = {}
    for text in texts:
        name, sign, values = text.partition("=")
        cells = [value.strip() for value in values.split(",")]
        if not sign or not name.strip() or len(cells) != count:
            raise OptionError(f"--column {text}: write NAME=VALUE with {count} value{'s' if count != 1 else ''}")
        columns[name.strip()] = cells
    return columns


def _spread_of(evaluation: "Evaluation") -> "Spread":
    from vsalient.evaluation.compare import compare, intervals

    sets = [result.sequences for result in evaluation.predictions]
    return [(intervals(one), compare(sets[0], one) if at else {}) for at, one in enumerate(sets)]


def _write_table(evaluation: "Evaluation", path: Path, columns: dict[str, list[str]]) -> None:
    from vsalient.evaluation.text import as_latex, as_markdown

    form = as_markdown if path.suffix.lower() == ".md" else as_latex
    write_whole(path, form(evaluation, columns))


@contextmanager
def _maps_folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="vsalient-maps-") as folder:
        yield Path(folder)


def _write_report(evaluation: "Evaluation", path: Path, frames: Path | None) -> None:
    from vsalient.datasets.layout import find_frames
    from vsalient.report import write_report

    write_report(evaluation, path, frames=None if frames is None else find_frames(frames))


def _write_scores(
    evaluation: "Evaluation",
    json_path: str | None,
    csv_path: str | None,
    spread: "Spread | None",
    predicted: "Predicted | None",
) -> None:
    from vsalient.evaluation.output import as_csv, as_json

    if json_path is not None:
        everything = as_json(evaluation, spread)
        if predicted is not None:
            everything["predictions"][-1]["parameters"] = predicted.parameters
            everything["predictions"][-1]["frames_per_second"] = predicted.frames_per_second
        _put(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", json_path)
    if csv_path is not None:
        _put(as_csv(evaluation), csv_path)


def _put(text: str, path: str) -> None:
    if path == TO_STDOUT:
        sys.stdout.write(text)
        return
    write_whole(Path(path), text)
