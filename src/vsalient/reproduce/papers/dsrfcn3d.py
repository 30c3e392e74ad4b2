"""Le and Sugimoto: Deeply Supervised 3D Recurrent FCN for Salient Object Detection in Videos, BMVC 2017."""

from vsalient.reproduce.experiment import DataPart, Experiment, Number, Test, Training

DSRFCN3D_DATA = (
    *(DataPart("msra10k"), DataPart("ecssd"), DataPart("hku-is"), DataPart("thur15k")),
    *(DataPart("10-clips", 0.6), DataPart("segtrackv2", 0.6), DataPart("davis16")),
)
"""Table 1 and section 3.2: 6 of 10 and 8 of 14 videos, drawn at random and not named, and DAVIS's training part."""

SETS = {
    "10-Clips": Test("10-clips"),
    "SegTrack2": Test("segtrackv2"),
    "DAVIS": Test("davis16", "val", "all-frames"),
}
SPLIT = "the paper draws its training videos of 10-Clips and SegTrack2 at random and does not name them"
FRAMES = "the text does not say that first and last frames are left out: all count"

# F-Adap, F-Max and MAE on 10-Clips, SegTrack2 and DAVIS.
_DSRFCN3D_TABLE_3 = ((0.917, 0.929, 0.021), (0.869, 0.878, 0.021), (0.756, 0.766, 0.036))
# F-Adap and MAE on the same.
_TABLE_4 = {
    "DSRFCN3D": ((), ((0.917, 0.021), (0.869, 0.021), (0.756, 0.036))),
    "DSRFCN2D": (("config.temporal=false",), ((0.900, 0.028), (0.811, 0.037), (0.711, 0.044))),
    "DSFCN3D": (("config.recurrent=false",), ((0.872, 0.030), (0.834, 0.025), (0.729, 0.040))),
    "RFCN3D": (("config.deep_supervision=false",), ((0.767, 0.062), (0.682, 0.045), (0.569, 0.061))),
}
# Mean, recall and decay of J and of F, and their overall mean.
_TABLE_5 = (
    *(Number("J mean", "J_mean", 0.651), Number("J recall", "J_recall", 0.782), Number("J decay", "J_decay", 0.000)),
    *(Number("F mean", "F_mean", 0.609), Number("F recall", "F_recall", 0.726), Number("F decay", "F_decay", 0.027)),
    Number("O", "O", 0.630),
)


def _differs(name: str) -> tuple[str, ...]:
    return (FRAMES,) if name == "DAVIS" else (SPLIT,)


ROWS = (
    *(
        Experiment(
            paper="dsrfcn3d",
            place="Table 3",
            row=name,
            test=test,
            numbers=(Number("F-Adap", "Fadp_voxel", a), Number("F-Max", "Fmax", b), Number("MAE", "MAE", c)),
            model="dsrfcn3d",
            training=Training("dsrfcn3d", DSRFCN3D_DATA),
            differs=_differs(name),
        )
        for (name, test), (a, b, c) in zip(SETS.items(), _DSRFCN3D_TABLE_3, strict=True)
    ),
    *(
        Experiment(
            paper="dsrfcn3d",
            place="Table 4",
            row=f"{network}, {name}",
            test=test,
            numbers=(Number("F-Adap", "Fadp_voxel", a), Number("MAE", "MAE", b)),
            model="dsrfcn3d",
            training=Training("dsrfcn3d", DSRFCN3D_DATA, overrides),
            variant=bool(overrides),
            differs=_differs(name),
        )
        for network, (overrides, values) in _TABLE_4.items()
        for (name, test), (a, b) in zip(SETS.items(), values, strict=True)
    ),
    Experiment(
        paper="dsrfcn3d",
        place="Table 5",
        row="DSRFCN3D*",
        test=Test("davis16", "val"),
        numbers=_TABLE_5,
        model="dsrfcn3d",
        training=Training("dsrfcn3d", DSRFCN3D_DATA),
        masks={"threshold": "adaptive", "scope": "clip", "refine": "boundary"},
        differs=("contours are colour gradients, not CEDN's; their hierarchy has one scale, not three",),
    ),
    Experiment(
        paper="dsrfcn3d",
        place="Section 3.2",
        row="run time",
        test=None,
        numbers=(Number("seconds for 100 frames", "seconds_100", 1.13),),
        model="dsrfcn3d",
        differs=("the paper's on a GTX 1080",),
    ),
)
