"""Sparse ground truth: the frames between labelled ones are in the clips, and never in the loss or the scores."""

import json

import cv2
import numpy as np
import pytest
import torch

from training_data import SIZE, encode, pair
from vsalient import models
from vsalient.cli.app import main
from vsalient.training import validation
from vsalient.training.data import ClipStream, clip_priors, seen_slots
from vsalient.training.losses import LOSSES
from vsalient.training.recipe import ClipRecipe, recipe_from_dict
from vsalient.training.sources import Mixture, open_pairs
from vsalient.training.steps import Stepper

LABELLED = (1, 8, 15)
PLAIN = {"frames": 3, "size": SIZE, "max_gap": 1, "reverse": 0.0, "augment": "none"}


@pytest.fixture
def fbms(tmp_path):
    """Two sequences of 17 frames, three of them labelled; the object moves by a pixel a frame."""
    root = tmp_path / "FBMS"
    for name in ("marple1", "marple3"):
        folder = root / "Trainingset" / name
        (folder / "GroundTruth").mkdir(parents=True)
        for i in range(17):
            (folder / f"{name}_{i:04d}.jpg").write_bytes(encode(pair(i, 1)[0], "JPEG"))
        for i in LABELLED:
            (folder / "GroundTruth" / f"{name}_{i:04d}_gt.png").write_bytes(encode(pair(i)[1], "PNG"))
    return root


def clips(source, **keys):
    recipe = ClipRecipe(**{**PLAIN, "kinds": {"video": 1.0}, **keys})
    priors = keys.pop("priors", ())
    return ClipStream(Mixture([]), Mixture([source]), recipe, priors=priors)


def test_a_sequence_reaches_from_its_first_label_to_its_last(fbms):
    source = open_pairs(fbms)
    assert source.names == ["marple1", "marple3"]
    assert source.length(0) == 15 and source.labelled(0) == [0, 7, 14]
    image, mask = source.read(0, 3)
    assert image.shape == (*SIZE, 3) and mask.shape == SIZE and not mask.any()
    assert np.array_equal(source.read(0, 7)[1], pair(8)[1])


@pytest.mark.parametrize("target", ["all", "middle", "last"])
def test_clips_are_of_neighbours_and_hold_a_label_that_the_loss_sees(fbms, target):
    source = open_pairs(fbms)
    seen, started = seen_slots(3, target), set()
    stream = clips(source, target=target)
    for number in range(20):
        drawn = stream.sample(number)
        places = [int(np.argmin([np.abs(cv2.absdiff(frame, source.read(0, i)[0])).sum() for i in range(15)]))
                  for frame in drawn.frames]  # fmt: skip
        assert places == list(range(places[0], places[0] + 3))
        assert drawn.labelled.tolist() == [i in (0, 7, 14) for i in places]
        assert drawn.labelled[seen].any()
        for place, mask, known in zip(places, drawn.masks, drawn.labelled, strict=True):
            assert np.array_equal(mask, pair(place + 1)[1] if known else np.zeros(SIZE))
        started.add(places[0])
    assert len(started) >= {"all": 5, "middle": 1, "last": 2}[target]


def test_flow_is_between_neighbours(fbms):
    """One pixel a frame, and not the seven between two labels."""
    source = open_pairs(fbms)
    recipe = ClipRecipe(**PLAIN, kinds={"video": 1.0})
    stream = ClipStream(Mixture([]), Mixture([source]), recipe, priors=("flow",))
    frames, _, priors, *_ = stream[2]
    near = clip_priors(frames.permute(1, 2, 3, 0).numpy(), ("flow",))["flow"]
    assert torch.equal(priors["flow"], near)
    far = clip_priors(np.stack([source.read(0, i)[0] for i in (0, 7, 14)]), ("flow",))["flow"]
    assert priors["flow"].mean() < far.mean()


def test_a_label_that_no_clip_can_reach_is_met_by_repeating_the_ends(fbms):
    """The loss sees the last frame, and one more is needed behind it: labels 0 and 14 lie at no such place."""
    source = open_pairs(fbms)
    source.pairs = [[*pairs[:7], pairs[8], *pairs[8:]] for pairs in source.pairs]
    assert source.labelled(0) == [0, 14]
    stream = ClipStream(Mixture([]), Mixture([source]), ClipRecipe(**PLAIN, kinds={"video": 1.0}, target="last"),
                        priors=("motion",))  # fmt: skip
    for number in range(6):
        assert stream.sample(number).labelled.tolist()[-1]


@pytest.mark.parametrize("kind", ["still", "stills", "affine", "slide", "independent"])
def test_stills_out_of_videos_are_labelled_frames(fbms, kind):
    stream = clips(open_pairs(fbms), kinds={kind: 1.0}, augment="standard")
    for number in range(6):
        drawn = stream.sample(number)
        assert drawn.labelled.all() and drawn.masks.any()


def test_nothing_is_cut_out_of_a_frame_without_a_mask(fbms):
    source = open_pairs(fbms)
    plain = clips(source, kinds={"video": 1.0}).sample(4)
    moved = clips(source, kinds={"transplant": 1.0}).sample(4)
    assert not moved.labelled.all()
    assert np.array_equal(plain.frames, moved.frames) and np.array_equal(plain.masks, moved.masks)


@pytest.mark.parametrize("target", ["all", "middle", "last"])
@pytest.mark.parametrize("term", sorted(LOSSES))
def test_the_loss_does_not_see_what_the_network_says_where_nothing_is_labelled(fbms, term, target):
    table = {"name": "x", "architecture": "lite3dc", "config": {"channels": [8, 8, 8, 8, 8], "motion": 0},
             "clips": {"frames": 3, "size": list(SIZE), "target": target},
             "loss": {"terms": {term: 1.0}, "scales": [1.0, 0.5]}}  # fmt: skip
    recipe = recipe_from_dict(table, "test")
    stream = clips(open_pairs(fbms), augment="standard", overlays=0.5, target=target)
    batch = torch.utils.data.default_collate([stream[n] for n in range(4)])
    labelled = batch.labelled[:, seen_slots(3, target)]
    stepper = Stepper(models.build("lite3dc", **table["config"]), recipe, torch.device("cpu"), "float32")
    torch.manual_seed(0)
    shape = (4, 1, labelled.shape[1])
    outputs = [torch.randn(*shape, *SIZE), torch.randn(*shape, SIZE[0] // 2, SIZE[1] // 2)]
    for output in outputs:
        output.requires_grad_()
    loss = stepper.loss(lambda *_: outputs, batch)
    loss.backward()
    other = [torch.where(labelled[:, None, :, None, None], o.detach(), torch.full_like(o, 9.0)) for o in outputs]
    assert stepper.loss(lambda *_: other, batch).item() == pytest.approx(loss.item(), rel=1e-6)
    for output in outputs:
        felt = output.grad.abs().amax((1, 3, 4)) > 0
        assert torch.equal(felt, labelled)


@pytest.mark.parametrize(("target", "length"), [("all", 8), ("middle", 3), ("last", 3)])
def test_validation_scores_labelled_frames_alone(fbms, monkeypatch, target, length):
    source, truths = open_pairs(fbms), []
    monkeypatch.setattr(validation, "score", lambda p, truth: truths.append(truth.copy()) or (0.5, 0.5))
    table = {"name": "x", "clips": {"frames": 3, "size": [32, 64], "target": target}}
    table |= {"architecture": "lite3dc", "config": {"channels": [8, 8, 8, 8, 8], "motion": 0}}
    network = models.build("lite3dc", **table["config"])
    found = validation.validate(network, [source], recipe_from_dict(table, "test"), torch.device("cpu"))
    assert set(found.per_sequence) == {"marple1", "marple3"} and found.jaccard == 0.5
    assert len(truths) >= 4 and all(truth.any() for truth in truths)


def test_pack_and_train_keep_them(fbms, tmp_path, capsys):
    def cli(*args):
        with pytest.raises(SystemExit) as caught:
            main([str(a) for a in args])
        captured = capsys.readouterr()
        assert caught.value.code == 0, captured.err
        return captured

    part = json.loads(cli("train", "pack", "--data", fbms, "--out", tmp_path / "parts", "--longest", 48, "--json").out)[
        0
    ]
    assert (part["videos"], part["stills"]) == (2, 0)
    packed = open_pairs(tmp_path / "parts" / part["path"])
    assert packed.labelled(0) == [0, 7, 14] and packed.length(0) == 15
    recipe = tmp_path / "sparse.toml"
    recipe.write_text(
        'architecture = "lite3dc"\nconfig = { channels = [8, 8, 8, 8, 8], motion = 0 }\nsteps = 2\nbatch = 2\n'
        'precision = "float32"\nheld_out = ["marple3"]\n'
        "[clips]\nframes = 3\nsize = [32, 64]\nkinds = { video = 0.5, transplant = 0.5 }\n"
    )
    cli("train", recipe, "--data", part["path"], "--out", tmp_path / "runs", "--workers", 0, "--device", "cpu")
    assert (tmp_path / "runs/sparse/best.pt").is_file()
