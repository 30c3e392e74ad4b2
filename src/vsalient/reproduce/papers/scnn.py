"""Tang, Zou, Jin, Chen, Hua, Li: Weakly Supervised Salient Object Detection with Spatiotemporal Cascade Neural
Networks, IEEE TCSVT 2018.
"""

from vsalient.reproduce.experiment import PARTS, DataPart, Experiment, Number, Test, Training, timed_row

SCNN_DATA = (DataPart("msra10k"), DataPart("segtrackv2"), DataPart("fbms"))
VGG = "VGG-16"
SCNN_DAVIS = Test("davis16", "trainval", "all-frames")
SCNN_FBMS = Test("fbms")
SCNN_PRIOR = "the temporal prior is a formula of ours, not the paper's trained classifier, on another optical flow"
CRF = "the text does not give the CRF's parameters"
SCNN_LABELS = "trained on ground truth alone: weak labels are made by `vsalient train weak-labels`"
CURVE = Number("F-max of the PR curve", "Fmax")


def _scnn_row(
    place: str,
    row: str,
    mae: float | None,
    *,
    test: Test = SCNN_DAVIS,
    overrides: tuple[str, ...] = (),
    variant: bool = True,
    crf: bool = True,
    differs: tuple[str, ...] = (),
) -> Experiment:
    return Experiment(
        paper="scnn",
        place=place,
        row=row,
        test=test,
        numbers=(Number("MAE", "MAE", mae), CURVE),
        model="scnn",
        training=Training("scnn", SCNN_DATA, overrides, VGG),
        variant=variant,
        crf=crf,
        differs=(*differs, SCNN_PRIOR, *((CRF,) if crf else ())),
    )


ROWS = (
    _scnn_row("Fig. 5", "DAVIS", 0.058, variant=False),
    _scnn_row("Fig. 5", "FBMS", 0.108, test=SCNN_FBMS, variant=False),
    _scnn_row("Fig. 7a", "s-FCN", 0.102, overrides=('config.stage="spatial"',), differs=(SCNN_LABELS,)),
    _scnn_row("Fig. 7a", "SCNN", 0.058, variant=False),
    *(
        _scnn_row("Fig. 7b", name, None, overrides=overrides, differs=(SCNN_LABELS,))
        for name, overrides in {
            "FG": ('config.fusion="stack"', 'config.prior="flow"'),
            "FP": ('config.fusion="stack"',),
            "OS": ('config.fusion="spatial"',),
            "OT": ('config.fusion="temporal"',),
        }.items()
    ),
    _scnn_row("Fig. 7c", "without weak labels", None),
    _scnn_row("Fig. 9", "without CRF", None, variant=False, crf=False),
    _scnn_row("Fig. 9", "with CRF", 0.058, variant=False),
    _scnn_row("Fig. 10", "all blocks", None, overrides=("config.branches=[1, 2, 3, 4, 5, 6]",), differs=(SCNN_LABELS,)),
    timed_row("scnn", "Table I", "SCNN", 38.511),
    timed_row("scnn", "Table I", "SCNNf", 2.53),
    timed_row("scnn", "Table II", "optical flow", 36.72, PARTS),
    timed_row("scnn", "Table II", "temporal prior", 0.823, PARTS),
    timed_row("scnn", "Table II", "network", 0.685, PARTS),
    timed_row("scnn", "Table II", "refinement", 0.283, PARTS),
)
