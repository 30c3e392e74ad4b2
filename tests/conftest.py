"""What every test leaves behind as it found it."""

import importlib
import logging
import os
import shutil
import signal
from collections.abc import Iterator

import pytest

# A shell that runs the tests in the background has Ctrl-C ignored, and children would inherit that: the tests of being
# interrupted start from the usual state.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Compiling a network takes longer than running it on a test's few frames: tests of OpenVINO ask for it.
os.environ.setdefault("VSALIENT_ENGINE", "torch")

EXTRAS = {
    "ray": ("ray",),
    "serve": ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "httpx"),
    "remote": ("fsspec", "s3fs", "moto.server"),
    "browser": ("playwright.sync_api",),
    "superpixels": ("higra",),
    "heif": ("pillow_heif",),
    "openvino": ("openvino",),
    "onnx": ("onnx", "onnxruntime"),
}
"""Extra that tests may need -> the modules that show it is there."""


def needs(*extras: str) -> None:
    """Skip the calling test module or test where an extra is missing; with `CI` set that is a failure.

    `browser` also needs Debian's chromium, or the one that the variable CHROMIUM names.
    """
    for extra in extras:
        missing = [name for name in EXTRAS[extra] if not _imports(name)]
        if extra == "browser" and not shutil.which(os.environ.get("CHROMIUM", "chromium")):
            missing.append("chromium")
        if missing:
            text = f"{', '.join(missing)} is not installed: see the extra '{extra}' in pyproject.toml, or .ci/run"
            if os.environ.get("CI"):
                pytest.fail(text, pytrace=False)
            pytest.skip(text, allow_module_level=True)


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The verbs set the level of the package's logger for their process; the next test is another process's."""
    logger = logging.getLogger("vsalient")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.propagate = propagate
    logger.handlers[:] = handlers
