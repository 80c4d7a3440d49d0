r"""MLoRA's Figure 4: the temperature, hence the adapters' rank.

    python -m experiments.mlora_figure4 --data=data/amazon-6 --seeds=3

MLP, FiBiNET and DeepFM with temperatures of 1 to 256, jointly, beside their
bases. In the paper WAUC rises and then falls, with the best at 128, 32 and 64.
Expect differences of 0.2 by gender, where a seed's noise is half of that, and
on amazon-6 82.5 to 82.6 with the MLP and temperatures of 1, 2, 4 and 16.
By gender the search has chosen to adapt the last layer alone, of 64 units:
temperatures of 64 and more are one model there, of rank 1. The paper's text
names no data for it; Amazon is our choice. Writes a figure besides the table,
of backbones with two temperatures at least. A seed is 30 runs: a quarter of an
hour of two cores by gender, four to five hours with amazon-6.
"""

from experiments import binary
from experiments.mlora_table2 import base_arm
from experiments.study import figures
from experiments.study import paper
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.recipes import recipe
from experiments.study.study import Study

TEMPERATURES = tuple(2**power for power in range(9))


def arms(data: DataSet, preset: str) -> list[Arm]:
    """A base and nine temperatures for each backbone."""
    found = []
    for backbone in paper.MLORA_BACKBONES:
        found.append(base_arm(data, preset, backbone))
        for temperature in TEMPERATURES:
            adapted = recipe(
                preset,
                data,
                backbone,
                "mlora",
                schedule="joint",
                temperature=temperature,
            )
            name = f"temperature {temperature}"
            found.append(Arm(data, backbone, name, adapted, rival="base"))
    return found


STUDY = Study(
    "mlora_figure4",
    "MLoRA's Figure 4: temperature",
    "rank = max(units // temperature, 1), so 1 is a full rank. With `tuned` "
    "the layers that a search chose are adapted: by gender and by occupation "
    "the last alone, of 64 units, so that 64 and more are one model; the "
    "paper adapts all.",
    arms,
    figure=figures.temperatures,
    data=("data/amazon-6",),
    series=lambda arm: (arm.data, arm.group),
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
