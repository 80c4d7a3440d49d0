r"""What MLoRA's gain is made of: controls that every comparison needs.

    python -m experiments.mlora_controls --data=data/ml1m-gender

On the MLP: the base, the base with the penalty on the tables that was chosen
for MLoRA, where it is another one, the base trained on for as long as a second
phase, a bias for each domain alone, one adapter for all domains, and MLoRA in
two phases and jointly. The better of these two on validation stands beside the
better of two bases, which has two trainings to choose from as well. Then the
base without a fifth of the rows, and adapters that are trained on that fifth,
which it has never seen; and the base and MLoRA with dropout 0 and .5. What an
adapter without domains gains isn't the domains' gain. No paper has this table.
By gender expect no row to differ from the base by 0.1, but for dropout .5
(-0.3) and what lacks a fifth of the rows (-0.5); on amazon-6 MLoRA gains 0.28,
and one adapter for all nothing on average.
A seed is 8 or 9 runs: 8 minutes of two cores by gender, 70 with amazon-6.
"""

import dataclasses

from experiments import binary
from experiments.mlora_table2 import base_arm
from experiments.study.arm import AnyArm
from experiments.study.arm import Arm
from experiments.study.arm import ChosenArm
from experiments.study.data_set import DataSet
from experiments.study.recipes import recipe
from experiments.study.recipes import two_phase
from experiments.study.study import Study

LESS = "base without a fifth of the rows"
PENALIZED = "base with MLoRA's penalty"


def arms(data: DataSet, preset: str) -> list[AnyArm]:
    """The rows on a data set."""
    joint = recipe(preset, data, "mlp", "mlora", schedule="joint")
    phases = two_phase(preset, data, "mlp")
    train_on = recipe(
        preset, data, "mlp", "shared", schedule="two_phase", control="train_on"
    )
    # Each is what it is a part of, but for that part: a bias is on a base.
    bias = dataclasses.replace(
        phases,
        schedule="joint",
        control="bias_only",
        rank_power=0.0,
        stop_by_domain=False,
    )
    adapter = dataclasses.replace(
        joint, control="shared_adapter", rank_power=0.0
    )
    rows = [
        ("base trained on", train_on),
        ("bias of each domain", bias),
        ("one adapter for all", adapter),
        ("MLoRA, two phases", phases),
        ("MLoRA, joint", joint),
    ]
    for rate in (0.0, 0.5):
        for name, tower in (("base", "shared"), ("MLoRA, joint", "mlora")):
            chosen = recipe(preset, data, "mlp", tower, schedule="joint")
            if rate != chosen.dropout:
                changed = dataclasses.replace(chosen, dropout=rate)
                rows.append((f"{name}, dropout {rate:g}", changed))
    base = base_arm(data, preset, "mlp")
    same = dataclasses.replace(
        recipe(preset, data, "mlp", "shared"), embedding_l2=joint.embedding_l2
    )
    penalized = []
    if same.embedding_l2 != base.recipe.embedding_l2:
        # The first phase: whoever has trained it, as any base.
        penalized = [Arm(data, "mlp", PENALIZED, same, rival="base", phase=0)]
    fresh = two_phase(preset, data, "mlp", fresh_fraction=0.2)
    adapted = [Arm(data, "mlp", *one, rival="base") for one in rows]
    by_name = {one.name: one for one in adapted}
    schedules = [by_name["MLoRA, two phases"], by_name["MLoRA, joint"]]
    bases = [
        dataclasses.replace(base, rival="base", paper=None, later=later)
        for later in (0, 1)
    ]
    return [
        base,
        *penalized,
        *adapted,
        ChosenArm("MLoRA, chosen", schedules),
        ChosenArm("better of two bases", bases),
        ChosenArm("MLoRA, by domain", schedules, by_domain=True),
        ChosenArm("better of two bases by domain", bases, by_domain=True),
        Arm(data, "mlp", LESS, fresh, rival="base", phase=0),
        Arm(data, "mlp", "MLoRA on that fifth", fresh, rival=LESS),
    ]


STUDY = Study(
    "mlora_controls",
    "What MLoRA's gain is made of",
    "All arms share the first weights and the order of the batches. Chosen is "
    "the better of two phases and joint training on validation, by domain the "
    "better for each; the better of two bases is so of its seed's and the next "
    "one's, so that two seeds' gains share a base and aren't tested.",
    arms,
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
