"""Tang, Zou, Hua, Jin, Li: Video Salient Object Detection via Spatiotemporal Attention Neural Networks, Neurocomputing
2020.
"""

from vsalient.reproduce.experiment import PARTS, DataPart, Experiment, Number, Test, Training, timed_row

STAN_DATA = (DataPart("davis16"), DataPart("fbms"), DataPart("segtrackv2"))
DCL = "the VGG-16 network of DCL"
STAN_DAVIS = Test("davis16", "val", "all-frames")
STAN_FBMS = Test("fbms")
STAN_PRIOR = "the motion prior is a formula of ours, not the paper's trained classifier, on another optical flow"
STAN_LABELS = "trained on ground truth alone: coarse labels are made by `vsalient train weak-labels`"
LEVEL = "the text does not say at which threshold F is taken: the maximum over thresholds"
_OFF = {
    "prior": 'config.prior="none"',
    **{part: f"config.{part}=false" for part in ("lstm", "conv3d", "attention")},
}


def _stan_row(
    place: str,
    row: str,
    test: Test,
    numbers: tuple[Number, ...],
    *,
    overrides: tuple[str, ...] = (),
    variant: bool = False,
    differs: tuple[str, ...] = (),
    missing: str = "",
) -> Experiment:
    return Experiment(
        paper="stan",
        place=place,
        row=row,
        test=test,
        numbers=numbers,
        model="stan",
        training=Training("stan", STAN_DATA, overrides, DCL),
        variant=variant,
        differs=(*differs, STAN_PRIOR),
        missing=missing,
    )


def _stan_saliency(f: float | None = None, mae: float | None = None) -> tuple[Number, ...]:
    return Number("F-measure", "Fmax", f), Number("MAE", "MAE", mae)


_TABLE_2 = (
    *(Number("J mean", "J_mean", 0.711), Number("J recall", "J_recall", 0.816), Number("J decay", "J_decay", 0.0)),
    *(Number("F mean", "F_mean", 0.670), Number("F recall", "F_recall", 0.776), Number("F decay", "F_decay", 0.001)),
)


ROWS = (
    _stan_row("Table 1", "FBMS", STAN_FBMS, _stan_saliency(0.812, 0.087), differs=(LEVEL,)),
    _stan_row("Table 1", "DAVIS", STAN_DAVIS, _stan_saliency(0.834, 0.041), differs=(LEVEL,)),
    _stan_row(
        "Table 2",
        "STAN",
        Test("davis16", "val"),
        _TABLE_2,
        differs=("the text does not say how maps become masks: cut at 0.5",),
    ),
    *(
        _stan_row(
            "Fig. 6a",
            name,
            STAN_FBMS,
            _stan_saliency(),
            overrides=tuple(_OFF[part] for part in off),
            variant=True,
            differs=(STAN_LABELS,),
        )
        for name, off in {
            "OS": ("prior", "lstm", "conv3d", "attention"),
            "ST": ("lstm", "conv3d", "attention"),
            "STC": ("lstm", "attention"),
            "STL": ("conv3d", "attention"),
            "STLC": ("attention",),
        }.items()
    ),
    _stan_row("Fig. 6a", "STAN", STAN_FBMS, _stan_saliency(0.812, 0.087), differs=(LEVEL,)),
    _stan_row("Fig. 6b", "without coarse labels", STAN_FBMS, _stan_saliency(), variant=True),
    _stan_row(
        "Fig. 6c",
        "original flow",
        STAN_FBMS,
        _stan_saliency(),
        overrides=('config.prior="flow"',),
        variant=True,
        differs=("the flow is grey: its speed alone, in three equal channels",),
    ),
    timed_row("stan", "Table 3", "STAN", 2.144),
    timed_row("stan", "Table 4", "optical flow", 0.739, PARTS),
    timed_row("stan", "Table 4", "motion prior", 0.823, PARTS),
    timed_row("stan", "Table 4", "network", 0.102, PARTS),
    timed_row("stan", "Table 4", "refinement", 0.48, PARTS),
)
