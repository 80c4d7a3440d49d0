r"""How much of a step is the update of the weights that it trains.

    python -m experiments.benchmarks.floor

Adam reads and writes every per-domain weight and both of its moments in each
step, whatever form the layers take. The floor of a tower's step is the shared
tower's without its own update, plus the update of the tower's weights, as if
nothing else of the tower cost anything.

It is an estimate: an update is timed alone, and in a step it may run beside
the gradients of other layers, so that a step may cost less than its floor.
Where the floor is well above a goal, other forms of the layers alone won't
meet that goal.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from experiments.benchmarks import suite

TOWERS = {"mlora": (10, 30, 100, 1000), "star": (10, 30, 100)}


def measure(settings: suite.Settings) -> dict[str, Any]:
    """Times steps and updates of each tower and number of domains."""
    from experiments.benchmarks.report import Line

    rows, lines = [], []
    for tower, domains in TOWERS.items():
        found = [one(tower, each, settings) for each in domains]
        rows += found
        cases = f"D = {', '.join(map(str, domains))}"
        for key, what in (
            ("floor", f"floor of {tower} over shared, mixed: {cases}"),
            ("update_share", f"of {tower}'s step, Adam's update: {cases}"),
        ):
            line = Line(what, [row[key] for row in found], stated="no goal")
            lines.append(line.to_dict())
    return {
        "lines": lines,
        "notes": [
            "The floor is the shared tower's step without its own update, "
            "plus the update of the tower's weights by Adam. Updates are "
            "timed alone: it is an estimate."
        ],
        "rows": rows,
    }


def one(tower: str, domains: int, settings: suite.Settings) -> dict[str, Any]:
    """Times a tower's step and update beside the shared one's."""
    from experiments.benchmarks import harness
    from experiments.benchmarks import steps

    shared = steps.Workload(
        num_domains=domains, execution=steps.execution(domains)
    )
    own = dataclasses.replace(shared, tower=tower)
    seconds = harness.medians(
        {
            "shared": steps.trainer(shared, settings.seconds),
            "step": steps.trainer(own, settings.seconds),
            "shared_update": updater(shared),
            "update": updater(own),
        },
        settings.rounds,
    )
    rest = seconds["shared"] - seconds["shared_update"]
    return {
        "tower": tower,
        "domains": domains,
        "ms": {name: 1000 * value for name, value in seconds.items()},
        "ratio": seconds["step"] / seconds["shared"],
        "floor": (rest + seconds["update"]) / seconds["shared"],
        "update_share": seconds["update"] / seconds["step"],
    }


def updater(workload: Any) -> Callable[[], float]:
    """A function that applies ready gradients; returns a step's seconds.

    Args:
        workload: A `steps.Workload`.
    """
    import tensorflow as tf

    from mlora_tf.phases import OPTIMIZERS

    weights = workload.model().trainable_variables
    optimizer = OPTIMIZERS[workload.optimizer]()
    optimizer.build(weights)
    gradients = [tf.random.normal(weight.shape) for weight in weights]

    @tf.function
    def update() -> None:
        for _ in tf.range(workload.execution):
            optimizer.apply(gradients)

    def clock() -> float:
        began = time.perf_counter()
        update()
        return (time.perf_counter() - began) / workload.execution

    return clock


if __name__ == "__main__":
    suite.run("floor", measure)
