"""Each paper's network, at reduced width, through its own procedure of weights.toml: every frame gets its map."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from moving_square import scene
from vsalient.checkpoints import registry
from vsalient.engine import Engine
from vsalient.models import build
from vsalient.pipeline import saliency_maps
from vsalient.procedure import plan_procedure
from vsalient.types import Frame

NAMES = ("dsrfcn3d", "conv3dnet", "scnn", "stan")


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_gets_one_map_of_its_size(name):
    torch.manual_seed(0)
    entry = registry()[name]
    network = build(entry.architecture, **entry.config, width=0.0625)
    procedure = plan_procedure(entry)
    if procedure.geometry != "native":  # only the clips' layout matters here, and small pictures are quick
        procedure = dataclasses.replace(procedure, geometry="exact:64x96")
    pixels, _ = scene(6, 72, 100, side=24, step=(0, 3), camera=(0, -1))
    frames = [Frame(p, i, i, Fraction(1, 25)) for i, p in enumerate(pixels)]
    engine = Engine(network, device="cpu", dtype="float32")
    made = list(saliency_maps(frames, engine, procedure, priors=network.priors))
    assert [frame.index for frame, _ in made] == list(range(6))
    for _, saliency in made:
        assert saliency.shape == (72, 100) and saliency.dtype == np.float32
        assert saliency.min() >= 0 and saliency.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_counts_right(name):
    entry = registry()[name]
    with torch.device("meta"):
        network = build(entry.architecture, **entry.config)
    assert entry.parameters == sum(p.numel() for p in network.parameters())
