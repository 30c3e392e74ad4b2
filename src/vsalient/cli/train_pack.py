"""`vsalient train pack --data ...`: data sets as tar shards of a size that travels."""

import json
from pathlib import Path

import click

from vsalient.errors import OptionError


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--data",
    "data",
    multiple=True,
    required=True,
    metavar="[soft:]PATH[:SPLIT]",
    help="A tar shard or data-set folder, as for training; repeat for several.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the shards.")
@click.option(
    "--longest",
    type=click.IntRange(32),
    default=512,
    show_default=True,
    help="Longest side; larger pictures are reduced.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=90, show_default=True, help="Of WebP.")
@click.option(
    "--part-size", type=click.FloatRange(0.02), default=55.0, show_default=True, metavar="MIB", help="Of a shard."
)
@click.option("--without", multiple=True, metavar="SEQUENCE", help="Leave a sequence out; repeat for several.")
@click.option("--allow-test", is_flag=True, help="Let validation and test parts of known data sets be packed.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on stdout instead of lines.")
def command(
    data: tuple[str, ...],
    out: Path,
    longest: int,
    quality: int,
    part_size: float,
    without: tuple[str, ...],
    allow_test: bool,
    as_json: bool,
) -> None:
    """Pack data sets into tar shards that train on any machine, each a fair sample of its set.

    \b
    vsalient train pack --data DAVIS --data DUTS-TR --out parts
    vsalient train 3dc-lite-video --data parts/DAVIS-00.tar --data parts/DUTS-TR-00.tar --minutes 8
    """
    from vsalient.datasets.spec import parse_spec
    from vsalient.training.pack import pack
    from vsalient.training.sources import open_pairs

    specs = [parse_spec(text) for text in data]
    names = [spec.path.name.removesuffix(".tar") for spec in specs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise OptionError(f"--data: two sources are called {twice}; pack them into folders of their own")
    sources = [open_pairs(spec, allow_test=allow_test).select(drop=without) for spec in specs]
    absent = set(without) - {name for spec in specs for name in open_pairs(spec, allow_test=allow_test).names}
    if absent:
        raise OptionError(f"--without {min(absent)}: no source has such a sequence")
    made = []
    for name, source in zip(names, sources, strict=True):
        made += pack(source, out, name, longest=longest, quality=quality, limit=int(part_size * 2**20))
    if as_json:
        rows = [{"path": str(p.path), "stills": p.stills, "videos": p.videos, "bytes": p.size} for p in made]
        click.echo(json.dumps(rows))
        return
    for part in made:
        what = f"{part.stills} stills, {part.videos} videos ({part.frames} frames)"
        click.echo(f"{part.path}: {what}, {part.size / 2**20:.1f} MiB")
