r"""STAR's Figure 6: every model with and without the auxiliary network.

    python -m experiments.star_figure6 --data=data/ml1m-occupation \
        --models=Base,STAR,MLoRA --seeds=1

The models of `experiments.star_table2`, whose runs it shares, and the same
without the auxiliary network. In the paper all of them gain from it, MulANN
least; it gives no numbers. By occupation expect the Base to gain 0.2 in
user-weighted AUC, and STAR and MLoRA nothing. A seed of these three is 6 runs,
half of them `experiments.star_table2`'s: ten minutes of two cores.
"""

import functools

from experiments import binary
from experiments.star_table2 import METRICS
from experiments.star_table2 import MODELS
from experiments.study import figures
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import arm_table
from experiments.study.recipes import star_recipe
from experiments.study.study import Study


def arms(data: DataSet, preset: str) -> list[Arm]:
    """Two rows for each model."""
    return [
        Arm(
            data,
            name,
            "with" if auxiliary else "without",
            star_recipe(preset, data, tower, auxiliary=auxiliary),
            rival="without" if auxiliary else None,
        )
        for name, tower in MODELS.items()
        for auxiliary in (False, True)
    ]


STUDY = Study(
    "star_figure6",
    "STAR's Figure 6: the auxiliary network",
    "Gains are those of the auxiliary network.",
    arms,
    table=functools.partial(arm_table, metrics=METRICS),
    figure=functools.partial(figures.with_and_without, metric=METRICS[0]),
    data=("data/amazon-6",),
    presets=("tuned", "paper"),
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
