"""Run a row: the network's maps, their scores, and the numbers beside the paper's."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsalient.checkpoints import WeightsEntry, find_entry, sha256_of
from vsalient.datasets.presets import preset_of
from vsalient.errors import DataError
from vsalient.evaluation.dataset import evaluate
from vsalient.evaluation.plan import plan_truth
from vsalient.evaluation.predict import predict_sequences
from vsalient.files import write_whole
from vsalient.procedure import Clips
from vsalient.reproduce.experiment import Experiment, Test
from vsalient.reproduce.hand import Hand, trains
from vsalient.segment.masks import Masks
from vsalient.version import __version__

if TYPE_CHECKING:
    from vsalient.model import Model
    from vsalient.reproduce.making import Made

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What came of a row.

    Attributes:
        key: the row's.
        paper, place, row: as the experiment says.
        network: what ran.
        sequences: how many were measured on, 0 for run times.
        ours: label -> our number.
        theirs: label -> the paper's number, None where it gives none.
        differs: what differs from the paper.
        before: whether an earlier run had done it.
    """

    key: str
    paper: str
    place: str
    row: str
    network: str
    sequences: int
    ours: dict[str, float]
    theirs: dict[str, float | None]
    differs: list[str]
    before: bool = False


def run(experiment: Experiment, hand: Hand, home: Path, say: Say) -> RowOutcome:
    """Run a row, or give what an earlier run of the same with the same weights and data left in `home`.

    A run that was broken off goes on: trainings from their last checkpoint, maps from the last whole sequence.

    Raises:
        VsalientError: one line for whatever does not do.
    """
    if experiment.test is None:
        return _timed(experiment, hand)
    from vsalient.api import load_model

    root = hand.data[experiment.test.dataset]
    # A split that is not there is told before days of training.
    plan_truth(root, preset_of(experiment.test.dataset), hand.split or experiment.test.split, experiment.test.protocol)
    made: Made | None = None
    if trains(experiment, hand):
        from vsalient.reproduce.making import train_network

        assert experiment.training is not None
        made = train_network(experiment.training, hand, home / "training", say)
    loading: dict[str, Any] = {"device": hand.device, "offline": hand.offline}
    source: str | Path = made.file if made else experiment.model
    weights = None if made else hand.weights
    entry = find_entry(source, own_weights=weights is not None)
    test = _test(experiment, hand, root, made)
    paper = bool(entry.protocol) and not entry.stands_for
    settings = Clips(
        overlap=experiment.overlap,
        resolution=hand.resolution or experiment.resolution,
        protocol="paper" if paper else "default",
    )
    file = made.file if made else weights
    ledger = home / "rows" / experiment.paper / experiment.key / "result.json"
    mark = _mark(experiment, test, root, entry, file, settings)
    done = _read(ledger, mark)
    if done is not None:
        return dataclasses.replace(done, before=True)
    network = load_model(source, weights=weights, exact=paper, **loading)
    if not experiment.crf:
        network.entry = dataclasses.replace(network.entry, postprocess=None)
    outcome = _measure(experiment, test, root, network, settings, ledger.parent / f"maps-{mark[:12]}", say)
    differs = [*experiment.differs, *_differences(experiment, hand, test, network.entry, made)]
    outcome = dataclasses.replace(outcome, differs=differs)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    write_whole(ledger, json.dumps({"mark": mark, **dataclasses.asdict(outcome)}, indent=1) + "\n", overwrite=True)
    shutil.rmtree(ledger.parent / f"maps-{mark[:12]}", ignore_errors=True)
    return outcome


def _timed(experiment: Experiment, hand: Hand) -> RowOutcome:
    from vsalient.reproduce.timing import measure_time

    found, network, differs = measure_time(experiment, hand)
    return _outcome(experiment, network, 0, found, [*experiment.differs, *differs])


def _outcome(
    experiment: Experiment, network: str, sequences: int, found: Mapping[str, float], differs: list[str]
) -> RowOutcome:
    return RowOutcome(
        key=experiment.key,
        paper=experiment.paper,
        place=experiment.place,
        row=experiment.row,
        network=network,
        sequences=sequences,
        ours={number.label: float(found[number.result]) for number in experiment.numbers},
        theirs={number.label: number.paper for number in experiment.numbers},
        differs=differs,
    )


def _measure(
    experiment: Experiment,
    test: Test,
    root: Path,
    network: "Model",
    settings: Clips,
    folder: Path,
    say: Say,
) -> RowOutcome:
    entry = network.entry
    maps = predict_sequences(
        network,
        root,
        root,
        folder,
        dataset=test.dataset,
        split=test.split,
        clips=settings,
        masks=Masks(**experiment.masks) if experiment.masks else None,
        resume=True,
        progress=lambda name, done, total: say(f"{experiment.key}: {name}, {done} of {total}"),
        say=say,
    ).folder
    result = evaluate(
        [maps],
        root,
        dataset=test.dataset,
        split=test.split,
        protocol=test.protocol,
        metrics=experiment.metrics,
        frames=root,
        maps=[maps],
    ).predictions[0]
    name = entry.introduction if entry.stands_for else entry.name
    return _outcome(experiment, name, len(result.sequences), result.dataset.results, [])


def _test(experiment: Experiment, hand: Hand, root: Path, made: "Made | None") -> Test:
    """The row's test, or what the user says, and never a sequence that the network was trained on."""
    test = experiment.test
    assert test is not None
    if hand.split is not None:
        return dataclasses.replace(test, split=hand.split)
    seen = set(made.seen.get(test.dataset, ())) if made else set()
    if not seen:
        return test
    names = list(plan_truth(root, preset_of(test.dataset), test.split, test.protocol).tree)
    left = [name for name in names if name not in seen]
    if not left:
        raise DataError(f"{experiment.key}: every sequence of {test.dataset} was trained on; nothing to measure on")
    return test if len(left) == len(names) else dataclasses.replace(test, split=",".join(left))


def _differences(experiment: Experiment, hand: Hand, test: Test, entry: WeightsEntry, made: "Made | None") -> list[str]:
    """What this run did in another way than the paper."""
    said = []
    if entry.stands_for:
        said.append(f"{entry.name} in place of {entry.stands_for}, trained on: {entry.training_data}")
    elif hand.weights is not None and made is None:
        said.append(f"the weights are those of {hand.weights.name}")
    if hand.split is not None:
        said.append(f"measured on the sequences of {Path(hand.split).name}, not on the paper's")
    elif test != experiment.test and test.split:
        said.append(f"measured on the sequences that were not trained on: {test.split.replace(',', ', ')}")
    if hand.resolution:
        said.append(f"network input {hand.resolution}")
    if made is not None:
        assert experiment.training is not None
        if hand.train_on:
            names = ", ".join(Path(origin).name for origin in made.seen)
            wanted = ", ".join(part.dataset for part in experiment.training.data)
            said.append(f"trained on {names} in place of {wanted}")
        if hand.overrides:
            said.append(f"trained with {', '.join(hand.overrides)}")
        if experiment.training.start and hand.init is None:
            said.append(f"training began at random; the paper's with {experiment.training.start}")
    return said


def _mark(
    experiment: Experiment, test: Test, root: Path, entry: WeightsEntry, file: Path | None, settings: Clips
) -> str:
    """What a result depends on, in one hash."""
    weights = sha256_of(file) if file is not None else [entry.name, entry.sha256, entry.revision]
    told: list[Any] = [
        experiment.key,
        repr(test),
        str(root.resolve()),
        weights,
        repr(settings),
        experiment.crf,
        __version__,
    ]
    told.append(dict(experiment.masks))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _read(path: Path, mark: str) -> RowOutcome | None:
    try:
        table = json.loads(path.read_text("utf-8"))
        return RowOutcome(**table) if table.pop("mark") == mark else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
