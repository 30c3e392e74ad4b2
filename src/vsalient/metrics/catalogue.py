"""The names: which metrics there are, what each reports, and which way is better."""

from collections.abc import Iterable
from dataclasses import dataclass

from vsalient.errors import OptionError


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric one can ask for.

    Attributes:
        name: what `--metrics` takes.
        results: the numbers it reports, by protocol.
        summary: one line.
        lower_is_better: the direction.
        default: computed unless asked otherwise.
        fixation: needs fixation maps.
    """

    name: str
    results: tuple[str, ...]
    summary: str
    lower_is_better: bool = False
    default: bool = True
    fixation: bool = False


CATALOGUE: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("MAE", ("MAE", "MAE_pooled"), "mean absolute error, no min-max (all papers)", lower_is_better=True),
        Metric("Fmax", ("Fmax",), "max F of averaged precision and recall, beta^2 0.3 (papers 1, 4, 5)"),
        Metric("Fadp_musigma", ("Fadp_musigma",), "the same at each map's mean + standard deviation"),
        Metric("Fadp_voxel", ("Fadp_voxel",), "the same at a block of frames' own (dsrfcn3d)", default=False),
        Metric("F1_pooled", ("F1_pooled",), "max F1 of all pixels pooled (3DC-Seg)"),
        Metric("maxF", ("maxF", "maxF_frames"), "PySODMetrics: maximum of the mean F curve"),
        Metric("meanF", ("meanF", "meanF_frames"), "PySODMetrics: mean of the F curve"),
        Metric("adpF", ("adpF", "adpF_frames"), "PySODMetrics: F at twice the map's mean"),
        Metric("S", ("S", "S_frames"), "structure measure (PySODMetrics)"),
        Metric(
            "E",
            ("maxE", "meanE", "adpE", "maxE_frames", "meanE_frames", "adpE_frames"),
            "enhanced alignment (PySODMetrics)",
        ),
        Metric("wF", ("wF", "wF_frames"), "weighted F (PySODMetrics), slower than all others together"),
        Metric("J", ("J_mean", "J_recall", "J_decay"), "DAVIS region similarity at 128"),
        Metric("F", ("F_mean", "F_recall", "F_decay"), "DAVIS boundary accuracy at 128"),
        Metric("T", ("T",), "DAVIS temporal instability, slow", lower_is_better=True, default=False),
        Metric("CC", ("CC",), "Pearson's correlation, PLCC (paper 2)"),
        Metric("AUC", ("AUC",), "exact area under the ROC curve, ties at one half (paper 2)"),
        Metric("NSS", ("NSS",), "normalised scanpath saliency (paper 2)"),
        Metric("sAUC", ("sAUC",), "shuffled AUC over other sequences' fixations", fixation=True),
        Metric("KL", ("KL",), "divergence from the fixation density (MIT)", lower_is_better=True, fixation=True),
        Metric("SIM", ("SIM",), "histogram intersection with the fixation density (MIT)", fixation=True),
    )
}

GROUPS: dict[str, tuple[str, ...]] = {
    "papers": ("MAE", "Fmax", "Fadp_musigma", "F1_pooled"),
    "sod": ("MAE", "maxF", "meanF", "adpF", "S", "E", "wF"),
    "davis": ("J", "F"),
    "paper2": ("CC", "AUC", "NSS"),
    "fixation": ("CC", "AUC", "NSS", "sAUC", "KL", "SIM"),
}

LOWER_IS_BETTER = frozenset(
    result for metric in CATALOGUE.values() if metric.lower_is_better for result in metric.results
) | {"J_decay", "F_decay"}


BLOCKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("DAVIS", ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "O", "J&F", "T")),
    ("Papers' protocols", ("MAE", "Fmax", "Fadp_musigma", "Fadp_voxel", "F1_pooled", "MAE_pooled")),
    ("PySODMetrics", ("maxF", "meanF", "adpF", "S", "maxE", "meanE", "adpE", "wF")),
    ("Fixation style", ("CC", "AUC", "NSS", "sAUC", "KL", "SIM")),
)
"""How tables group the results; `*_frames` stand beside the result they belong to."""


def select_metrics(names: Iterable[str], *, fixation: bool = False) -> tuple[str, ...]:
    """Return the metrics asked for, in the order of the catalogue.

    Args:
        names: metrics, groups, results (`J_mean` asks for J), `O` or `J&F` (ask for J and F), "all" or "default".
        fixation: whether fixation maps are given; then only the fixation metrics make sense.

    Raises:
        OptionError: an unknown name, or one that needs fixation maps where there are none.
    """
    chosen: set[str] = set()
    for name in names:
        chosen.update(_resolve(name, fixation))
    wrong = [name for name in chosen if fixation and name not in GROUPS["fixation"]]
    if wrong:
        raise OptionError(
            f"{_and(sorted(wrong))} need an object mask, not fixations; with fixations choose from "
            f"{', '.join(GROUPS['fixation'])}"
        )
    missing = [name for name in chosen if CATALOGUE[name].fixation and not fixation]
    if missing:
        raise OptionError(f"{_and(sorted(missing))} need fixation points; give their folder with --fixations")
    return tuple(name for name in CATALOGUE if name in chosen)


def results_of(metrics: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the numbers that these metrics report, their mean included where J and F are there."""
    wanted = set(metrics)
    names = [result for name, metric in CATALOGUE.items() if name in wanted for result in metric.results]
    if {"J", "F"} <= wanted:
        # One number under DAVIS 2016's name and under DAVIS 2017's.
        names[names.index("F_decay") + 1 : names.index("F_decay") + 1] = ["O", "J&F"]
    return tuple(names)


def _resolve(name: str, fixation: bool) -> tuple[str, ...]:
    if name in CATALOGUE:
        return (name,)
    if name == "default":
        if fixation:
            return GROUPS["fixation"]
        return tuple(metric.name for metric in CATALOGUE.values() if metric.default and not metric.fixation)
    if name == "all":
        return GROUPS["fixation"] if fixation else tuple(m.name for m in CATALOGUE.values() if not m.fixation)
    if name.upper() in ("O", "J&F"):
        return ("J", "F")
    if name in GROUPS:
        return GROUPS[name]
    for metric in CATALOGUE.values():
        if name in metric.results:
            return (metric.name,)
    raise OptionError(
        f"unknown metric {name!r}; choose from {', '.join(CATALOGUE)}, or a group: {', '.join(GROUPS)}, default, all"
    )


def _and(names: list[str]) -> str:
    return ", ".join(names)
