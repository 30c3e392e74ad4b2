"""`vsalient reproduce`: a paper's rows, run, with the paper's numbers beside ours."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsalient.cli.shared.options import GroupedCommand, option, options
from vsalient.errors import OptionError, VsalientError

if TYPE_CHECKING:
    from vsalient.reproduce.experiment import Experiment
    from vsalient.reproduce.hand import Hand
    from vsalient.reproduce.running import RowOutcome

PAPER_NAMES = ("dsrfcn3d", "conv3dnet", "3dc-seg", "scnn", "stan")
REPRODUCE_EXAMPLES = """\b
Examples:
  vsalient reproduce --list --data davis16=DAVIS
      every row of every paper, and what it lacks
  vsalient reproduce 3dc-seg --table 4 --data davis16=DAVIS
      the paper's own weights on DAVIS 2016 val, both rows of the table
  vsalient reproduce dsrfcn3d --table 4 --row dsfcn3d-davis --data davis16=DAVIS --train --train-on DUTS-TR --train-on DAVIS
      an ablation: its network is trained first, on other stills than the paper's
  vsalient reproduce scnn --quick
      a row in seconds on a made-up set, to see that all of it works
"""  # noqa: E501 - a command one can copy

_row_options = options(
    option("Rows", "--table", "tables", multiple=True, metavar="N", help="Only this table, such as 4 or 2a."),
    option("Rows", "--figure", "figures", multiple=True, metavar="N", help="Only this figure, such as 5 or 7a."),
    option("Rows", "--row", "rows", multiple=True, metavar="ROW", help="Only this row, as --list names it."),
    option("Rows", "--list", "listing", is_flag=True, help="Say which rows can run with what is at hand; run none."),
    option("Rows", "--quick", is_flag=True,
           help="Run the first row on a made-up set with a tiny network: seconds, and numbers that mean nothing."),
)  # fmt: skip
_hand_options = options(
    option("At hand", "--data", multiple=True, metavar="NAME=PATH",
           help="A data set's own root folder; the name may be left out where the folder's says it."),
    option("At hand", "--weights", type=click.Path(path_type=Path), metavar="FILE",
           help="Weights of the paper's network, in place of the registry's."),
    option("At hand", "--split", metavar="NAME|FILE|LIST",
           help="Measure on these sequences, as of evaluate, in place of the paper's."),
    option("At hand", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps",
           help="Where networks run and are trained."),
    option("At hand", "--offline", is_flag=True, help="Never ask the network for weights."),
)  # fmt: skip
_train_options = options(
    option("Training", "--train", is_flag=True,
           help="Train the networks of rows that need it, by the paper's schedule: days on a GPU."),
    option("Training", "--train-on", multiple=True, metavar="[soft:]PATH[:SPLIT][=WEIGHT]",
           help="Train on this in place of the paper's data sets."),
    option("Training", "--init", metavar="FILE", help="The weights that training begins with, as of train --init."),
    option("Training", "--set", "overrides", multiple=True, metavar="KEY=VALUE",
           help="Override a value of every recipe, such as steps=1000."),
    option("Training", "--minutes", type=click.FloatRange(0, min_open=True),
           help="Stop a training after this time; the same command goes on."),
)  # fmt: skip
_result_options = options(
    option("Output", "-o", "--out", type=click.Path(path_type=Path), default=Path("reproduced"), show_default=True,
           help="Where trainings and results live; what is done there is not done again."),
    option("Output", "--json", "as_json", is_flag=True, help="One JSON list on stdout instead of text."),
    option("Output", "-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors."),
)  # fmt: skip


@click.command(
    cls=GroupedCommand,
    epilog=REPRODUCE_EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.argument("paper", required=False, type=click.Choice(PAPER_NAMES))
@_row_options
@_hand_options
@_train_options
@_result_options
def command(
    paper: str | None,
    tables: tuple[str, ...],
    figures: tuple[str, ...],
    rows: tuple[str, ...],
    listing: bool,
    quick: bool,
    data: tuple[str, ...],
    weights: Path | None,
    split: str | None,
    device: str,
    offline: bool,
    train: bool,
    train_on: tuple[str, ...],
    init: str | None,
    overrides: tuple[str, ...],
    minutes: float | None,
    out: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the experiments of a paper, and print our numbers beside the paper's, with what differs.

    A row that lacks data or weights is one line that says which; the exit code is 1 if no row ran, or one failed.
    """
    from vsalient.reproduce.hand import Hand, parse_data
    from vsalient.reproduce.papers import choose_rows

    if paper is None and not (listing or quick):
        raise OptionError(f"say which paper: {', '.join(PAPER_NAMES)}; or --list")
    if not train and (train_on or init or overrides or minutes):
        raise OptionError("--train-on, --init, --set and --minutes belong to --train; add it, or leave them out")
    if weights is not None and not weights.is_file():
        raise OptionError(f"--weights {weights}: there is no such file")
    places = tuple(f"table-{n}" for n in tables) + tuple(f"fig-{n}" for n in figures)
    chosen = [one for name in ([paper] if paper else PAPER_NAMES) for one in choose_rows(name, places, rows)]
    if quick:
        return _quick(chosen, device, as_json, quiet)
    hand = Hand(
        data=parse_data(data),
        weights=weights,
        train=train,
        train_on=train_on,
        overrides=overrides,
        init=init,
        split=split,
        device=device,
        minutes=minutes,
        offline=offline,
    )
    if listing:
        _list(chosen, hand, as_json)
        return 0
    return _run_rows(chosen, hand, out, as_json, quiet)


def _list(chosen: "list[Experiment]", hand: "Hand", as_json: bool) -> None:
    from vsalient.reproduce.hand import lacking

    told = [(one, lacking(one, hand)) for one in chosen]
    if as_json:
        click.echo(json.dumps([{"paper": one.paper, "row": one.key, "lacks": lacks} for one, lacks in told], indent=1))
        return
    wide = max(len(one.key) for one, _ in told)
    for at, (one, lacks) in enumerate(told):
        if at == 0 or told[at - 1][0].paper != one.paper:
            click.echo(one.paper)
        click.echo(f"  {one.key:{wide}}  {f'needs {lacks}' if lacks and not one.missing else lacks or 'can run'}")


def _run_rows(chosen: "list[Experiment]", hand: "Hand", out: Path, as_json: bool, quiet: bool) -> int:
    from vsalient.reproduce.hand import lacking
    from vsalient.reproduce.running import run

    done: list[RowOutcome] = []
    told: list[dict[str, Any]] = []
    failed = 0
    for experiment in chosen:
        name = f"{experiment.paper} {experiment.key}"
        why = lacking(experiment, hand)
        if why:
            why = f"{name}: {why}" if experiment.missing else f"{name}: needs {why}"
        else:
            try:
                done.append(run(experiment, hand, out, lambda text: _say(text, quiet)))
                told.append(dataclasses.asdict(done[-1]))
                if not as_json:
                    click.echo(shown_row(done[-1]))
                continue
            except VsalientError as error:
                failed += 1
                why = f"{name}: {error}"
        told.append({"paper": experiment.paper, "key": experiment.key, "error": why})
        click.echo(why, err=True)
    if as_json:
        click.echo(json.dumps(told, indent=1))
    return int(failed > 0 or not done)


def _quick(chosen: "list[Experiment]", device: str, as_json: bool, quiet: bool) -> int:
    """The first row of each paper that can be trained."""
    from vsalient.reproduce.quick import SAID, make_set, shrink
    from vsalient.reproduce.running import run

    first: dict[str, Experiment] = {}
    for one in chosen:
        if one.training is not None and not one.missing:
            first.setdefault(one.paper, one)
    if not first:
        why = chosen[0].missing or "it trains no network"
        raise OptionError(f"{chosen[0].key} cannot run quickly: {why}")
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="vsalient-reproduce-") as folder:
        made = make_set(Path(folder) / "set")
        for one in first.values():
            small, hand = shrink(one, made, device)
            outcome = run(small, hand, Path(folder) / "out", lambda text: _say(text, quiet))
            outcomes.append(dataclasses.replace(outcome, differs=[SAID]))
            if not as_json:
                click.echo(shown_row(outcomes[-1]))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(outcome) for outcome in outcomes], indent=1))
    return 0


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        click.echo(text, err=True)


def shown_row(outcome: "RowOutcome") -> str:
    """A row for people: our numbers beside the paper's, then what differs."""
    plural = "" if outcome.sequences == 1 else "s"
    before = ", done before" if outcome.before else ""
    title = f"{outcome.paper}, {outcome.place}, {outcome.row}"
    count = f", {outcome.sequences} sequence{plural}" if outcome.sequences else ""
    lines = [f"{title}: {outcome.network}{count}{before}"]
    wide = max(map(len, outcome.ours))
    lines.append(f"  {'':{wide}}    ours   paper")
    for label, ours in outcome.ours.items():
        paper = outcome.theirs[label]
        lines.append(f"  {label:{wide}}  {ours:6.3f}  {'     -' if paper is None else f'{paper:6.3f}'}")
    lines += [f"  differs: {text}" for text in outcome.differs]
    return "\n".join(lines)
