"""What a frame's motion says before a network looks: optical flow, superpixels of it, and maps of what moves.

`prior_stream` computes priors frame by frame with one frame of look-ahead. NumPy and OpenCV only.
"""

from vsalient.priors.between import Between, between_on, carried_between, find_between
from vsalient.priors.camera import Camera, camera_flow, fit_camera
from vsalient.priors.classifier import SuperpixelClassifier
from vsalient.priors.flow import DisFlow, Flow, FlowEstimator
from vsalient.priors.motion import DeepFeatures, MotionPrior, flow_strength
from vsalient.priors.residual import CarriedMean, Residual, residual_maps, residual_motion
from vsalient.priors.stream import Priors, PriorStream, clip_maps, prior_stream
from vsalient.priors.superpixels import flow_superpixels

__all__ = [
    "Between",
    "Camera",
    "CarriedMean",
    "DeepFeatures",
    "DisFlow",
    "Flow",
    "FlowEstimator",
    "MotionPrior",
    "PriorStream",
    "Priors",
    "Residual",
    "SuperpixelClassifier",
    "between_on",
    "camera_flow",
    "carried_between",
    "clip_maps",
    "find_between",
    "fit_camera",
    "flow_strength",
    "flow_superpixels",
    "prior_stream",
    "residual_maps",
    "residual_motion",
]
