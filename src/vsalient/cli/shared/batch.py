"""What predict and segment do with their inputs: find them, plan the outputs, do the work, say what became of it."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsalient.cli.editing import Editing
from vsalient.cli.many import Many
from vsalient.cli.shared.choices import BatchChoice, OutputChoice
from vsalient.cli.shared.naming import Job, keep_wanted
from vsalient.cli.shared.outcome import Outcome, input_records
from vsalient.cli.shared.plain import plain, valid
from vsalient.cli.work import Worker
from vsalient.procedure import Procedure
from vsalient.version import __version__

if TYPE_CHECKING:
    from vsalient.cli.shared.console import Console


def start(
    inputs: Sequence[str],
    outputs: OutputChoice,
    editing: Editing,
    batch: BatchChoice,
    *,
    name: str,
    endings: dict[str, str],
    worker: Callable[["Console", list[Path]], Worker],
    procedure: Procedure,
    settings: dict[str, Any],
) -> int:
    """Find the inputs, plan their outputs, and do the work, or say what it would be.

    Args:
        inputs: what was typed.
        outputs: where they go.
        editing: the editors' choices.
        batch: how the batch goes.
        name: what `{model}` stands for.
        endings: kind -> file ending, where it is not the usual one.
        worker: makes the worker for these inputs.
        procedure: how the model is run.
        settings: for the JSON summary.

    Returns:
        The exit code.

    Raises:
        VsalientError: what is wrong with the inputs or outputs, or what ended the batch.
    """
    many = Many.current()
    sources, failed = many.inputs(inputs, keep_going=batch.keep_going, quiet=batch.quiet)
    sources = editing.sources(sources)
    outputs = replace(outputs, output=many.output(outputs.output))
    plan = editing.checked(outputs.plan(model=name, endings=endings, skip_existing=batch.skip_existing))
    flags = {"overwrite": batch.overwrite, "skip_existing": batch.skip_existing}
    made = worker(batch.console(), sources)
    if batch.dry_run:
        return show_plan(keep_wanted(plan(sources), **flags), failed, as_json=batch.as_json)
    jobs = many.wanted(sources, plan, {"procedure": procedure}, **flags)
    if many.worker:
        from vsalient.cli.serving import serve_requests

        many.split(made)
        return serve_requests(made)
    began = time.perf_counter()
    made.console.begin([job.source for job in jobs if job.targets])
    outcomes = list(failed)
    failure: BaseException | None
    try:
        failure = many.run(made, jobs, outcomes, keep_going=batch.keep_going)
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
            "inputs": input_records(outcomes),
            "failed": sum(outcome.error is not None for outcome in outcomes),
            "interrupted": isinstance(failure, KeyboardInterrupt),
        }
        click.echo(json.dumps(summary, indent=2))
    if failure is not None:
        raise failure
    made.console.table(outcomes)
    return int(any(outcome.error is not None for outcome in outcomes))


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
