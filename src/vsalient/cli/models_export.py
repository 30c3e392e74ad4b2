"""`vsalient models export NAME --format onnx`: a model as files that other libraries run."""

import copy
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsalient import checkpoints
from vsalient.checkpoints import WeightsEntry
from vsalient.cli.shared.transfer import TransferProgress
from vsalient.errors import InputError, OptionError
from vsalient.files import StagedFolder

if TYPE_CHECKING:
    from vsalient.engine.export import ClipShape

EXPORT_FORMATS = ("onnx", "openvino", "torch-export")
_SIZE = re.compile(r"([1-9]\d*)x([1-9]\d*)")


@click.command("export")
@click.argument("name")
@click.option("--format", "form", required=True, type=click.Choice(EXPORT_FORMATS), help="What the files are for.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="The folder to make.  [default: NAME-FORMAT]"
)
@click.option(
    "--size",
    metavar="HxW",
    help="Height x width of the pictures that the network gets.  [default: what it gets of 854x480 video]",
)
@click.option("--clip-length", type=int, metavar="FRAMES", help="Frames fed together.  [default: the model's own]")
@click.option(
    "--check",
    type=click.Path(path_type=Path),
    metavar="VIDEO",
    help="Hold the files against the engine on this video too, and not only on a made-up one.",
)
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Load this file instead.")
@click.option("--offline", is_flag=True, help="Never ask the network.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def export_command(
    name: str,
    form: Any,
    output: Path | None,
    size: str | None,
    clip_length: int | None,
    check: Path | None,
    weights: Path | None,
    offline: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write a model for ONNX Runtime, OpenVINO or torch.export, and print the files' names.

    A model with a per-frame encoder becomes two files, encoder and decoder; any other one a network. They take pictures
    as they are decoded, 8 bits, and the model's priors, and give probabilities; signature.json beside them says it in
    full. The files give what the engine gives within 0.001, or there are no files.

    \b
    vsalient models export 3dc-lite --format onnx -o lite/
    """
    entry = checkpoints.find_entry(name)
    length = entry.clip_length if clip_length is None else clip_length
    from vsalient.clips import check_clips

    check_clips(length, max(0, min(entry.overlap, length - 1)), entry.tail)
    height, width = _export_size(entry, size)
    if check is not None and not check.exists():
        raise InputError(f"{check} is not there: give a video for --check")
    folder = StagedFolder(output or Path(f"{entry.name.split(':')[-1]}-{form}"), overwrite=overwrite)
    try:
        files = _written_files(entry, form, (height, width), length, check, weights, offline=offline, quiet=quiet)
        for file, content in files.items():
            folder.write(file, content)
        folder.commit()
    finally:
        folder.discard()
    for file in files:
        click.echo(folder.path / file)


def _written_files(
    entry: WeightsEntry,
    form: Any,
    size: tuple[int, int],
    length: int,
    check: Path | None,
    weights: Path | None,
    *,
    offline: bool,
    quiet: bool,
) -> dict[str, bytes]:
    """The files by name, checked."""
    from vsalient.engine import Engine
    from vsalient.engine.export import as_run
    from vsalient.engine.export import export as write
    from vsalient.models.network import describe

    with TransferProgress(quiet=quiet) as progress:
        network, _ = checkpoints.load_network(entry, weights=weights, offline=offline, progress=progress)
    described = describe(network)
    entry = as_run(entry, length, size)
    sources = [None] if check is None else [None, check]
    checks = [_clips(entry, described.priors, size, source) for source in sources]
    reference = Engine(copy.deepcopy(network), device="cpu", dtype="float32", multiple=entry.multiple)
    with tempfile.TemporaryDirectory(prefix="vsalient-export-") as place:
        signature = write(described, reference, entry, checks, form, Path(place))
        if not quiet:
            click.echo(f"{form}: largest difference to the engine {signature['largest_difference']:.1g}", err=True)
        return {file.name: file.read_bytes() for file in sorted(Path(place).iterdir())}


def _export_size(entry: WeightsEntry, text: str | None) -> tuple[int, int]:
    if text is None:
        from vsalient.transforms import Geometry

        return Geometry.plan(entry.geometry, (480, 854), multiple=entry.multiple).network
    match = _SIZE.fullmatch(text)
    if match is None:
        raise OptionError(f"--size '{text}' is no size: write height x width, such as 256x448")
    height, width = int(match[1]), int(match[2])
    if height % entry.multiple or width % entry.multiple or max(height, width) > 8192:
        raise OptionError(
            f"--size {text} does not fit {entry.name}: both sides must be multiples of {entry.multiple} up to 8192"
        )
    return height, width


def _clips(entry: WeightsEntry, priors: tuple[str, ...], size: tuple[int, int], source: Path | None) -> "ClipShape":
    """The first frames of a video, or of a made-up one, as the network gets them."""
    import itertools

    import numpy as np

    from vsalient.engine.export import ClipShape
    from vsalient.priors import clip_maps

    count = 2 * entry.clip_length - entry.overlap
    if source is None:
        pictures = _sample_scene(count, *size)
    else:
        from vsalient.media import open_source

        with open_source(source) as opened:
            pictures = [frame.pixels for frame in itertools.islice(opened, count)]
        pictures += [pictures[-1]] * (count - len(pictures))
    from vsalient.transforms import Geometry

    geometry = Geometry.plan(
        f"exact:{size[0]}x{size[1]}", (pictures[0].shape[0], pictures[0].shape[1]), multiple=entry.multiple
    )
    maps = clip_maps(np.stack(pictures), priors) if priors else {}
    return ClipShape(
        [geometry.apply(pixels) for pixels in pictures],
        {name: [geometry.apply_map(values) for values in each] for name, each in maps.items()},
    )


def _sample_scene(count: int, height: int, width: int) -> list[Any]:
    """A soft texture that pans, and a disc of another one that moves against it."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)

    def texture(rows: int, columns: int) -> Any:
        coarse = rng.integers(0, 256, (rows // 12 + 2, columns // 12 + 2, 3), dtype=np.uint8)
        return cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)

    ground, radius = texture(height + count, width + 2 * count), max(4, min(height, width) // 5)
    disc = texture(2 * radius, 2 * radius) // 2 + np.array([120, 20, 0], np.uint8)
    inside = np.hypot(*np.mgrid[-radius:radius, -radius:radius]) < radius
    pictures = []
    for t in range(count):
        pixels = ground[t : t + height, 2 * t : 2 * t + width].copy()
        top, left = (height - 2 * radius) // 2, min(width - 2 * radius, width // 4 + 4 * t)
        pixels[top : top + 2 * radius, left : left + 2 * radius][inside] = disc[inside]
        pictures.append(pixels)
    return pictures
