r"""STAR's section 4.4: a sliding window against the order of time.

    python -m data_prep.synthetic --rows=2000000 --domains=10 --users=20000 \
        --items=5000 --drift=2 --output=data/drift
    python -m experiments.star_section44 --data=data/drift --seeds=1

On a synthetic log whose domains' traffic and effects turn twice as time goes
on, the Base and STAR see every row once: as it comes (a buffer of one batch),
drawn from a buffer of the last 16 to 256 batches, or with all rows shuffled, as
no stream can be. The test rows are the last ones. The paper says that the
buffer made training more stable and gives no number; here one of 16 to 256
batches gains the Base -.1 to .5 and STAR .1 (one seed). A seed is 10
runs: 3 minutes of two cores.
"""

from experiments import binary
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.recipes import star_recipe
from experiments.study.study import Study

BUFFERS = (16, 64, 256)
"""In batches."""


def arms(data: DataSet, preset: str) -> list[Arm]:
    """Each order, for both models."""
    found = []
    for name, tower in (("Base", "shared"), ("STAR", "star")):
        once = star_recipe(preset, data, tower, max_epochs=1)
        orders = {
            "as it comes": 1,
            **{f"buffer of {batches} batches": batches for batches in BUFFERS},
        }
        for order, batches in orders.items():
            recipe = star_recipe(
                preset,
                data,
                tower,
                max_epochs=1,
                batches="sliding_window",
                window_rows=batches * once.batch_size,
            )
            rival = None if batches == 1 else "as it comes"
            found.append(Arm(data, name, order, recipe, rival=rival))
        found.append(Arm(data, name, "shuffled", once, rival="as it comes"))
    return found


STUDY = Study(
    "star_section44",
    "STAR's section 4.4: the order of a stream",
    "Every row once. Test rows are the last in time.",
    arms,
    data=("data/drift",),
    presets=("paper", "tuned"),
)


if __name__ == "__main__":
    STUDY.define_flags()
    binary.run(STUDY.main)
