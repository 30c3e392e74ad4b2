"""Which optical flow and which superpixel classifier priors are made with: a package's entry point, a file.

A weights entry names them for inference and a recipe for training (`flow`, `classifier`), so that a network is run on
priors like those it was trained on. Nothing named is `DisFlow` and the untrained measure.
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vsalient.errors import CheckpointError, OptionError
from vsalient.priors.classifier import SuperpixelClassifier
from vsalient.priors.flow import FlowEstimator
from vsalient.priors.stream import PriorStream, prior_stream

GROUP = "vsalient.flow"
"""Entry points of flow estimators: `[project.entry-points."vsalient.flow"] name = "module:Class"`. Called without
arguments, it gives a `vsalient.priors.FlowEstimator`."""


@dataclass(frozen=True, slots=True)
class PriorTools:
    """What priors are made with.

    Attributes:
        flow: name of an installed flow estimator; "" for `DisFlow`.
        classifier: file of a `SuperpixelClassifier` (`vsalient train superpixels`); "" for the untrained measure.
    """

    flow: str = ""
    classifier: str = ""

    def check(self) -> None:
        """Look whether both are there, before any work.

        Raises:
            OptionError: no installed package offers the estimator.
            CheckpointError: no such file.
        """
        if self.flow and self.flow not in installed():
            known = ", ".join(sorted(installed())) or "none is installed"
            raise OptionError(
                f"optical flow '{self.flow}' is unknown: a package offers one by an entry point of {GROUP} ({known})"
            )
        if self.classifier and not Path(self.classifier).is_file():
            raise CheckpointError(
                f"no superpixel classifier at {self.classifier}: vsalient train superpixels makes one"
            )

    def stream(self, names: Sequence[str], *, every: int = 1) -> PriorStream:
        """A stream of the named priors, see `vsalient.priors.prior_stream`.

        Raises:
            OptionError: an unknown prior, or an estimator that cannot be had.
            CheckpointError: the classifier cannot be read.
        """
        flow = flow_estimator(self.flow) if self.flow else None
        classifier = _classifier(self.classifier) if self.classifier and "motion" in names else None
        return prior_stream(names, flow=flow, classifier=classifier, every=every)


@cache
def installed() -> dict[str, importlib.metadata.EntryPoint]:
    """The flow estimators of installed packages by name; none is imported."""
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


@cache
def flow_estimator(name: str) -> FlowEstimator:
    """An installed flow estimator, made once a process.

    Raises:
        OptionError: nobody offers it, or it cannot be made.
    """
    PriorTools(name).check()
    point = installed()[name]
    try:
        made: FlowEstimator = point.load()()
    except Exception as error:
        raise OptionError(f"optical flow {name} ({point.value}): {type(error).__name__}: {error}") from error
    if not callable(made):
        raise OptionError(f"optical flow {name} ({point.value}) gives {type(made).__name__}, which cannot be called")
    return made


@cache
def _classifier(path: str) -> SuperpixelClassifier:
    return SuperpixelClassifier.load(Path(path))
