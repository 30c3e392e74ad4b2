"""Which optical flow and which superpixel classifier priors are made with: a package's entry point, a file.

A weights entry names them for inference and a recipe for training (`flow`, `classifier`), so that a network is run on
priors like those it was trained on. Nothing named is `DisFlow` and the untrained measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vsalient.entry_points import check_offered, made
from vsalient.errors import CheckpointError
from vsalient.priors.classifier import SuperpixelClassifier
from vsalient.priors.flow import FlowEstimator
from vsalient.priors.stream import PriorStream, prior_stream

FLOW_GROUP = "vsalient.flow"
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
        if self.flow:
            check_offered(FLOW_GROUP, self.flow, "optical flow")
        if self.classifier and not Path(self.classifier).is_file():
            raise CheckpointError(
                f"no superpixel classifier at {self.classifier}: vsalient train superpixels makes one"
            )

    def stream(self, names: Sequence[str], *, levels: Sequence[int] = (), every: int = 1) -> PriorStream:
        """A stream of the named priors, see `vsalient.priors.prior_stream`.

        Raises:
            OptionError: an unknown prior, or an estimator that cannot be had.
            CheckpointError: the classifier cannot be read.
        """
        flow = flow_estimator(self.flow) if self.flow else None
        classifier = _classifier(self.classifier) if self.classifier and "motion" in names else None
        return prior_stream(names, flow=flow, classifier=classifier, levels=levels, every=every)


def flow_estimator(name: str) -> FlowEstimator:
    """An installed flow estimator, made once a process.

    Raises:
        OptionError: nobody offers it, or it cannot be made.
    """
    estimator: FlowEstimator = made(FLOW_GROUP, name, "optical flow")
    return estimator


@cache
def _classifier(path: str) -> SuperpixelClassifier:
    return SuperpixelClassifier.load(Path(path))
