"""What every test leaves behind as it found it."""

import logging
import signal
from collections.abc import Iterator

import pytest

# A shell that runs the tests in the background has Ctrl-C ignored, and children would inherit that: the tests of being
# interrupted start from the usual state.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The verbs set the level of the package's logger for their process; the next test is another process's."""
    logger = logging.getLogger("vsalient")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.propagate = propagate
    logger.handlers[:] = handlers
