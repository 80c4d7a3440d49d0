r"""STAR's Tables 3 and 4: what its parts are worth.

    python -m experiments.star_table3 --data=data/ml1m-occupation --seeds=1

Base and star FCN with batch normalization and partitioned (Table 3), and the
star FCN with layer normalization (Table 4), all with the auxiliary network.
Batches are mixed; a row more is STAR in batches of one domain, as its section
3.2 has it, where a moment is of 2,000 rows of that domain. The last row is the
Base with the domain's embedding among its inputs, which in the paper is the
auxiliary network's alone: what any embedding table can do about domains.
In the paper each part gains alone, most together: 63.64 (Base), 64.85 (PN),
64.55 (star FCN), 65.06 (both); layer normalization has 64.63. By occupation
expect 77.2 (Base), 77.3, 77.5 and 77.4, 77.1 with layer normalization, and 77.5
of the last row. A seed is 7 runs: a quarter of an hour of two cores by
occupation.
"""

import functools

from experiments import binary
from experiments.star_table2 import METRICS
from experiments.study import paper
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import arm_table
from experiments.study.recipes import star_recipe
from experiments.study.study import Study

FCN = {"shared": "Base", "star": "star FCN"}
PURE = "star FCN, partitioned, batches of one domain"
TOLD = "Base, batch, the domain in its input"
PARTS = (
    ("shared", "batch"),
    ("shared", "partitioned"),
    ("star", "batch"),
    ("star", "layer"),
    ("star", "partitioned"),
)


def arms(data: DataSet, preset: str) -> list[Arm]:
    """A row for each tower and normalization."""
    first = f"{FCN['shared']}, batch"
    parts = [
        Arm(
            data,
            "mlp",
            f"{FCN[tower]}, {norm}",
            star_recipe(preset, data, tower, norm=norm),
            rival=None if f"{FCN[tower]}, {norm}" == first else first,
            paper=paper.STAR_TABLES_3_AND_4[tower, norm],
        )
        for tower, norm in PARTS
    ]
    pure = star_recipe(
        preset,
        data,
        "star",
        batches="per_domain",
        domain_sampling="proportional",
    )
    told = star_recipe(preset, data, "shared", domain_field=True)
    return [
        *parts,
        Arm(data, "mlp", PURE, pure, rival=first),
        Arm(data, "mlp", TOLD, told, rival=first),
    ]


STUDY = Study(
    "star_table3",
    "STAR's Tables 3 and 4: star FCN and normalization",
    "The paper's columns are its overall user-weighted AUC on Alibaba's own "
    "data, and the gain in it: gains compare, not levels.",
    arms,
    table=functools.partial(arm_table, metrics=METRICS, same_data=False),
    data=("data/amazon-6",),
    presets=("tuned", "paper"),
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
