"""One task in this process, and what its failure is called."""

import contextlib
import logging
import os
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vsalient.cli.shared.loading import ModelLoadError
from vsalient.cli.shared.naming import Job
from vsalient.cli.shared.outcome import Outcome
from vsalient.errors import VsalientError
from vsalient.scale.agenda import Result, Task
from vsalient.scale.claims import ClaimLost

if TYPE_CHECKING:
    from vsalient.cli.work import Worker


def work_here(worker: "Worker", job: Job, task: Task, done: dict[str, Outcome], errors: dict[str, Exception]) -> Result:
    """Do a task in this process."""
    worker.overwrite = task.redo
    with _warnings() as lines:
        try:
            outcome = worker.work(job)
        except ClaimLost:
            raise
        except Exception as error:
            errors[task.source] = error
            return failed(task.source, error, lines)
    done[task.source] = outcome
    engine = None if worker.model is None else worker.model.description
    return Result(task.source, outcome.state, outcome.error, outcome.summary, lines, engine)


def failed(source: str, error: Exception, lines: list[str]) -> Result:
    """The result of an input that failed. What nobody foresaw is a failure like any other, its traceback shown by -v.

    Raises:
        Exception: that error, where `VSALIENT_DEBUG` is set.
    """
    if os.environ.get("VSALIENT_DEBUG"):
        raise error
    text = " ".join(str(error).split())
    if not isinstance(error, VsalientError | OSError):
        text = f"an error that nobody foresaw ({type(error).__name__}: {text}); -v shows where, please report it"
        lasting = "".join(traceback.format_exception(error))
        logging.getLogger("vsalient").debug("%s", lasting, extra={"as_it_is": True})
    return Result(source, "failed", text, warnings=lines, final=isinstance(error, ModelLoadError))


def batch_failure(result: Result, error: Exception | None, *, alone: bool) -> Exception:
    """What to raise for the input that ended a batch: it names the input when there are several."""
    text = result.error or "failed"
    if isinstance(error, VsalientError) and (alone or isinstance(error, ModelLoadError) or result.source in text):
        return error
    failure = VsalientError(text if result.source in text else f"{result.source}: {text}")
    failure.__cause__ = error
    return failure


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect what the library warns of, beside showing it."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(" ".join(record.getMessage().split()))

    collector = Collector(logging.WARNING)
    logger = logging.getLogger("vsalient")
    logger.addHandler(collector)
    try:
        yield lines
    finally:
        logger.removeHandler(collector)
