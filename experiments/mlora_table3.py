r"""MLoRA's Table 3: what adapters do for each domain.

    python -m experiments.mlora_table3 --data=data/ml1m-gender,data/amazon-6

Test AUC by domain of MLP, FiBiNET and DeepFM, base and base + MLoRA: the runs
of `experiments.mlora_table2`, read by domain. The paper's table is of
Taobao-10, which couldn't be had; there every domain gains, by 0.5 to 1.6 on
average. Expect mean gains of less than 0.1 by gender and of 0.2 to 0.5 in five
categories of amazon-6, jointly, with Musical_Instruments at -0.2. A seed is 6
runs: 4 minutes of two cores by gender, an hour with amazon-6.
"""

import statistics
from collections.abc import Sequence

from experiments import binary
from experiments import mlora_table2
from experiments.markdown_table import markdown_table
from experiments.study import figures
from experiments.study import paper
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import domain_table
from experiments.study.result import Result
from experiments.study.result import rival_of
from experiments.study.statistics import Summary
from experiments.study.study import Study


def arms(data: DataSet, preset: str) -> list[Arm]:
    """The rows on a data set."""
    return [
        arm
        for backbone in paper.MLORA_BACKBONES
        for arm in mlora_table2.backbone_arms(data, preset, backbone)
    ]


def table(found: Sequence[Result]) -> str:
    """WAUC and every domain's AUC, then means over the models."""
    return (
        f"{domain_table(found, overall='wauc')}\n\nMean gain over the "
        f"models, the paper's Avg:\n\n{mean_gains(found)}"
    )


def mean_gains(found: Sequence[Result]) -> str:
    """A line for each schedule: what its models gain on average."""
    parts = []
    for data in dict.fromkeys(one.arm.data for one in found):
        mine = [one for one in found if one.arm.data == data]
        names = dict.fromkeys(one.arm.name for one in mine if one.arm.rival)
        rows = []
        for name in names:
            models = [one for one in mine if one.arm.name == name]
            rows.append((data.name, name, *_means(models, mine)))
        heading = ("data", "arm", "models", "WAUC", *data.domains)
        parts.append(markdown_table(heading, rows))
    return "\n\n".join(parts)


def _means(models: Sequence[Result], found: Sequence[Result]) -> list[str]:
    """How many models there are, and their mean gains: overall, by domain."""
    pairs = [(one, rival) for one in models if (rival := rival_of(one, found))]
    gains = [
        [
            one.over(rival).gain.mean,
            *(
                one.domain_over(rival, i).gain.mean
                for i in range(len(one.arm.data.domains))
            ),
        ]
        for one, rival in pairs
    ]
    means = [statistics.mean(column) for column in zip(*gains, strict=True)]
    cells = [Summary.of([mean]).text(sign=True) for mean in means]
    return [str(len(pairs)), *cells]


STUDY = Study(
    "mlora_table3",
    "MLoRA's Table 3: the domains, one by one",
    "AUC of each domain. The paper's Taobao-10 couldn't be had.",
    arms,
    table=table,
    of_domains="auc",
    figure=figures.domain_gains,
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
