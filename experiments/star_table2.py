r"""STAR's Table 2: what domains can share, from all to nothing.

    python -m experiments.star_table2 --data=data/ml1m-occupation --seeds=1

The paper's six models, and PLE and MLoRA besides, each with the auxiliary
network and STAR's seven layers: Base, Shared Bottom, MulANN, MMoE and
Cross-Stitch with batch normalization, STAR with its own. The paper's data are
Alibaba's and can't be had; there STAR leads the Base by 1.42 in user-weighted
AUC, and MulANN falls behind it. Expect 0.2 with 21 occupations, 0.5 with
`--preset=paper`, and MulANN far behind. A seed is 8 runs. There the Base, STAR
and MLoRA take two to eight minutes each; Cross-Stitch, MMoE and PLE put
all rows through a network for each domain, and take many times as long.
"""

import math
from collections.abc import Sequence

from experiments import binary
from experiments.study import paper
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import arm_table
from experiments.study.markdown import domain_table
from experiments.study.recipes import star_recipe
from experiments.study.result import Result
from experiments.study.study import Study

METRICS = ("user_auc", "wauc", "auc")
MODELS = {
    "Base": "shared",
    "Shared Bottom": "shared_bottom",
    "MulANN": "mulann",
    "MMoE": "mmoe",
    "Cross-Stitch": "cross_stitch",
    "STAR": "star",
    "PLE": "ple",
    "MLoRA": "mlora",
}
"""By the paper's names, the towers."""


def arms(data: DataSet, preset: str) -> list[Arm]:
    """A row for each model."""
    return [
        Arm(
            data,
            "mlp",
            name,
            star_recipe(preset, data, tower),
            rival=None if name == "Base" else "Base",
            paper=paper.STAR_TABLE2.get(tower),
        )
        for name, tower in MODELS.items()
    ]


def table(found: Sequence[Result]) -> str:
    """Overall, then domain by domain.

    There too the paper has user-weighted AUC; of data without users, and of
    runs from before it was measured, it is plain AUC.
    """
    measured = any(
        not math.isnan(value)
        for one in found
        for index in range(len(one.arm.data.domains))
        for value in one.domain(index, METRICS[0])
    )
    by_domain = domain_table(found, METRICS[0] if measured else "auc")
    overall = arm_table(found, METRICS, same_data=False)
    return f"{overall}\n\nDomain by domain:\n\n{by_domain}"


STUDY = Study(
    "star_table2",
    "STAR's Table 2: what domains share",
    "The paper's columns are its overall user-weighted AUC on Alibaba's own "
    "data, and the gain in it: gains compare, not levels.",
    arms,
    table=table,
    of_domains=METRICS[0],
    data=("data/amazon-6",),
    presets=("tuned", "paper"),
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
