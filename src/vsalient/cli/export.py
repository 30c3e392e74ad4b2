"""`vsalient train export RUN_DIR... --out DIR`: a run as a model: safetensors, registry entry, model card."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import click

from vsalient.errors import OptionError
from vsalient.toml_files import toml_value


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("runs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where the three files go.")
@click.option("--name", help="The model's name. [default: the last run's recipe]")
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Other weights than the run's best.")
@click.option(
    "--dtype",
    type=click.Choice(["float16", "bfloat16", "float32"]),
    default="float16",
    show_default=True,
    help="How large tensors are stored; biases and batch norm stay float32.",
)
@click.option(
    "--set",
    "fields",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A field of the registry entry: licence, terms, training_data, summary, geometry, clip_length, overlap, ...",
)
@click.option(
    "--score",
    "scores",
    multiple=True,
    metavar="'DATA, METRIC, VALUE, BY[, NOTE]'",
    help="A measured number, and who measured it.",
)
@click.option("--hours", type=click.FloatRange(0), help="Hours of training, where the runs do not tell.")
@click.option("--hardware", metavar="TEXT", help="The machine, where the runs do not tell.")
@click.option("--json", "as_json", is_flag=True, help="Print the entry as JSON instead of the weights' path.")
def command(
    runs: tuple[Path, ...],
    out: Path,
    name: str | None,
    weights: Path | None,
    dtype: Any,
    fields: tuple[str, ...],
    scores: tuple[str, ...],
    hours: float | None,
    hardware: str | None,
    as_json: bool,
) -> None:
    """Make a model of a training run: model.safetensors, entry.toml and README.md (the model card) in DIR.

    RUN_DIR is OUT/RECIPE of `vsalient train`. Give the folders of all stages in their order: the last one's weights
    are exported, and the card tells of all. Afterwards:

    \b
    vsalient train export runs/3dc-lite-stills runs/3dc-lite-video --out mine --name mine --set licence=MIT
    vsalient models add mine
    vsalient predict video.mp4 --model mine
    """
    values = dict(_field(text) for text in fields)
    measured = [_score_of(text) for text in scores]
    from vsalient.training.export import WEIGHTS_FILE, export_run
    from vsalient.training.runs import read_run

    found = [read_run(folder) for folder in runs]
    if hours is not None or hardware:
        found[-1] = dataclasses.replace(
            found[-1], hours=found[-1].hours if hours is None else hours, hardware=hardware or found[-1].hardware
        )
    last = found[-1]
    if "training_data" not in values and (lines := list(dict.fromkeys(line for run in found for line in run.data))):
        values["training_data"] = "; ".join(lines)
    entry = export_run(
        weights or last.weights, last.recipe, out, name=name, dtype=dtype, fields=values, scores=measured, runs=found
    )
    missing = [key for key in ("licence", "terms", "training_data") if key not in values]
    if missing:
        click.echo(f"the card does not state {', '.join(missing)}; add them with --set FIELD=TEXT", err=True)
    if as_json:
        click.echo(json.dumps({**entry.to_table(), "path": str(out / WEIGHTS_FILE)}, indent=2, ensure_ascii=False))
        return
    click.echo(str(out / WEIGHTS_FILE))
    click.echo(f"{entry.size or 0:,} bytes; use it as --model {entry.name} after `vsalient models add {out}`", err=True)


def _field(text: str) -> tuple[str, Any]:
    """FIELD=VALUE, the value as TOML where it is that, else as text."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise OptionError(f"--set {text!r}: write FIELD=VALUE, such as licence=MIT")
    return key, toml_value(value)


def _score_of(text: str) -> Any:
    from vsalient.checkpoints import Score

    parts = [part.strip() for part in text.split(",", 4)]
    if len(parts) < 4 or not all(parts[:4]):
        raise OptionError(f"--score {text!r}: write 'DATA, METRIC, VALUE, BY' or 'DATA, METRIC, VALUE, BY, NOTE'")
    try:
        value = float(parts[2])
        if not math.isfinite(value):
            raise ValueError
        return Score(parts[0], parts[1], value, parts[3], parts[4] if len(parts) > 4 else "")
    except ValueError:
        raise OptionError(f"--score {text!r}: '{parts[2]}' is no number; write 'DATA, METRIC, VALUE, BY'") from None
