r"""Which tower: every way in which domains can share, on one log.

    python -m experiments.towers --data=data/ml1m-gender --seeds=3

The MLP with each tower, STAR also with MLoRA's adapters in place of
("factorized") or beside ("parallel") its own networks; with the penalty and
the dropout that a search chose for each, or else for the shared tower
(`experiments.search`). Tells quality, the domains' own parameters and the
seconds of an epoch. A seed takes half an hour of a core by gender, most of it
with MMoE, PLE and cross-stitch, which put all rows through every network. None
leads the base by more than .1 there; MulANN falls behind it, and so does STAR
with adapters in place of its own networks or beside them.
"""

from collections.abc import Sequence

from experiments import binary
from experiments.markdown_table import markdown_table
from experiments.mlora_table2 import base_arm
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import gain
from experiments.study.markdown import measured
from experiments.study.recipes import recipe
from experiments.study.result import Result
from experiments.study.result import rival_of
from experiments.study.study import Study
from mlora_tf.towers import TOWERS
from mlora_tf.towers.star import MLORA_FORMS


def arms(data: DataSet, preset: str) -> list[Arm]:
    """A row for each tower; gains are over the shared one."""
    return [
        base_arm(data, preset, "mlp"),
        *(
            Arm(
                data,
                "mlp",
                tower,
                recipe(preset, data, "mlp", tower, schedule="joint"),
                rival="base",
            )
            for tower in TOWERS
            if tower != "shared"
        ),
        *(
            Arm(
                data,
                "mlp",
                f"star, {form}",
                recipe(
                    preset,
                    data,
                    "mlp",
                    "star",
                    tower_options={"mlora": form},
                ),
                rival="base",
            )
            for form in MLORA_FORMS
        ),
    ]


def table(found: Sequence[Result]) -> str:
    """Quality, size and time."""
    heading = (
        "data",
        "tower",
        "seeds",
        "WAUC",
        "gain",
        "p",
        "macro AUC",
        "gain",
        "p",
        "parameters",
        "of the domains",
        "s/epoch",
    )
    rows = []
    for one in found:
        rival = rival_of(one, found)
        last = one.phases[-1]
        rows.append(
            (
                one.arm.data.name,
                one.arm.name,
                str(len(one.phases)),
                measured(one, "wauc"),
                *gain(one, rival, "wauc"),
                measured(one, "macro_auc"),
                *gain(one, rival, "macro_auc"),
                f"{last['parameters']:,}",
                f"{last['domain_parameters']:,}",
                f"{one.epoch_seconds:.1f}",
            )
        )
    return markdown_table(heading, rows)


STUDY = Study(
    "towers",
    "Every tower on one log",
    "`base` is the shared tower. Of the parameters, those of the domains' own "
    "are counted over all of them. Seconds are the fastest run's epoch of "
    "training, on one thread.",
    arms,
    table=table,
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
