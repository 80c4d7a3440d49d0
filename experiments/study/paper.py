"""What the papers print, in percent."""

import dataclasses

from experiments.study.data_set import DataSet

GENDERS = {"F", "M"}

_COLUMNS = (
    "mlp",
    "star",
    "wide_deep",
    "nfm",
    "autoint",
    "pnn",
    "dcn",
    "fibinet",
    "deepfm",
    "xdeepfm",
)


MLORA_BACKBONES = ("mlp", "fibinet", "deepfm")
"""Those of its ten models that MLoRA's Table 3 and Figure 4 show."""


@dataclasses.dataclass(frozen=True)
class Printed:
    """A pair of numbers of MLoRA's Table 2; None where it has none.

    Attributes:
        base: WAUC of the base.
        mlora: WAUC of base + MLoRA.
    """

    base: float | None = None
    mlora: float | None = None


def _pairs(base: str, mlora: str) -> dict[str, Printed]:
    return {
        backbone: Printed(float(one), float(other))
        for backbone, one, other in zip(
            _COLUMNS, base.split(), mlora.split(), strict=True
        )
    }


MLORA_TABLE2 = {
    "MovieLens-gen": _pairs(
        "80.15 80.18 80.17 80.57 80.25 80.26 80.28 80.47 80.24 80.26",
        "80.39 80.36 80.41 80.59 80.41 80.39 80.42 80.74 80.46 80.44",
    ),
    "Amazon-6": _pairs(
        "75.07 77.26 73.25 65.07 74.10 74.03 75.61 74.93 73.55 74.64",
        "77.48 77.28 74.25 67.41 74.46 75.18 75.62 75.27 74.08 74.83",
    ),
    "Taobao-10": _pairs(
        "72.92 75.51 73.12 76.88 75.56 76.42 72.07 76.51 75.01 75.26",
        "74.53 76.17 73.51 77.08 75.83 76.74 72.14 76.77 75.66 75.64",
    ),
}
"""MLoRA's Table 2, test WAUC."""

ORIGINAL_CODE = {
    ("mlp", "base"): 80.37,
    ("mlp", "mlora"): 80.47,
    ("deepfm", "base"): 80.46,
}
"""Test WAUC of the published TF 1.12 code on MovieLens-gen, one seed.

It was run in TensorFlow 2.12's compatibility mode, patched only to start:
jointly, with temperature 16.
"""

MLORA_TABLE4 = {"Taobao-10": 0.48, "Taobao-20": 0.35, "Taobao-30": 0.29}
"""MLoRA's Table 4: the mean gain over its backbones; its text has .49."""

STAR_TABLE2 = {
    "shared": 63.64,
    "shared_bottom": 63.98,
    "mulann": 63.53,
    "mmoe": 64.03,
    "cross_stitch": 64.15,
    "star": 65.06,
}
"""STAR's Table 2: overall user-weighted AUC on Alibaba's own data."""

STAR_TABLES_3_AND_4 = {
    ("shared", "batch"): 63.64,
    ("shared", "partitioned"): 64.85,
    ("star", "batch"): 64.55,
    ("star", "layer"): 64.63,
    ("star", "partitioned"): 65.06,
}
"""STAR's Tables 3 and 4, the same metric, by tower and normalization."""


def table2(data: DataSet, model: str) -> Printed:
    """What MLoRA's Table 2 says of a model on data that are the paper's.

    Of the paper's data sets that is MovieLens by gender alone: its Amazon-6
    has other categories than any that could be had.
    """
    if set(data.domains) == GENDERS:
        return MLORA_TABLE2["MovieLens-gen"][model]
    return Printed()
