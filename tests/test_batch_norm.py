"""Batch norms that papers' networks take for training from random weights, and that the engine folds away."""

from typing import Any

import pytest
import torch

from vsalient import models
from vsalient.engine import fold_batch_norms
from vsalient.models.network import describe

SMALL: dict[str, dict[str, Any]] = {
    "dsrfcn3d": {"width": 0.125},
    "scnn": {"width": 0.125},
    "stan": {"width": 0.125, "refine_stride": 4},
}


@pytest.mark.parametrize("architecture", SMALL)
def test_folded_network_is_the_papers_own(architecture: str) -> None:
    torch.manual_seed(0)
    plain = models.build(architecture, **SMALL[architecture])
    network = models.build(architecture, **SMALL[architecture], batch_norm=True)
    contract = describe(network)
    clip = torch.rand(1, 3, 4, 32, 48)
    priors = {name: torch.rand(1, 1, 4, 32, 48) for name in contract.priors}
    for _ in range(3):  # statistics that are not those of a fresh norm
        contract.training_outputs(clip, **priors)
    network.eval()
    with torch.no_grad():
        before = network(clip, **priors)
        assert fold_batch_norms(network) > 10
        after = network(clip, **priors)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert not [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d)]
    assert [p.shape for p in network.parameters()] == [p.shape for p in plain.parameters()]
