"""`vsalient train superpixels --data ... --out FILE`: the classifier of SCNN's and STAN's motion prior."""

import json
from pathlib import Path

import click

from vsalient.errors import OptionError, OutputError


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--data",
    "data",
    multiple=True,
    required=True,
    metavar="PATH[:SPLIT]",
    help="A tar shard or data-set folder with videos, as for training; repeat for several.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The classifier's file, .npz."
)
@click.option("--frames", type=click.IntRange(1), default=200, show_default=True, help="Frames to learn from.")
@click.option("--steps", type=click.IntRange(1), default=2000, show_default=True, help="Optimiser steps.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of frames drawn, first weights and batches.")
@click.option("--flow", default="", metavar="NAME", help="An installed flow estimator instead of DIS.")
@click.option("--without", multiple=True, metavar="SEQUENCE", help="Leave a sequence out; repeat for several.")
@click.option("--allow-test", is_flag=True, help="Let validation and test parts of known data sets be used.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of the file's name.")
def command(
    data: tuple[str, ...],
    out: Path,
    frames: int,
    steps: int,
    seed: int,
    flow: str,
    without: tuple[str, ...],
    allow_test: bool,
    as_json: bool,
) -> None:
    """Train the classifier that tells salient superpixels of optical flow from others (SCNN, Eq. 6).

    A recipe takes it with `--set clips.classifier=FILE`, and a weights entry with `classifier = "FILE"`.

    \b
    vsalient train superpixels --data DAVIS --out classifier.npz
    vsalient train scnn --data MSRA10K --data DAVIS --set 'clips.classifier="classifier.npz"'
    """
    from vsalient.datasets.spec import parse_spec
    from vsalient.priors.choose import PriorTools, flow_estimator
    from vsalient.priors.classifier import SuperpixelClassifier
    from vsalient.training.sources import open_pairs
    from vsalient.training.superpixels import collect, superpixel_entropy

    if out.suffix != ".npz":
        raise OptionError(f"--out {out}: the classifier's file ends in .npz")
    PriorTools(flow).check()
    sources = [open_pairs(parse_spec(text), allow_test=allow_test).select(drop=without) for text in data]
    if not out.parent.is_dir():
        raise OutputError(f"--out {out}: no folder {out.parent}")
    found = collect(sources, frames, flow=flow_estimator(flow) if flow else None, seed=seed)
    classifier = SuperpixelClassifier.fit(found.features, found.targets, weights=found.weights, steps=steps, seed=seed)
    temporary = out.with_name(f".{out.stem}.part.npz")
    try:
        classifier.save(temporary)
        temporary.replace(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    loss = superpixel_entropy(SuperpixelClassifier.load(out), found)
    told = {
        "file": str(out),
        "frames": found.frames,
        "superpixels": len(found.targets),
        "cross_entropy": round(loss, 4),
    }
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else str(out))
    click.echo(f"{len(found.targets)} superpixels of {found.frames} frames, cross-entropy {loss:.3f}", err=True)
