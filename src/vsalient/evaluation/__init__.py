"""Compare predictions with the ground truth of a data set: the walk over folders and videos, and the workers.

The numbers themselves are in `vsalient.metrics`.
"""

from vsalient.evaluation.dataset import Evaluation, PredictionResult, evaluate
from vsalient.evaluation.presets import PRESETS, Preset

__all__ = ["PRESETS", "Evaluation", "PredictionResult", "Preset", "evaluate"]
