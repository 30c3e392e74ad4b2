"""`vsalient train RECIPE --data ...`: run a recipe, or look at what it would do; and the verbs around training."""

import dataclasses
import importlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vsalient.cli.shared import complete
from vsalient.cli.shared.loading import rest_soon

if TYPE_CHECKING:
    from vsalient.training.loop import Trainer
    from vsalient.training.recipe import Recipe
    from vsalient.training.sources import PairSource

TRAIN_VERBS = {
    "export": ("vsalient.cli.export", "Make a model of a finished run: safetensors, registry entry, model card."),
    "pack": ("vsalient.cli.train_pack", "Pack data sets into tar shards of a size that travels."),
    "superpixels": ("vsalient.cli.train_superpixels", "Train the superpixel classifier of SCNN's and STAN's prior."),
    "weak-labels": ("vsalient.cli.weak_labels", "Fuse saliency maps of several sources into training masks."),
}
"""Verb below `train` -> (module that defines a click command named `command`, one line for the help)."""


class TrainCommand(click.Command):
    """A command that takes a recipe, and hands over to one of `TRAIN_VERBS` in the recipe's place."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        """Parse the arguments of this command, or of the verb that they begin with."""
        if args and args[0] in TRAIN_VERBS:
            command = importlib.import_module(TRAIN_VERBS[args[0]][0]).command
            assert isinstance(command, click.Command)
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent=parent)
        return super().make_context(info_name, args, parent=parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the verbs."""
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in TRAIN_VERBS.items()])


@click.command(cls=TrainCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("recipe", required=False, shell_complete=complete.recipes)
@click.option(
    "--data",
    "data",
    multiple=True,
    metavar="[soft:]PATH[:SPLIT][=WEIGHT]",
    help="A tar shard or data-set folder, its training part unless :SPLIT says another (val, test, trainval, all); "
    "repeat to mix, =WEIGHT to say how often it is drawn from, soft: where its masks are probabilities × 255.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of runs; each recipe gets its own below it.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the recipe.")
@click.option(
    "--init", metavar="FILE", help="Begin from these weights instead of the recipe's; mean:FILE,FILE averages."
)
@click.option("--allow-test", is_flag=True, help="Let validation and test parts of known data sets be trained on.")
@click.option("--all-data", is_flag=True, help="Train on the held-out sequences too; nothing is left to validate on.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on from the run's last checkpoint.")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), help="Stop and save after this time; run again to go on."
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps", help="Where to train.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads for the network.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that make clips. [default: all cores but one for a GPU, else 1]",
)
@click.option("--dry-run", is_flag=True, help="Count the data, write a contact sheet of clips, and stop.")
@click.option("--list", "listing", is_flag=True, help="Name the built-in recipes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of a table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    recipe: str | None,
    data: tuple[str, ...],
    out: Path,
    overrides: tuple[str, ...],
    init: str | None,
    allow_test: bool,
    all_data: bool,
    resume: bool,
    minutes: float | None,
    device: str,
    threads: int | None,
    workers: int | None,
    dry_run: bool,
    listing: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a network from RECIPE: a built-in name or a TOML file.

    A run leaves its weights, a checkpoint to resume from, log.csv and run.json in OUT/NAME. Several processes or GPUs:
    torchrun --nproc-per-node N -m vsalient train RECIPE --data ...

    \b
    vsalient train --list
    vsalient train 3dc-lite --data DUTS-TR --data DAVIS
    vsalient train 3dc-lite-video --data DAVIS --dry-run
    vsalient train 3dc-lite-video --data DAVIS --minutes 30
    vsalient train export runs/3dc-lite-video --out mine
    """
    from vsalient.training.recipe import built_in, load_recipe, load_stages

    if listing:
        for name in built_in():
            click.echo(name)
        return
    if recipe is None:
        raise click.UsageError("Give a RECIPE: " + ", ".join(built_in()) + ", or a TOML file.")
    if not data:
        raise click.UsageError("Give at least one --data PATH.")
    loaded = load_recipe(recipe, overrides)
    stages = load_stages(loaded, overrides)
    if all_data:
        stages = [dataclasses.replace(stage, held_out=()) for stage in stages]
    sources = _open_data(data, allow_test, quiet)
    if dry_run:
        _dry_run(stages, sources, out, as_json)
        return
    rest_soon()
    import torch

    from vsalient.training import processes

    kind = processes.training_device(device).type
    if workers is None:
        workers = processes.default_workers(kind)
    if threads:
        torch.set_num_threads(threads)
    previous: str | None = init
    made: dict[str, str] = {}
    results = []
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    try:
        for stage in stages:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) / 60
            if len(stages) > 1 and stage.follows:
                previous = ",".join(made[name] for name in stage.follows)
                previous = f"mean:{previous}" if len(stage.follows) > 1 else previous
            weights, trainer = _run_stage(stage, sources, out, device, workers, resume, previous, quiet, left)
            made[stage.name] = previous = str(weights)
            score = round(trainer.best, 4) if trainer.best >= 0 else None
            results.append({"recipe": stage.name, "weights": previous, "steps": trainer.step, "J": score})
            if trainer.step < stage.steps:
                break
    finally:
        processes.leave()
    if int(os.environ.get("RANK", "0")) == 0:
        click.echo(json.dumps(results) if as_json else "\n".join(str(r["weights"]) for r in results))


def _open_data(data: tuple[str, ...], allow_test: bool, quiet: bool) -> "list[PairSource]":
    from vsalient.datasets.spec import parse_spec
    from vsalient.training.sources import open_pairs

    sources = [open_pairs(parse_spec(text), allow_test=allow_test) for text in data]
    for source in sources:
        if source.note and not quiet and int(os.environ.get("RANK", "0")) == 0:
            click.echo(f"{source.origin}: {source.note} sequences", err=True)
    return sources


def _run_stage(
    stage: "Recipe",
    sources: "list[PairSource]",
    out: Path,
    device: str,
    workers: int,
    resume: bool,
    init: str | None,
    quiet: bool,
    minutes: float | None = None,
) -> "tuple[Path, Trainer]":
    from vsalient.cli.train_console import TrainingConsole
    from vsalient.training.loop import Trainer
    from vsalient.training.runs import Record, describe_data, describe_hardware, read_record, write_record

    folder = out / stage.name
    trainer = Trainer(stage, sources, folder, device=device, workers=workers, resume=resume, init=init)
    console = TrainingConsole(stage.name, stage.steps, trainer.step, quiet=quiet or trainer.rank != 0)
    millions = sum(p.numel() for p in trainer.network.parameters()) / 1e6
    console.line(
        f"{millions:.2f} M parameters on {trainer.device} in {trainer.precision} ({trainer.why}), "
        f"{trainer.stills.sequences} stills, {trainer.videos.sequences} videos, "
        f"{sum(len(s.names) for s in trainer.held_out)} held out, from step {trainer.step}"
    )
    with console.running():
        before = read_record(folder) if trainer.step else None
        record = Record(
            data=describe_data([source.select(drop=stage.held_out) for source in sources]),
            init=before.init if before else init or stage.init,
            hardware=describe_hardware(trainer.device, trainer.world),
            seconds=before.seconds if before else 0.0,
            sequences={source.origin: source.select(drop=stage.held_out).names for source in sources},
            held_out={source.origin: source.names for source in trainer.held_out},
        )
        begun = time.monotonic()
        if trainer.rank == 0:
            write_record(folder, stage, record)
        try:
            weights = trainer.run(console.report, minutes=minutes)
        finally:
            if trainer.rank == 0:
                spent = round(record.seconds + time.monotonic() - begun, 1)
                write_record(folder, stage, dataclasses.replace(record, seconds=spent))
    if trainer.step < stage.steps:
        console.line(f"stopped after step {trainer.step} of {stage.steps}; run it again to go on")
    return weights, trainer


def _dry_run(stages: "list[Recipe]", sources: "list[PairSource]", out: Path, as_json: bool) -> None:
    from vsalient.training.contact import contact_sheet
    from vsalient.training.data import ClipStream
    from vsalient.training.sources import Mixture, split_stills

    rows = []
    for stage in stages:
        parts = [split_stills(source.select(drop=stage.held_out)) for source in sources]
        stills, videos = Mixture([p[0] for p in parts]), Mixture([p[1] for p in parts])
        held = sum(len(s.select(keep=stage.held_out).names) for s in sources) if stage.held_out else 0
        sheet = out / stage.name / "contact-sheet.png"
        picture = contact_sheet(ClipStream(stills, videos, stage.clips, seed=stage.seed))
        sheet.parent.mkdir(parents=True, exist_ok=True)
        picture.save(sheet)
        rows.append(
            {
                "recipe": stage.name,
                "stills": stills.sequences,
                "videos": videos.sequences,
                "video_frames": videos.frames,
                "held_out": held,
                "clips": stage.steps * stage.batch * stage.accumulate,
                "contact_sheet": str(sheet),
            }
        )
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(
            f"{row['recipe']}: {row['stills']} stills, {row['videos']} videos ({row['video_frames']} frames), "
            f"{row['held_out']} sequences held out, {row['clips']} clips to train on; see {row['contact_sheet']}"
        )
