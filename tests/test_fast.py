"""`--fast`: the network sees every second frame, and the maps between move along with what they show."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moving_square import scene
from tiny_model import install, write_clip
from vsalient.checkpoints import registry
from vsalient.cli.app import main
from vsalient.errors import OptionError
from vsalient.media import open_source
from vsalient.pipeline import saliency_maps
from vsalient.priors import Between, DisFlow, between_on, carried_between, find_between, prior_stream
from vsalient.procedure import Procedure, plan_procedure
from vsalient.types import Frame


class MaskEngine:
    """Gives the true mask of each frame that it sees, told by the frame's first pixel."""

    behind = 0

    def __init__(self, masks: NDArray[np.bool_]) -> None:
        self.masks, self.seen = masks, list[int]()
        self.priors: set[str] = set()

    def reset(self) -> None: ...

    def submit(self, frames: Any, indices: Any, outputs: Any = None, priors: Any = None) -> Callable[[], Any]:
        numbers = [int(frame[0, 0, 0]) for frame in frames]
        self.seen += numbers
        self.priors |= set(priors or ())
        return lambda: self.masks[numbers].astype(np.float32)


def video(count: int, **motion: Any) -> tuple[list[Frame], NDArray[np.bool_]]:
    pixels, masks = scene(count, 96, 128, side=36, **motion)
    pixels[:, 0, 0, 0] = np.arange(count)
    return [Frame(p, i, i, Fraction(1, 25)) for i, p in enumerate(pixels)], masks


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("names", [(), ("residual",), ("flow",)])
def test_frames_between_are_carried_along(count: int, names: tuple[str, ...]) -> None:
    frames, masks = video(count, step=(1, 4), camera=(0, 1))
    engine = MaskEngine(masks)
    fast = Procedure(clip_length=3, overlap=1, geometry="native", fast=True)
    found = list(saliency_maps(frames, engine, fast, priors=names))
    assert [frame.index for frame, _ in found] == list(range(count))
    assert set(engine.seen) == set(range(0, count, 2)) and engine.priors == set(names)
    for frame, values in found:
        truth = masks[frame.index]
        shared = ((values > 0.5) & truth).sum() / ((values > 0.5) | truth).sum()
        assert shared > (0.85 if frame.index % 2 else 0.999)
    if count > 2:  # without the flow, the neighbours' mean would be off by more
        still = np.asarray((masks[0].astype(int) + masks[2]) > 1)
        assert (still & masks[1]).sum() / (still | masks[1]).sum() < 0.82


def test_each_scene_begins_with_a_frame_that_is_seen() -> None:
    frames, masks = video(6, step=(0, 3))
    cut = [Frame(f.pixels, f.index, f.pts, f.time_base, scene=int(f.index >= 3)) for f in frames]
    engine = MaskEngine(masks)
    fast = Procedure(clip_length=2, overlap=0, geometry="native", cuts=False, fast=True)
    assert [frame.index for frame, _ in saliency_maps(cut, engine, fast)] == list(range(6))
    assert set(engine.seen) == {0, 2, 3, 5}


def test_a_map_between_two_against_its_definition() -> None:
    before, after = np.zeros((2, 20, 30), np.float32)
    before[5:10, 4:12], after[5:10, 10:18] = 1, 1
    back, ahead = np.full((20, 30, 2), (-3, 0), np.float32), np.full((20, 30, 2), (3, 0), np.float32)
    expected = np.zeros((20, 30), np.float32)
    expected[5:10, 7:15] = 1
    share = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    np.testing.assert_allclose(carried_between(before, after, Between(back, ahead, share)), expected, atol=1e-6)
    np.testing.assert_allclose(carried_between(before, None, Between(back, None, share)), expected, atol=1e-6)
    still = Between(0 * back, 0 * ahead, share)
    mixed = share * before + (1 - share) * after
    np.testing.assert_allclose(carried_between(before, after, still), mixed, atol=1e-6)
    grid = between_on(Between(back[::2, ::2], ahead[::2, ::2], share[::2, ::2]), (20, 30), (2, 0, 1, 1))
    assert grid.back.shape == (22, 32, 2) and grid.share.shape == (22, 32) and grid.ahead is not None
    np.testing.assert_allclose(grid.ahead[10, 10], [6, 0])
    assert not grid.back[:2].any()


def test_a_neighbour_that_looks_otherwise_does_not_count() -> None:
    frames, _ = video(3, step=(0, 3))
    flow = DisFlow("light", longest=336)
    first, frame, last = (flow.grey(f.pixels) for f in frames)
    assert find_between(flow, first, frame, last).share.mean() == pytest.approx(0.5, abs=0.05)
    assert find_between(flow, 255 - first, frame, last).share.mean() < 0.1  # another shot
    assert find_between(flow, first, frame, 255 - last).share.mean() > 0.9


def test_a_stream_leaves_out_every_second_frame_unless_a_prior_needs_it() -> None:
    frames, _ = video(5, step=(0, 3))

    def run(names: tuple[str, ...], every: int) -> list[dict[str, Any]]:
        stream = prior_stream(names, every=every)
        return [priors for _, priors in [item for f in frames for item in stream.push(f)] + stream.finish()]

    whole, half = run(("residual",), 1), run(("residual",), 2)
    assert [bool(priors) for priors in half] == [True, False, True, False, True]
    np.testing.assert_array_equal(half[2]["residual"], whole[2]["residual"])
    assert all(run(("residual", "residual_mean"), 2))


def test_fast_is_said_and_refused_where_a_paper_is_followed(monkeypatch, tmp_path, capsys) -> None:
    with pytest.raises(OptionError, match="fast skips every second frame"):
        plan_procedure(registry()["3dc-seg"], protocol="paper", fast=True)
    install(monkeypatch, tmp_path)
    clip = write_clip(tmp_path / "red.mp4", 7)
    with pytest.raises(SystemExit) as end:
        main(["predict", str(clip), "-o", str(tmp_path / "out.mkv"), "--fast"])
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    assert "fast: every second frame" in said.err
    with open_source(tmp_path / "out.mkv") as maps:
        assert len(list(maps)) == 7
