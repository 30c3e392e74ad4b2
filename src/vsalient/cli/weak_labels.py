"""`vsalient train weak-labels SOURCE... --out DIR`: saliency maps of several sources, fused into training masks."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsalient.errors import DataError, InputError, OptionError, OutputError

if TYPE_CHECKING:
    from vsalient.datasets.layout import Tree
    from vsalient.training.weak_labels import Fusion, MapSource, Written


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where the data set goes.")
@click.option("--truth", type=click.Path(path_type=Path), metavar="DIR", help="Ground truth to learn the weights on.")
@click.option("--weights", metavar="A,B,...|FILE", help="One weight a source, or the weights.json of another run.")
@click.option(
    "--frames", type=click.Path(path_type=Path), metavar="DIR", help="The pictures, linked into the data set."
)
@click.option("--erase", type=click.Path(path_type=Path), metavar="FILE", help="Sequences, frames and boxes to erase.")
@click.option("--iterations", type=click.IntRange(1), default=1, show_default=True, help="Rounds of --retrain.")
@click.option(
    "--retrain", metavar="COMMAND", help="Trains on {labels}, writes maps to {predictions}; then fuses again."
)
@click.option(
    "--init", default="scratch", show_default=True, metavar="FILE", help="Weights that {init} names in the first round."
)
@click.option("--overwrite", is_flag=True, help="Replace labels that are in DIR.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of a table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    sources: tuple[Path, ...],
    out: Path,
    truth: Path | None,
    weights: str | None,
    frames: Path | None,
    erase: Path | None,
    iterations: int,
    retrain: str | None,
    init: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make training masks from saliency maps: a weighted sum of the SOURCEs, cut by Otsu's threshold.

    A SOURCE is a folder of maps, SEQUENCE/FRAME.png (as `vsalient predict --write maps` leaves them) or flat, best one
    of another model each. With --truth the weights are those that fit the ground truth best; frames that have ground
    truth keep it. Without, all sources weigh the same. After SCNN (Tang et al. 2018), Algorithm 1, Eq. 7 and 8.

    DIR becomes a data set in DAVIS layout for `vsalient train --data DIR`: Annotations, weights.json and, with
    --frames, JPEGImages. With --retrain there is one such data set a round, DIR/round-0 and so on. A round goes on from
    the weights of the one before: the command begins at {init} and leaves its weights in the file {weights}, which is
    the next round's {init}.

    \b
    vsalient train weak-labels maps/a maps/b maps/c --truth DAVIS/Annotations/480p --frames frames --out weak
    vsalient train weak-labels maps/a maps/b --out weak --iterations 3 \
        --retrain "sh retrain.sh {labels} {predictions} {init} {weights}"
    """
    from vsalient.training.erasing import EraseList
    from vsalient.training.weak_labels import write_fusion

    if weights and truth:
        raise OptionError("--weights and --truth exclude each other; the weights are either given or learnt")
    if retrain and "{predictions}" not in retrain:
        raise OptionError(f"--retrain {retrain!r} must name {{predictions}}, the folder it leaves its maps in")
    if retrain and "{init}" in retrain and "{weights}" not in retrain and iterations > 1:
        raise OptionError(f"--retrain {retrain!r} must name {{weights}}, the file that the next round's {{init}} is")
    if init != "scratch" and "{init}" not in (retrain or ""):
        raise OptionError(f"--init {init} is what {{init}} stands for in --retrain, which does not name it")
    if iterations > 1 and not retrain:
        raise OptionError(f"--iterations {iterations} needs --retrain, the command that trains between two rounds")
    maps = _MapFolders(sources)
    labelled = maps.truth(truth) if truth else None
    rounds = []
    for number in range(iterations + 1 if retrain else 1):
        place = out / f"round-{number}" if retrain else out
        if number and retrain:
            predictions = place / "predictions"
            trained = place / "weights.pt"
            _retrain(retrain, out / f"round-{number - 1}", predictions, init, trained, number)
            if "{init}" in retrain and number < iterations:
                if not trained.is_file():
                    raise DataError(
                        f"--retrain left no weights at {trained} ({{weights}}): round {number + 1} needs them"
                    )
                init = str(trained)
            maps.add_model(predictions)
        fusion = _weights(maps.sources, labelled, weights if not number else None)
        lines = erase.read_text("utf-8", "replace").splitlines() if erase and _is_file(erase) else []
        _free(place, overwrite)
        write_fusion(fusion, place / "weights.json")
        target = place / "Annotations"
        with _progress(maps.sources[0], quiet) as report:
            written = _write_labels(maps.sources, fusion, target, labelled, EraseList(lines, origin=str(erase)), report)
        if frames:
            _link_frames(frames, target, place / "JPEGImages")
        rounds.append(_told(place, fusion, written))
        if not as_json:
            _print(rounds[-1])
    if as_json:
        click.echo(json.dumps(rounds if retrain else rounds[0], indent=2, ensure_ascii=False))


class _MapFolders:
    """The sources, whose sequences and frames go by the names that the first one has."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.trees: list[tuple[Path, Tree]] = [(folder, _tree(folder, "saliency maps")) for folder in folders]
        self.sources = [self._source(folder, tree) for folder, tree in self.trees]
        self.fixed = len(self.sources)

    def add_model(self, folder: Path) -> None:
        """Take the retrained network's maps in, in the place of the last round's."""
        self.sources[self.fixed :] = [self._source(folder, _tree(folder, "maps of --retrain"))]

    def truth(self, folder: Path) -> "MapSource":
        """Ground truth as a source: 0 and 1."""
        import numpy as np

        from vsalient.datasets.layout import Folder
        from vsalient.datasets.masks import read_truth

        tree = _tree(folder, "ground truth")
        # FBMS writes its colours on white.
        white = {stored.path for stored in tree.values() if isinstance(stored, Folder) and stored.background == "white"}

        def read(paths: tuple[Path, ...]) -> Any:
            return read_truth(paths, background="white" if paths[0].parent in white else None).mask.astype(np.float32)

        return self._source(folder, tree, read)

    def _source(self, folder: Path, tree: "Tree", read: Any = None) -> "MapSource":
        import numpy as np

        from vsalient.datasets.layout import Folder, find_partner
        from vsalient.datasets.masks import read_map
        from vsalient.datasets.names import match_frames
        from vsalient.training.weak_labels import MapSource

        first = self.trees[0][1]
        files: dict[str, dict[str, tuple[Path, ...]]] = {}
        for name, stored in first.items():
            partner = find_partner(name, first, tree)
            if isinstance(stored, Folder) and isinstance(partner, Folder):
                names = match_frames(list(stored.frames), list(partner.frames))
                files[name] = {frame: partner.frames[other] for frame, other in names.items()}

        def read_gray(paths: tuple[Path, ...]) -> Any:
            return read_map(paths[0]).astype(np.float32) / 255

        decode = read or read_gray
        frames = {name: list(found) for name, found in files.items()}
        return MapSource(str(folder), frames, lambda sequence, frame: decode(files[sequence][frame]))


def _tree(folder: Path, what: str) -> "Tree":
    from vsalient.datasets.layout import Video, find_tree
    from vsalient.datasets.presets import Preset

    truth = Preset("labels", "ground truth", ("Annotations/480p", "Annotations")) if what == "ground truth" else None
    tree = find_tree(folder, what, truth)
    videos = [name for name, stored in tree.items() if isinstance(stored, Video)]
    if videos:
        raise InputError(f"{what} {folder}: {videos[0] or folder.name} is a video; give folders of PNG maps")
    return tree


def _weights(sources: "Sequence[MapSource]", truth: "MapSource | None", given: str | None) -> "Fusion":
    from vsalient.training.weak_labels import given_weights, learn_weights

    if truth is not None:
        return learn_weights(sources, truth)
    if given is None:
        return given_weights(sources)
    try:
        text = Path(given).read_text("utf-8") if given.endswith(".json") else None
        values = json.loads(text)["weights"] if text is not None else [float(part) for part in given.split(",")]
        return given_weights(sources, [float(value) for value in values])
    except (OSError, ValueError, KeyError, TypeError):
        raise OptionError(f"--weights {given}: write numbers as 0.5,0.3,0.2, or name a weights.json") from None


def _is_file(path: Path) -> bool:
    if not path.is_file():
        raise InputError(f"--erase {path} is no file; write one sequence, sequence/frame or box a line")
    return True


def _free(place: Path, overwrite: bool) -> None:
    """Make room: labels of before would mix with the new ones. Only what this verb wrote is ever removed."""
    filled = [f for f in (place / "Annotations", place / "JPEGImages") if f.is_dir() and any(f.iterdir())]
    if filled and not overwrite:
        raise OutputError(f"{filled[0]} is not empty; give another --out, or --overwrite")
    if filled and not (place / "weights.json").is_file():
        raise OutputError(f"{filled[0]} was not made by weak-labels (no weights.json beside it); give another --out")
    try:
        for folder in filled:
            shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"cannot empty {place}: {error.strerror}; give another --out") from error


def _retrain(command: str, labels: Path, predictions: Path, init: str, weights: Path, number: int) -> None:
    """Run the user's command; its output goes to stderr, since stdout is for our result."""
    values = {"{labels}": labels, "{predictions}": predictions, "{init}": init, "{weights}": weights}
    values["{iteration}"] = str(number)
    words = shlex.split(command)
    for mark, value in values.items():
        words = [word.replace(mark, str(value)) for word in words]
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.unlink(missing_ok=True)  # of a run before: they must not pass for this round's
    except OSError as error:
        raise OutputError(f"cannot write to {weights.parent}: {error.strerror}; give another --out") from error
    click.echo(f"round {number}: {shlex.join(words)}", err=True)
    try:
        done = subprocess.run(words, stdout=2, check=False)
    except OSError as error:
        raise OptionError(f"--retrain: cannot run {words[0]}: {error.strerror}") from None
    if done.returncode:
        raise DataError(
            f"--retrain ended with exit code {done.returncode} in round {number}; the labels are in {labels}"
        )


def _link_frames(frames: Path, labels: Path, target: Path) -> None:
    """Put the picture of every label beside it, as a hard link where the system can."""
    from vsalient.datasets.layout import Folder, find_partner, find_tree
    from vsalient.datasets.names import match_frames

    wanted, pictures = find_tree(labels, "labels"), find_tree(frames, "frames")
    for name, stored in wanted.items():
        found = find_partner(name, wanted, pictures)
        if not isinstance(stored, Folder) or not isinstance(found, Folder):
            raise DataError(f"--frames {frames} has no pictures of sequence {name or labels}; give the right folder")
        names = match_frames(list(stored.frames), list(found.frames))
        missing = [frame for frame in stored.frames if frame not in names]
        if missing:
            raise DataError(f"--frames {frames} lacks {len(missing)} pictures of {name or 'the folder'}: {missing[0]}")
        (target / name).mkdir(parents=True, exist_ok=True)
        for frame, other in names.items():
            picture = found.frames[other][0]
            place = target / name / f"{frame}{picture.suffix}"
            try:
                os.link(picture, place)
            except OSError:
                shutil.copyfile(picture, place)


@contextlib.contextmanager
def _progress(source: "MapSource", quiet: bool) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("labels", total=sum(len(frames) for frames in source.frames.values()))
        yield lambda sequence, frame: bar.update(task, advance=1, description=sequence or "labels")


def _write_labels(
    sources: "Sequence[MapSource]", fusion: "Fusion", folder: Path, truth: "MapSource | None", erase: Any, report: Any
) -> "Written":
    from vsalient.training.weak_labels import write_labels

    return write_labels(sources, fusion, folder, truth=truth, erase=erase, report=report)


def _told(place: Path, fusion: "Fusion", written: "Written") -> dict[str, Any]:
    alone: Sequence[float | None] = fusion.alone or [None] * len(fusion.sources)
    return {
        "data": str(place),
        "sources": [
            {"source": name, "weight": weight, "squared_error": error}
            for name, weight, error in zip(fusion.sources, fusion.weights, alone, strict=True)
        ],
        "squared_error": fusion.fused,
        "labelled_frames": fusion.frames,
        "weak": written.weak,
        "manual": written.manual,
        "erased": written.erased,
        "empty": written.empty,
    }


def _print(told: dict[str, Any]) -> None:
    for source in told["sources"]:
        error = "" if source["squared_error"] is None else f"   squared error {source['squared_error']:.4f}"
        click.echo(f"{source['weight']:.3f}  {source['source']}{error}")
    if told["squared_error"] is not None:
        click.echo(
            f"1.000  fused, on {told['labelled_frames']} labelled frames   squared error {told['squared_error']:.4f}"
        )
    click.echo(
        f"{told['data']}: {told['weak']} weak and {told['manual']} manual labels; "
        f"{told['erased']} erased, {told['empty']} without an object"
    )
