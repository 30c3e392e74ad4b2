"""The model card of exported weights: a README.md that a person, and the Hub, can read."""

from collections.abc import Sequence

from vsalient.checkpoints import WeightsEntry
from vsalient.training.runs import Run

_HUB_LICENCES = {
    "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense",
}  # fmt: skip
"""Those of the Hub's licence names that weights are likely to have; the rest is "other" there."""


def model_card(entry: WeightsEntry, runs: Sequence[Run], *, dtype: str, change: float | None) -> str:
    """The text of a README.md: use, network, training, scores, terms.

    Args:
        entry: the exported weights.
        runs: the stages that made them, in order; may be empty.
        dtype: of the stored weights.
        change: largest change of a probability that storing them so made, None when not measured.
    """
    licence = entry.licence.lower() if entry.licence.lower() in _HUB_LICENCES else "other"
    head = ["---", f"license: {licence}", "library_name: vsalient", "pipeline_tag: image-segmentation", "tags:"]
    head += ["- video", "- salient-object-detection", "- video-object-segmentation", "---", ""]
    body = [f"# {entry.name}", "", f"{entry.summary.rstrip('.')}.", "", *_use(entry), *_network(entry, dtype, change)]
    if runs:
        body += _training(runs)
    body += _card_scores(entry)
    body += ["## Data and terms", ""]
    facts = (
        ("Training data", entry.training_data or "not stated"),
        ("Terms that the data brings", entry.terms or "not stated"),
        ("Licence of these weights", entry.licence),
        ("Paper", entry.paper),
        ("Notes", entry.notes),
    )
    body += [f"- {label}: {text}" for label, text in facts if text]
    return "\n".join([*head, *body]) + "\n"


def _use(entry: WeightsEntry) -> list[str]:
    return [
        "```",
        "vsalient models add .              # in this folder, once",
        f"vsalient predict video.mp4 --model {entry.name}",
        "```",
        "",
    ]


def _network(entry: WeightsEntry, dtype: str, change: float | None) -> list[str]:
    arguments = ", ".join(f"{key} = {value}" for key, value in entry.config.items())
    count = f"{entry.parameters:,} parameters" if entry.parameters else ""
    stored = f"{dtype}, one-dimensional tensors (biases and all of batch norm) float32"
    if dtype == "float32":
        stored = "float32"
    if change is not None:
        stored += f"; a probability on random input changes by at most {change:.2g}"
    rows = [
        ("Architecture", entry.architecture + (f" ({arguments})" if arguments else "")),
        ("Size", ", ".join(filter(None, [count, f"{entry.size / 1e6:.1f} MB" if entry.size else ""]))),
        ("Clips", f"{entry.clip_length} frames, {entry.overlap} shared with the next, tail {entry.tail}"),
        ("Input", f"{entry.geometry}, padded to multiples of {entry.multiple}"),
        ("Stored as", stored),
        ("SHA-256", f"`{entry.sha256}`" if entry.sha256 else ""),
    ]
    return ["## Network", "", "| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows if b), ""]


def _training(runs: Sequence[Run]) -> list[str]:
    lines = ["## Training", ""]
    lines += ["| stage | steps | clips a step | frames × size | kinds of clips | hours | held-out J | MAE |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for run in runs:
        recipe, clips = run.recipe, run.recipe.clips
        kinds = ", ".join(f"{name} {share:g}" for name, share in clips.kinds.items())
        scores = [f"{value:.3f}" if value is not None else "-" for value in (run.jaccard, run.mae)]
        hours = f"{run.hours:.2f}" if run.hours is not None else "-"
        size = f"{clips.frames} × {clips.size[0]}×{clips.size[1]}"
        row = [recipe.name, str(run.steps), str(recipe.batch * recipe.accumulate), size, kinds, hours, *scores]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "J and MAE were measured by `vsalient train` on sequences held out of that stage's data.", ""]
    hardware = list(dict.fromkeys(run.hardware for run in runs if run.hardware))
    data = list(dict.fromkeys(line for run in runs for line in run.data))
    first = runs[0].recipe.init
    if first != "scratch":
        lines.append(f"- Began with: {first.rpartition('/')[2]}")
    lines += [f"- Hardware: {line}" for line in hardware] + [f"- Data: {line}" for line in data]
    last = runs[-1].recipe
    terms = " + ".join(f"{weight:g} {name}" for name, weight in last.loss.terms.items())
    lines += [
        f"- Loss: {terms}; optimiser {last.optimiser.name}, rate {last.optimiser.rate:g} "
        f"(encoder {last.optimiser.encoder_rate:g}), schedule {last.optimiser.schedule}; EMA {last.ema:g}",
        f"- Seed {', '.join(str(run.recipe.seed) for run in runs)}; {last.precision}",
        "",
    ]
    return lines


def _card_scores(entry: WeightsEntry) -> list[str]:
    if not entry.scores:
        return ["## Scores", "", "None were measured beyond those of the training.", ""]
    rows = [f"| {s.dataset} | {s.metric} | {s.value:g} | {s.by} | {s.note} |" for s in entry.scores]
    return ["## Scores", "", "| data | metric | value | measured by | with |", "|---|---|---|---|---|", *rows, ""]
