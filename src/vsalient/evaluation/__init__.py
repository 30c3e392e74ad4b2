"""Compare predictions with the ground truth of a data set: the walk over folders and videos, and the workers.

The numbers themselves are in `vsalient.metrics`.
"""

from vsalient.datasets.presets import PRESETS, Preset
from vsalient.evaluation.dataset import Evaluation, PredictionResult, evaluate

__all__ = ["PRESETS", "Evaluation", "PredictionResult", "Preset", "evaluate"]
