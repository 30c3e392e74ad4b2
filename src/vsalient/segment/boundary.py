"""Boundary snapping (dsrfcn3d §4): contours, an ultrametric contour map, superpixels, and their majority vote."""

from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vsalient.errors import MissingDependencyError, OptionError
from vsalient.segment.contours import ContourDetector, ContourMap, GradientContours
from vsalient.types import MaskArray, Pixels

TAU = 0.15
"""The level at which the paper cuts its ultrametric contour map."""

RegionLabels = NDArray[np.int64]
"""(H, W) region numbers, 0 to count − 1."""


class ContourHierarchy:
    """All segmentations of one image that its contours support, from watershed basins up to the whole image.

    Basins of the contour map are merged in order of the mean contour strength along their common boundary
    (Arbeláez et al. 2011): the level at which two pixels join is ultrametric, so a higher cut only merges
    regions. The paper's combinatorial grouping also fuses such hierarchies over three image scales; here
    there is one.
    """

    def __init__(self, contours: ContourMap) -> None:
        """Build the hierarchy of a contour map (H, W) in [0, 1].

        Raises:
            MissingDependencyError: higra is not installed.
        """
        higra = _higra()
        self._higra = higra
        self._graph = higra.get_4_adjacency_graph(contours.shape)
        weights = higra.weight_graph(self._graph, contours, higra.WeightFunction.mean)
        self._basins = higra.labelisation_watershed(self._graph, weights)
        self._regions: Any = higra.make_region_adjacency_graph_from_labelisation(self._graph, self._basins)
        self._tree: Any = None
        if self._regions.num_edges():
            ones = np.ones(weights.shape, dtype=np.float64)
            lengths = higra.rag_accumulate_on_edges(self._regions, higra.Accumulators.sum, ones)
            means = higra.rag_accumulate_on_edges(self._regions, higra.Accumulators.mean, weights)
            merged = higra.binary_partition_tree_average_linkage(self._regions, means, lengths)
            self._tree, self._levels = merged

    def superpixels(self, tau: float) -> RegionLabels:
        """Return the regions of the map binarised at `tau`: parts whose common contour is weaker are one."""
        if self._tree is None:
            return np.zeros(self._basins.shape, dtype=np.int64)
        nodes = self._higra.labelisation_horizontal_cut_from_threshold(self._tree, self._levels, tau)
        _, parts = np.unique(nodes, return_inverse=True)
        labels: RegionLabels = self._higra.rag_back_project_vertex_weights(self._regions, parts)
        return labels

    def contour_map(self) -> ContourMap:
        """Return the ultrametric contour map (H, W): a pixel's strongest contour with its right or lower neighbour."""
        result = np.zeros(self._basins.shape, dtype=np.float32)
        if self._tree is None:
            return result
        between = self._higra.saliency(self._tree, self._levels, handle_rag=True)
        sources, targets = self._graph.edge_list()[:2]
        np.maximum.at(result.reshape(-1), np.minimum(sources, targets), between.astype(np.float32))
        return result


class BoundarySnap:
    """Replaces a mask by the superpixels that lie in it for the greater part.

    Frames of more than `work_pixels` pixels are segmented at that size, the one τ is set for, and the mask is
    enlarged.
    """

    def __init__(
        self, detector: ContourDetector | None = None, *, tau: float = TAU, work_pixels: int = 110_000
    ) -> None:
        """Take the detector (`GradientContours` by default), the cut in [0, 1] and the size to work at.

        Raises:
            OptionError: `tau` is outside [0, 1] or `work_pixels` is not positive.
            MissingDependencyError: higra is not installed.
        """
        if not 0.0 <= tau <= 1.0:
            raise OptionError(f"Superpixel level {tau:g} is outside 0 to 1; the paper uses 0.15.")
        if work_pixels < 1:
            raise OptionError(f"A working size of {work_pixels} pixels is not possible; give 1 or more.")
        _higra()
        self.detector: ContourDetector = GradientContours() if detector is None else detector
        self.tau = tau
        self.work_pixels = work_pixels

    def __call__(self, pixels: Pixels, mask: MaskArray) -> MaskArray:
        """Return the snapped mask, (H, W) bool, of (H, W, 3) uint8 pixels and an (H, W) bool mask.

        Raises:
            OptionError: the two sizes differ.
        """
        if pixels.shape[:2] != mask.shape:
            raise OptionError(
                f"The frame is {pixels.shape[1]}x{pixels.shape[0]} but its mask is "
                f"{mask.shape[1]}x{mask.shape[0]}; boundary snapping needs both at one size."
            )
        # Nothing to vote about, and the hierarchy is what costs.
        if not mask.any() or mask.all():
            return mask.copy()
        height, width = mask.shape
        shrink = min(1.0, float(np.sqrt(self.work_pixels / (height * width))))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        inside = mask.astype(np.float32)
        if size != (width, height):
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            inside = np.asarray(cv2.resize(inside, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
        # Shares of the mask are voted with, not a small mask: at the small size half a pixel would already be lost.
        snapped = majority(ContourHierarchy(self.detector(pixels)).superpixels(self.tau), inside)
        if size == (width, height):
            return snapped
        enlarged = cv2.resize(snapped.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged) >= 0.5


def majority(labels: RegionLabels, inside: NDArray[np.float32] | MaskArray) -> MaskArray:
    """Return the union, (H, W) bool, of the regions that are inside for more than half of their area.

    `inside` is (H, W): each pixel's share of the mask, in [0, 1].
    """
    flat = labels.reshape(-1)
    area = np.bincount(flat)
    votes = np.bincount(flat, inside.reshape(-1).astype(np.float64))
    chosen: MaskArray = (votes > 0.5 * area)[labels]
    return chosen


def _higra() -> ModuleType:
    """Import higra on use: it is an extra."""
    try:
        import higra
    except ImportError:
        raise MissingDependencyError(
            "Boundary snapping needs the package higra; install it with: pip install 'vsalient[superpixels]'"
        ) from None
    return higra  # type: ignore[no-any-return]
