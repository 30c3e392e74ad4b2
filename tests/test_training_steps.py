"""Fast training steps: the same losses and gradients as the plain ones, in every network, and safe in bfloat16."""

import subprocess
import sys

import pytest
import torch

from vsalient import models
from vsalient.models.network import describe
from vsalient.training import fast
from vsalient.training.losses import deep_supervision
from vsalient.training.optimiser import freeze, training_mode
from vsalient.training.recipe import recipe_from_dict

NETWORKS = {
    "lite3dc": ({"channels": [8, 8, 8, 8, 8]}, 2, (32, 64)),
    "lite3dc still": ({"channels": [8, 8, 8, 8, 8]}, 1, (32, 64)),
    "lite3dc separable still": ({"channels": [8, 8, 8, 8, 8], "separable": True, "gated": True}, 1, (32, 64)),
    "seg3dc lite0 still": ({"encoder": "lite0", "decoder_width": 8}, 1, (32, 64)),
    "seg3dc": ({"depths": [1, 1, 1, 1], "base_width": 4, "decoder_width": 8}, 2, (32, 64)),
    "dsrfcn3d": ({"width": 0.03125}, 4, (32, 32)),
    "conv3dnet": ({"width": 0.03125}, 3, (32, 32)),
    "scnn": ({"width": 0.03125, "dropout": 0.0}, 2, (32, 48)),
    "stan": ({"width": 0.03125, "dropout": 0.0}, 4, (32, 32)),
}


def losses_of(architecture, freeze_norm, *, prepared, frozen=()):
    """The loss of one clip, the gradients and the batch norms' statistics after it."""
    config, frames, (height, width) = NETWORKS[architecture]
    # A still's coarsest map has two positions: in float32 its batch norms would blow rounding up.
    dtype = torch.float64 if architecture.endswith("still") else torch.float32
    architecture = architecture.split()[0]
    target = {"conv3dnet": "middle", "stan": "last"}.get(architecture, "all")
    table = {"name": "x", "architecture": architecture, "config": config, "freeze_norm": freeze_norm,
             "clips": {"frames": frames, "size": [height, width], "target": target},
             "optimiser": {"frozen": list(frozen)}}  # fmt: skip
    recipe = recipe_from_dict(table, "test")
    torch.manual_seed(0)
    network = models.build(architecture, **config)
    for module in network.modules():  # statistics and scales that a fold would notice
        if getattr(module, "running_var", None) is not None:
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    network.to(dtype)
    freeze(network, recipe)
    keys = list(network.state_dict())
    if prepared:
        fast.prepare(network)
    assert list(network.state_dict()) == keys
    training_mode(network, recipe)
    torch.manual_seed(1)
    clip = torch.rand(2, 3, frames, height, width)
    truth = (torch.rand(2, 1, 1 if target != "all" else frames, height, width) > 0.7).to(dtype)
    clip = clip.to(dtype)
    priors = {name: torch.rand(2, 1, frames, height, width).to(dtype) for name in describe(network).priors}
    loss = deep_supervision(describe(network).training_outputs(clip, **priors), truth, {"cross-entropy": 1.0}, [1.0])
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.eval()
    with torch.no_grad():
        shown = describe(network).forward(clip, **priors)
    return loss.item(), gradients, {k: v.clone() for k, v in network.state_dict().items()}, shown


@pytest.mark.parametrize("freeze_norm", ["none", "encoder", "all"])
@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_a_prepared_network_learns_the_same(architecture, freeze_norm):
    plain = losses_of(architecture, freeze_norm, prepared=False)
    quick = losses_of(architecture, freeze_norm, prepared=True)
    assert quick[0] == pytest.approx(plain[0], rel=1e-5)
    assert quick[1].keys() == plain[1].keys()
    # In float32 a ReLU's input near 0 may fall to the other side: gradients agree as vectors, not number by number.
    whole = torch.cat([g.flatten() for g in plain[1].values()]).norm()
    for name, gradient in plain[1].items():
        assert (quick[1][name] - gradient).norm() <= 0.02 * gradient.norm() + 1e-4 * whole, name
    for key, value in plain[2].items():
        assert torch.allclose(quick[2][key].float(), value.float(), rtol=1e-4, atol=1e-5), key
    assert torch.allclose(quick[3], plain[3], rtol=1e-3, atol=1e-4)


def test_folding_takes_place_only_where_a_norm_is_fixed():
    network = models.build("lite3dc", channels=(8, 8, 8, 8, 8))
    fast.prepare(network)
    recipe = recipe_from_dict({"name": "x", "freeze_norm": "encoder"}, "test")
    training_mode(network, recipe)
    x = torch.rand(1, 32, 8, 8)
    fixed, moving = network.encoder.stem.norm, network.fine_mix.norm
    assert fixed(x) is x
    y = torch.rand(2, moving.num_features, 2, 8, 8)
    assert moving(y) is not y
    network.eval()
    assert moving(y) is y


def test_frozen_parts_record_nothing_and_get_no_gradients():
    frozen = ["encoder.stem.", "encoder.stages.0.", "encoder.stages.1."]
    plain = losses_of("lite3dc", "encoder", prepared=False, frozen=frozen)
    quick = losses_of("lite3dc", "encoder", prepared=True, frozen=frozen)
    assert quick[0] == pytest.approx(plain[0], rel=1e-5)
    assert quick[1].keys() == plain[1].keys() and not any(n.startswith("encoder.stem") for n in quick[1])


STEP = """
import sys, torch
from vsalient import models
from vsalient.models.network import describe
from vsalient.training.recipe import recipe_from_dict
from vsalient.training.steps import Stepper
architecture, config, frames, height, width, target = eval(sys.argv[1])
recipe = recipe_from_dict({"name": "x", "architecture": architecture, "config": config, "freeze_norm": "none",
    "clips": {"frames": frames, "size": [height, width], "target": target}}, "test")
torch.manual_seed(0)
network = models.build(architecture, **config)
stepper = Stepper(network, recipe, torch.device("cpu"), "bfloat16")
clip = torch.randint(0, 256, (2, 3, frames, height, width), dtype=torch.uint8)
priors = {name: torch.rand(2, 1, frames, height, width) for name in describe(network).priors}
soft = torch.zeros(2, frames, dtype=torch.bool)
batch = clip, clip[:, :1], priors, torch.zeros(2, dtype=torch.bool), soft, ~soft
for _ in range(3):
    print(stepper.step([batch]))
"""
"""Steps as a run does them. A fault of a kernel ends the process, so it is a child."""


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_steps_in_bfloat16_end_well_in_a_child_process(architecture):
    # PyTorch 2.13's backward pass of 3D convolutions in bfloat16 corrupts memory on CPUs with AMX.
    config, frames, size = NETWORKS[architecture]
    architecture = architecture.split()[0]
    # Few channels and wide pictures are where the fault strikes, with 3×3×3 kernels and transposed ones too.
    size = {"lite3dc": (96, 160), "seg3dc": (96, 160), "conv3dnet": (160, 256), "dsrfcn3d": (64, 256)}.get(
        architecture, size
    )
    config = {**config, "width": 0.25} if architecture in ("conv3dnet", "dsrfcn3d") else config
    target = {"conv3dnet": "middle", "stan": "last"}.get(architecture, "all")
    case = repr((architecture, config, frames, *size, target))
    done = subprocess.run([sys.executable, "-c", STEP, case], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-800:]
    losses = [float(line) for line in done.stdout.split()]
    assert len(losses) == 3 and all(0 < loss < 10 for loss in losses)
