"""What becomes of an input in this process, and what its failure is called."""

import contextlib
import logging
import os
import traceback
from collections.abc import Iterator

from vsalient.cli.shared.loading import ModelLoadError
from vsalient.errors import VsalientError, one_line
from vsalient.scale.agenda import Outcome
from vsalient.scale.claims import ClaimLost


@contextlib.contextmanager
def telling(source: str) -> Iterator[Outcome]:
    """An outcome to be filled in within the block. What is warned of is kept in it, and a failure ends the block.

    What nobody foresaw is a failure like any other, its traceback shown by -v.

    Raises:
        ClaimLost: it is no failure of this input.
        Exception: any, where `VSALIENT_DEBUG` is set.
    """
    outcome = Outcome(source, "done")
    logger, collector = logging.getLogger("vsalient"), _Collector(outcome.warnings)
    logger.addHandler(collector)
    try:
        yield outcome
    except ClaimLost:
        raise
    except Exception as error:
        if os.environ.get("VSALIENT_DEBUG"):
            raise
        text = one_line(error)
        if not isinstance(error, VsalientError | OSError):
            text = f"an error that nobody foresaw ({type(error).__name__}: {text}); -v shows where, please report it"
            lasting = "".join(traceback.format_exception(error))
            logger.debug("%s", lasting, extra={"as_it_is": True})
        if not isinstance(error, VsalientError) and source not in text:
            text = f"{source}: {text}"
        outcome.state, outcome.error, outcome.final = "failed", text, isinstance(error, ModelLoadError)
    finally:
        logger.removeHandler(collector)


def batch_failure(outcome: Outcome, *, alone: bool) -> VsalientError:
    """What to raise for the input that ended a batch: it names the input when there are several."""
    text = outcome.error or "failed"
    return VsalientError(text if alone or outcome.final or outcome.source in text else f"{outcome.source}: {text}")


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(" ".join(record.getMessage().split()))
