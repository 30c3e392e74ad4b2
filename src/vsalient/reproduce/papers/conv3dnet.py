"""Ding and Fang: Video Saliency Detection by 3D Convolutional Neural Networks, IFTC 2017."""

from vsalient.reproduce.experiment import DataPart, Experiment, Number, Test, Training

TRAINING = Training("conv3dnet", (DataPart("vot2016"), DataPart("usvd")))
_TABLES = (
    ("Table 2", "SegTrackV2", Test("segtrackv2"), (0.7838, 0.9107, 3.0830)),
    ("Table 3", "DAVIS", Test("davis16", "trainval", "all-frames"), (0.8145, 0.9325, 2.9485)),
    # The figure draws ROC curves; the areas under them are the tables'.
    ("Fig. 3", "SegTrackV2", Test("segtrackv2"), (None, 0.9107, None)),
    ("Fig. 3", "DAVIS", Test("davis16", "trainval", "all-frames"), (None, 0.9325, None)),
)

ROWS = tuple(
    Experiment(
        paper="conv3dnet",
        place=place,
        row=name,
        test=test,
        numbers=tuple(
            Number(*each) for each in (("PLCC", "CC", cc), ("AUC", "AUC", auc), ("NSS", "NSS", nss)) if each[2]
        ),
        model="conv3dnet",
        training=TRAINING,
        differs=("the paper states neither learning rate nor batch nor steps: the recipe's are ours",),
    )
    for place, name, test, (cc, auc, nss) in _TABLES
)
