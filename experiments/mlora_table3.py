r"""MLoRA's Table 3: what adapters do for each domain.

    python -m experiments.mlora_table3 --data=data/ml1m-gender,data/amazon-6

Test AUC by domain of MLP, FiBiNET and DeepFM, base and base + MLoRA: the runs
of `experiments.mlora_table2`, read by domain. The paper's table is of
Taobao-10, which couldn't be had; there every domain gains, by 0.5 to 1.6 on
average. Here some gain and some lose. A seed is 6 runs: 4 minutes of two cores
by gender, an hour with amazon-6.
"""

import functools

from experiments import binary
from experiments import mlora_table2
from experiments.study import figures
from experiments.study import paper
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import domain_table
from experiments.study.study import Study


def arms(data: DataSet, preset: str) -> list[Arm]:
    """The rows on a data set."""
    return [
        arm
        for backbone in paper.MLORA_BACKBONES
        for arm in mlora_table2.backbone_arms(data, preset, backbone)
    ]


STUDY = Study(
    "mlora_table3",
    "MLoRA's Table 3: the domains, one by one",
    "AUC of each domain. The paper's Taobao-10 couldn't be had.",
    arms,
    table=functools.partial(domain_table, metric="auc"),
    of_domains="auc",
    figure=figures.domain_gains,
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
