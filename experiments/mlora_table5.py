r"""MLoRA's Table 5: the width of the network that is adapted.

    python -m experiments.mlora_table5 --data=data/ml1m-gender --seeds=1

MLP and MLP + MLoRA, jointly, with hidden layers of one to five times 256, 128
and 64. The paper has MLoRA alone, on its own Amazon-6, and it rises from
75.39 to 76.93. By gender twice the width brings the base 0.05 (one seed). Data
with one width alone aren't shown. A seed is 10 runs, of which the widest
multiply 22 times as much as the narrowest: by gender 1x and 2x took five
minutes of two cores; `--models=2x` trains one width alone.
"""

from experiments import binary
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.recipes import recipe
from experiments.study.study import Study

HIDDEN_UNITS = (256, 128, 64)
MULTIPLES = (1, 2, 3, 4, 5)


def arms(data: DataSet, preset: str) -> list[Arm]:
    """A base and its adapters for each width."""
    found = []
    for times in MULTIPLES:
        units = tuple(times * one for one in HIDDEN_UNITS)
        for name, tower in (("base", "shared"), ("+ MLoRA, joint", "mlora")):
            found.append(
                Arm(
                    data,
                    f"{times}x",
                    name,
                    recipe(
                        preset,
                        data,
                        "mlp",
                        tower,
                        schedule="joint",
                        hidden_units=units,
                    ),
                    rival=None if name == "base" else "base",
                )
            )
    return found


STUDY = Study(
    "mlora_table5",
    "MLoRA's Table 5: width",
    "Hidden layers of one to five times 256, 128 and 64. With `tuned` the "
    "layers that a search chose are adapted: by gender and by occupation the "
    "last alone; the paper adapts all.",
    arms,
    data=("data/amazon-6",),
    series=lambda arm: arm.data,
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
