"""What predict and segment do with their inputs: find them, plan the outputs, do the work, say what became of it."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsalient.cli.doing import batch_failure
from vsalient.cli.many import Many
from vsalient.cli.shared.choices import Choices
from vsalient.cli.shared.naming import Job, keep_wanted
from vsalient.cli.shared.outcome import input_records
from vsalient.cli.shared.plain import plain, valid
from vsalient.cli.work import Worker
from vsalient.outputs.looks import Looks
from vsalient.procedure import Procedure
from vsalient.scale.agenda import Outcome
from vsalient.version import __version__

if TYPE_CHECKING:
    from vsalient.segment.segmenter import Segmenting, Unsegmented


def start(
    inputs: Sequence[str],
    choices: Choices,
    *,
    name: str,
    endings: dict[str, str],
    procedure: Procedure,
    segmenting: "Segmenting | Unsegmented",
    looks: Looks,
    settings: dict[str, Any],
    maps: Callable[[list[Path]], dict[Path, Path]] | None = None,
) -> int:
    """Find the inputs, plan their outputs, and do the work, or say what it would be.

    Args:
        inputs: what was typed.
        choices: the options, checked.
        name: what `{model}` stands for.
        endings: kind -> file ending, where it is not the usual one.
        procedure: how the model is run.
        segmenting: from maps to masks.
        looks: of the outputs.
        settings: for the JSON summary.
        maps: finds each input's maps made earlier; None where the model makes them.

    Returns:
        The exit code.

    Raises:
        VsalientError: what is wrong with the inputs or outputs, or what ended the batch.
    """
    many, batch, editing = Many.current(), choices.batch, choices.editing
    wanted = editing.wanted()
    sources = editing.sources(many.inputs(inputs, keep_going=batch.keep_going, quiet=batch.quiet))
    outputs = replace(choices.outputs, output=many.output(choices.outputs.output))
    plan = editing.checked(outputs.plan(model=name, endings=endings, skip_existing=batch.skip_existing))
    flags = {"overwrite": batch.overwrite, "skip_existing": batch.skip_existing}
    console = batch.console()
    made = Worker(
        console=console,
        procedure=procedure,
        load=lambda: choices.model.load(console),
        looks=looks,
        span=choices.span.seconds,
        reading=choices.span.reading(),
        segmenting=segmenting,
        wanted=wanted,
        maps=maps(sources) if maps is not None else None,
    )
    if batch.dry_run:
        return show_plan(keep_wanted(plan(sources), **flags), many.ended, as_json=batch.as_json)
    jobs = many.wanted(sources, plan, {"procedure": procedure}, **flags)
    if many.worker:
        from vsalient.cli.serving import serve_requests

        many.split(made)
        return serve_requests(made)
    began = time.perf_counter()
    made.console.begin([job.source for job in jobs if job.targets])
    failure: BaseException | None = None
    try:
        with many.outcomes(made, jobs, keep_going=batch.keep_going) as outcomes:
            for outcome in outcomes:
                many.note(made.console, outcome, print_paths=not batch.as_json)
                if outcome.state == "failed" and (outcome.final or not (batch.keep_going or many.watch)):
                    failure = batch_failure(outcome, alone=len(jobs) == 1)
                    break
    except KeyboardInterrupt as stop:  # Ctrl-C, or a signal to end: what was done is said all the same
        failure = stop
    if batch.as_json:
        summary = {
            "version": __version__,
            "model": made.model.name if made.model else None,
            "engine": made.model.description if made.model else None,
            "procedure": asdict(made.procedure) if made.maps is None else None,
            **settings,
            "seconds": round(time.perf_counter() - began, 3),
            "inputs": input_records(many.ended),
            "failed": sum(outcome.error is not None for outcome in many.ended),
            "interrupted": isinstance(failure, KeyboardInterrupt),
        }
        click.echo(json.dumps(summary, indent=2))
    if failure is not None:
        raise failure
    made.console.table(many.ended)
    return int(any(outcome.error is not None for outcome in many.ended))


def show_plan(jobs: Sequence[Job], failed: Sequence[Outcome], *, as_json: bool) -> int:
    """Say on stdout what would be written where.

    Returns:
        The exit code: 1 if inputs failed already.
    """
    if as_json:
        planned = [
            {
                "input": valid(str(job.source)),
                "outputs": {target.kind: valid(str(target.path)) for target in job.targets},
                "replaced": [target.kind for target in job.targets if target.exists],
            }
            for job in jobs
        ]
        click.echo(json.dumps({"dry_run": True, "inputs": planned, "failed": len(failed)}, indent=2))
        return int(bool(failed))
    for outcome in failed:
        click.echo(f"failed: {plain(outcome.error or outcome.source)}")
    for job in jobs:
        if not job.targets:
            click.echo(f"{plain(str(job.source))}: skipped, its outputs exist")
        for target in job.targets:
            note = " (replaced)" if target.exists else ""
            click.echo(f"{plain(str(job.source))} -> {plain(str(target.path))}{note}")
    return int(bool(failed))
