r"""MLoRA's Table 4: adapters and the number of domains.

    python -m experiments.mlora_table4 \
        --data=data/ml1m-gender,data/ml1m-age,data/ml1m-occupation

The paper has 10, 20 and 30 themes of Taobao, which couldn't be had. Here the
same ratings of MovieLens-1M are parted into 2 genders, 7 ages or 21
occupations: the rows stay, the domains become more and smaller. The paper's
mean gain over its ten models falls from 0.48 through 0.35 to 0.29; four of them
are here, MLP, FiBiNET, DeepFM and STAR. Expect means within 0.1 of nothing on
MovieLens, whatever the number of domains, and of 0.1 on amazon-6.

Amazon's categories do as well, where domains bring rows of their own: the
first two of the six, four, and all of them. A category has the same clicks and
the same number of other rows in each, as the categories before it are the same.

    python -m data_prep.amazon --raw=amazon/ --output=data/amazon-2 \
        --categories=Beauty,Luxury_Beauty
    python -m data_prep.amazon --raw=amazon/ --output=data/amazon-4 \
        --categories=Beauty,Luxury_Beauty,Musical_Instruments,Sports_and_Outdoors
    python -m experiments.mlora_table4 \
        --data=data/amazon-2,data/amazon-4,data/amazon-6 --seeds=3

A seed is 8 runs: 6 minutes of two cores by gender, 80 with amazon-6.
"""

import statistics
from collections.abc import Sequence

from experiments import binary
from experiments import mlora_table2
from experiments.markdown_table import markdown_table
from experiments.study import paper
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import arm_table
from experiments.study.result import Result
from experiments.study.result import rival_of
from experiments.study.study import Study


def arms(data: DataSet, preset: str) -> list[Arm]:
    """The rows on a data set."""
    return [
        *(
            arm
            for backbone in paper.MLORA_BACKBONES
            for arm in mlora_table2.backbone_arms(data, preset, backbone)
        ),
        *mlora_table2.star_arms(data, preset),
    ]


def table(found: Sequence[Result]) -> str:
    """The mean and median gain by number of domains, then all rows."""
    names = dict.fromkeys(one.arm.name for one in found if one.arm.rival)
    rows = []
    sets = dict.fromkeys(one.arm.data for one in found)
    for data in sorted(sets, key=lambda one: len(one.domains)):
        cells = []
        for name in names:
            gains = [
                one.over(rival).gain.mean
                for one in found
                if (one.arm.data, one.arm.name) == (data, name)
                and (rival := rival_of(one, found))
            ]
            cells.append(
                f"{statistics.mean(gains):+.2f}, "
                f"{statistics.median(gains):+.2f} (of {len(gains)})"
                if gains
                else ""
            )
        rows.append((data.name, str(len(data.domains)), *cells))
    printed = ", ".join(
        f"{name} {gain:+.2f}" for name, gain in paper.MLORA_TABLE4.items()
    )
    return (
        "Mean and median gain in WAUC over the models, and of how many:\n\n"
        + markdown_table(("data", "domains", *names), rows)
        + f"\n\nThe paper's mean over ten models: {printed}.\n\n"
        + arm_table(found)
    )


STUDY = Study(
    "mlora_table4",
    "MLoRA's Table 4: the number of domains",
    "MovieLens-1M's rows, parted into 2, 7 or 21 domains, and two, four or "
    "six of Amazon's categories stand in for Taobao's 10, 20 and 30 themes, "
    "which couldn't be had; and four models, MLP, FiBiNET, DeepFM and STAR, "
    "for the paper's ten.",
    arms,
    table=table,
    data=("data/ml1m-gender", "data/ml1m-age", "data/ml1m-occupation"),
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
