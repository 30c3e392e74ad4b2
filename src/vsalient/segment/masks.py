"""How maps are to become masks, in the words of a user, and the steps that these words mean."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from vsalient.errors import OptionError
from vsalient.segment.boundary import TAU, BoundarySnap
from vsalient.segment.contours import ContourDetector, contour_detector
from vsalient.segment.crf import DenseCrf
from vsalient.segment.segmenter import Cleanup, Segmenting
from vsalient.segment.thresholds import parse_threshold

REFINEMENTS = ("none", "boundary", "crf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """What somebody wants of masks; checked when it is planned.

    Attributes:
        threshold: "adaptive", "otsu", "fixed:0.5", "hysteresis:0.3,0.7" or "max-f:FOLDER"; None for the model's.
        scope: whether "adaptive" takes its statistics from one map ("frame") or from all maps of a clip ("clip").
        refine: "boundary", "crf", both joined by a comma or in a list, "none", or "" for what belongs to the model.
            "boundary:NAME" finds contours with an installed package's detector (`vsalient.segment.contours`).
        tau: contour level of "boundary", 0 to 1; None for the usual.
        clean: what is done to masks after the threshold.
        instances: number the objects, with numbers that last over time.
    """

    threshold: str | None = None
    scope: Literal["frame", "clip"] = "frame"
    refine: str | Sequence[str] = ""
    tau: float | None = None
    clean: Cleanup = field(default_factory=Cleanup)
    instances: bool = False

    @property
    def refinements(self) -> list[str]:
        """The refinements asked for, in the order in which they are done.

        Raises:
            OptionError: an unknown one, or "none" beside others.
        """
        names = [name for name, _ in self._asked]
        for name, detector in self._asked:
            if detector is not None and (name != "boundary" or not detector):
                raise OptionError(f"--refine '{name}:{detector}': only boundary takes the name of a contour detector")
            if name not in REFINEMENTS:
                raise OptionError(f"--refine '{name}' is unknown: choose from {', '.join(REFINEMENTS)}")
        if "none" in names and len(set(names)) > 1:
            raise OptionError("--refine none contradicts the others: leave it out")
        return [name for name in REFINEMENTS[1:] if name in names]

    @property
    def _asked(self) -> list[tuple[str, str | None]]:
        """Each refinement, and what stands behind its colon."""
        texts = [self.refine] if isinstance(self.refine, str) else self.refine
        parts = [part.strip().partition(":") for text in texts for part in text.split(",") if part.strip()]
        return [(name, detector if colon else None) for name, colon, detector in parts]

    @property
    def _detector(self) -> ContourDetector | None:
        named = {detector for _, detector in self._asked if detector}
        if len(named) > 1:
            raise OptionError(f"--refine boundary: name one contour detector, not {', '.join(sorted(named))}")
        return contour_detector(named.pop()) if named else None

    def plan(self, threshold: str, clip_length: int) -> Segmenting:
        """The steps.

        Args:
            threshold: the model's own, for who names none.
            clip_length: maps a clip, for the scope "clip".

        Raises:
            OptionError: a value makes no sense, or does not fit the others.
        """
        names = self.refinements
        if self.tau is not None and "boundary" not in names:
            raise OptionError(f"--tau {self.tau:g} is for --refine boundary: give both, or leave it out")
        level = TAU if self.tau is None else self.tau
        return Segmenting(
            threshold=parse_threshold(self.threshold or threshold, scope=self.scope, clip_length=clip_length),
            refine_map=DenseCrf() if "crf" in names else None,
            refine_mask=BoundarySnap(self._detector, tau=level) if "boundary" in names else None,
            cleanup=self.clean,
            instances=self.instances,
        )
