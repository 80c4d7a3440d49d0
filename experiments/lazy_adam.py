r"""LazyAdam against Adam: quality and time, with error bars.

    python -m experiments.lazy_adam --data=data/ml1m-gender --seeds=3

The MLP with MLoRA, jointly: with Adam and what the preset has, L2 on whole
tables above all; with Adam without any L2; and with LazyAdam without L2 and
with L2 of several strengths on the batch's own rows, which keeps the gradient
sparse. The strength that validation prefers is the arm to compare. A seed takes
five minutes of a core by gender; `--dry_run` says it of other data. By gender
LazyAdam is .6 WAUC below, and no faster on tables as small as those.
"""

from collections.abc import Sequence
from typing import Any

from experiments import binary
from experiments.markdown_table import markdown_table
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import gain
from experiments.study.markdown import measured
from experiments.study.recipes import recipe
from experiments.study.result import Result
from experiments.study.result import rival_of
from experiments.study.statistics import Summary
from experiments.study.study import Study

FACTORS = (0.01, 0.1, 1.0)
"""Strengths on the batch's rows, in parts of the one on whole tables."""


def arms(data: DataSet, preset: str) -> list[Arm]:
    """A row for each optimizer and penalty."""

    def arm(name: str, strength: float, **changes: Any) -> Arm:
        adapted = recipe(
            preset,
            data,
            "mlp",
            "mlora",
            schedule="joint",
            embedding_l2=strength,
            **changes,
        )
        rival = None if name == first else first
        return Arm(data, "mlp + MLoRA", name, adapted, rival=rival)

    strength = recipe(preset, data, "mlp", "mlora").embedding_l2
    first = f"Adam, L2 {strength:g} on whole tables"
    lazy = "lazy_adam"
    return [
        arm(first, strength),
        arm("Adam", 0.0),
        arm("LazyAdam", 0.0, optimizer=lazy),
        *(
            arm(
                f"LazyAdam, L2 {factor * strength:g} on the batch's rows",
                factor * strength,
                optimizer=lazy,
                embedding_l2_rows="batch",
            )
            for factor in FACTORS
        ),
    ]


def table(found: Sequence[Result]) -> str:
    """Quality in test and validation, and what an epoch takes."""
    heading = (
        "data",
        "arm",
        "seeds",
        "validation WAUC",
        "test WAUC",
        "gain",
        "p",
        "test logloss",
        "s/epoch",
    )
    rows = []
    for one in found:
        logloss = Summary.of(one.test("logloss")).text(digits=4)
        rows.append(
            (
                one.arm.data.name,
                one.arm.name,
                str(len(one.phases)),
                Summary.of(one.valid("wauc")).text(),
                measured(one, "wauc"),
                *gain(one, rival_of(one, found), "wauc"),
                logloss,
                f"{one.epoch_seconds:.1f}",
            )
        )
    return markdown_table(heading, rows)


STUDY = Study(
    "lazy_adam",
    "LazyAdam against Adam",
    "Gains are over Adam with L2 on whole tables. Seconds are those of the "
    "fastest run, on one thread.",
    arms,
    table=table,
    presets=("tuned",),
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
