"""Tang, Zou, Jin, Chen, Hua, Li: Weakly Supervised Salient Object Detection with Spatiotemporal Cascade Neural
Networks, IEEE TCSVT 2018.
"""

from vsalient.reproduce.experiment import DataPart, Experiment, Number, Test, Training

DATA = (DataPart("msra10k"), DataPart("segtrackv2"), DataPart("fbms"))
VGG = "VGG-16"
DAVIS = Test("davis16", "trainval", "all-frames")
FBMS = Test("fbms")
PRIOR = "the temporal prior is a formula of ours, not the paper's trained classifier, on another optical flow"
CRF = "the text does not give the CRF's parameters"
LABELS = "trained on ground truth alone: weak labels are made by `vsalient train weak-labels`"
CURVE = Number("F-max of the PR curve", "Fmax")

PARTS = "the parts are not timed one by one here, only the whole"


def _row(
    place: str,
    row: str,
    mae: float | None,
    *,
    test: Test = DAVIS,
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
        training=Training("scnn", DATA, overrides, VGG),
        variant=variant,
        crf=crf,
        differs=(*differs, PRIOR, *((CRF,) if crf else ())),
    )


def _time(place: str, row: str, seconds: float, missing: str = "") -> Experiment:
    return Experiment(
        paper="scnn",
        place=place,
        row=row,
        test=None,
        numbers=(Number("seconds a frame", "seconds", seconds),),
        model="scnn",
        differs=("the paper's on a TITAN X; optical flow and the prior are others",),
        missing=missing,
    )


ROWS = (
    _row("Fig. 5", "DAVIS", 0.058, variant=False),
    _row("Fig. 5", "FBMS", 0.108, test=FBMS, variant=False),
    _row("Fig. 7a", "s-FCN", 0.102, overrides=('config.stage="spatial"',), differs=(LABELS,)),
    _row("Fig. 7a", "SCNN", 0.058, variant=False),
    *(
        _row("Fig. 7b", name, None, overrides=overrides, differs=(LABELS,))
        for name, overrides in {
            "FG": ('config.fusion="stack"', 'config.prior="flow"'),
            "FP": ('config.fusion="stack"',),
            "OS": ('config.fusion="spatial"',),
            "OT": ('config.fusion="temporal"',),
        }.items()
    ),
    _row("Fig. 7c", "without weak labels", None),
    _row("Fig. 9", "without CRF", None, variant=False, crf=False),
    _row("Fig. 9", "with CRF", 0.058, variant=False),
    _row("Fig. 10", "all blocks", None, overrides=("config.branches=[1, 2, 3, 4, 5, 6]",), differs=(LABELS,)),
    _time("Table I", "SCNN", 38.511),
    _time("Table I", "SCNNf", 2.53),
    _time("Table II", "optical flow", 36.72, PARTS),
    _time("Table II", "temporal prior", 0.823, PARTS),
    _time("Table II", "network", 0.685, PARTS),
    _time("Table II", "refinement", 0.283, PARTS),
)
