"""Mahadevan, Athar et al.: Making a Case for 3D Convolutions for Object Segmentation in Videos, BMVC 2020."""

from vsalient.reproduce.experiment import DataPart, Experiment, Number, Test, Training

VAL = Test("davis16", "val")
ALL = (DataPart("coco"), DataPart("youtube-vos"), DataPart("davis16"))
IG65M = "ir-CSN-152 of IG-65M and Kinetics"
SPORTS = "ir-CSN-152 of Sports1M and Kinetics"
DETAILS = "decay of the rate and number of steps are not in the text: the recipe's are ours"
_STILLS, _VIDEOS, _BOTH = "3dc-seg-synthetic", "3dc-seg-video", "3dc-seg"
_COCO, _DAVIS, _YOUTUBE = DataPart("coco"), DataPart("davis16"), DataPart("youtube-vos")

_TABLE_1 = (
    ("ResNet-101", 42.5, 0.173),
    ("DeepLabV3 ResNet-101", 42.6, 0.793),
    ("R(2+1)D-34", 63.5, 0.891),
    ("ir-CSN-152", 28.7, 0.213),
)
"""Parameters in millions, seconds for eight frames."""
_TABLE_2A: tuple[tuple[str, str, str, tuple[DataPart, ...], float], ...] = (
    ("COCO", _STILLS, SPORTS, (_COCO,), 0.618),
    ("DAVIS", _VIDEOS, SPORTS, (_DAVIS,), 0.822),
    ("YT-VOS", _VIDEOS, SPORTS, (_YOUTUBE,), 0.695),
    ("COCO, YT-VOS", _BOTH, SPORTS, (_COCO, _YOUTUBE), 0.726),
    ("YT-VOS, DAVIS", _VIDEOS, SPORTS, (_YOUTUBE, _DAVIS), 0.794),
    ("COCO, DAVIS", _BOTH, SPORTS, (_COCO, _DAVIS), 0.828),
    ("COCO, YT-VOS, DAVIS", _BOTH, SPORTS, ALL, 0.836),
    ("COCO, YT-VOS, DAVIS, IG-65M", _BOTH, IG65M, ALL, 0.841),
)
_TABLE_2B = {"C3D": ("c3d", 0.803), "NL3D": ("nl3d", 0.817), "ASPP": ("aspp", 0.810), "GC3D": ("gc3d", 0.841)}
_TABLE_2C = {4: 0.834, 8: 0.841, 16: 0.837, 24: 0.815}
_SEG3DC_TABLE_3 = {"Upsampling": ("upsampling", 0.802), "RF3D": ("rf3d", 0.841)}


def _seg3dc_row(
    place: str, row: str, value: float, training: Training, *, differs: tuple[str, ...] = (), missing: str = ""
) -> Experiment:
    return Experiment(
        paper="3dc-seg",
        place=place,
        row=row,
        test=VAL,
        numbers=(Number("J&F", "J&F", value),),
        model="3dc-seg",
        training=training,
        variant=True,
        differs=(DETAILS, *differs),
        missing=missing,
    )


def _measured(
    place: str, row: str, test: Test, numbers: tuple[Number, ...], resolution: str | None = None
) -> Experiment:
    return Experiment(
        paper="3dc-seg",
        place=place,
        row=row,
        test=test,
        numbers=numbers,
        model="3dc-seg",
        training=Training(_BOTH, ALL, start=IG65M),
        overlap=7 if row == "Ours - Dense" else None,
        resolution=resolution,
    )


def _seg3dc_davis(jf: float, j: float, f: float) -> tuple[Number, ...]:
    return Number("J&F", "J&F", jf), Number("J-mean", "J_mean", j), Number("F-mean", "F_mean", f)


def _seg3dc_saliency(f: float, mae: float) -> tuple[Number, ...]:
    return Number("F", "F1_pooled", f), Number("MAE", "MAE", mae)


ROWS = (
    _measured("Table 4", "Ours", VAL, _seg3dc_davis(0.841, 0.839, 0.843)),
    _measured("Table 4", "Ours - Dense", VAL, _seg3dc_davis(0.845, 0.843, 0.847)),
    _measured("Table 5", "DAVIS", VAL, _seg3dc_saliency(0.918, 0.015)),
    _measured("Table 5", "FBMS", Test("fbms"), _seg3dc_saliency(0.845, 0.048), "native"),
    _measured("Table 5", "ViSal", Test("visal"), _seg3dc_saliency(0.922, 0.019)),
    *(
        _seg3dc_row("Table 2a", name, value, Training(recipe, data, start=start))
        for name, recipe, start, data, value in _TABLE_2A
    ),
    _seg3dc_row(
        "Table 2a",
        "R(2+1)D-34",
        0.796,
        Training(_BOTH, ALL, start="R(2+1)D-34 of IG-65M and Kinetics"),
        missing="there is no R(2+1)D-34 encoder here",
    ),
    *(
        _seg3dc_row("Table 2b", name, value, Training(_BOTH, ALL, (f"config.bridge={bridge}",), IG65M))
        for name, (bridge, value) in _TABLE_2B.items()
    ),
    *(
        _seg3dc_row(
            "Table 2c",
            f"Tc {frames}",
            value,
            Training(_BOTH, ALL, (f"clips.frames={frames}",), IG65M),
            differs=("both stages have clips of this length; the paper's stills and YouTube-VOS have 8 frames",),
        )
        for frames, value in _TABLE_2C.items()
    ),
    *(
        _seg3dc_row("Table 3", name, value, Training(_BOTH, ALL, (f"config.refinement={refinement}",), IG65M))
        for name, (refinement, value) in _SEG3DC_TABLE_3.items()
    ),
    *(
        Experiment(
            paper="3dc-seg",
            place="Table 4",
            row=f"time of {name}",
            test=None,
            numbers=(Number("seconds a frame", "seconds", seconds),),
            model="3dc-seg",
            overlap=overlap,
            differs=("the paper's on a GTX 1080 Ti",),
        )
        for name, overlap, seconds in (("Ours", None, 0.22), ("Ours - Dense", 7, 0.84))
    ),
    *(
        Experiment(
            paper="3dc-seg",
            place="Table 1",
            row=name,
            test=None,
            numbers=(Number("parameters, millions", "parameters", millions), Number("seconds", "seconds", seconds)),
            model="3dc-seg",
            backbone=True,
            differs=("the paper's on a GTX 1080 Ti, at 854x480",),
            missing="" if name == "ir-CSN-152" else "there is no such backbone here",
        )
        for name, millions, seconds in _TABLE_1
    ),
)
