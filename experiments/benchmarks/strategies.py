r"""What a training step costs by strategy and compiler.

    python -m experiments.benchmarks.strategies

Times steps of the shared and the mlora MLP at batch 1024 on random ids under
TensorFlow's default strategy, the same compiled by XLA (the shared one alone:
on a CPU the parts of a batch have no static shape), a MirroredStrategy of one
device and one of two logical CPU devices, and writes
`experiments/results/strategies.json`. It takes about three minutes.
"""

import dataclasses
import math
from collections.abc import Callable

from experiments import binary

ROUNDS = 3
NUM_DOMAINS = 2


def main() -> None:
    """Times every strategy and writes the result."""
    from experiments.benchmarks.harness import medians
    from experiments.benchmarks.harness import quiet_tracing
    from experiments.benchmarks.harness import write_result
    from experiments.benchmarks.steps import Workload

    quiet_tracing()
    rows = []
    for tower in ("shared", "mlora"):
        seconds = medians(alternatives(tower), ROUNDS)
        steps = {name: 1000 * value for name, value in seconds.items()}
        rows.append({"tower": tower, **steps})
        print(rows[-1])
    write_result(
        "strategies",
        "python -m experiments.benchmarks.strategies",
        {
            "unit": "ms per step",
            "batch": Workload.batch_size,
            "rounds": ROUNDS,
            "rows": rows,
        },
    )


def alternatives(tower: str) -> dict[str, Callable[[], float]]:
    """By strategy, a function that trains and returns a step's seconds."""
    import tensorflow as tf

    from experiments.benchmarks.steps import Workload
    from experiments.benchmarks.steps import trainer
    from mlora_tf.distribution import mirrored_strategy

    # First, because it splits the CPU before TensorFlow starts.
    two = mirrored_strategy(2)
    one = tf.distribute.MirroredStrategy(
        ["CPU:0"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    workload = Workload(tower, NUM_DOMAINS)
    compiled = dataclasses.replace(workload, jit_compile=True)
    timed = {
        "default": trainer(workload, math.inf),
        "mirrored_one_device": trainer(workload, math.inf, one),
        "mirrored_two_cpu_devices": trainer(workload, math.inf, two),
    }
    if tower == "shared":
        timed["default_xla"] = trainer(compiled, math.inf)
    return timed


if __name__ == "__main__":
    # No bar: what moves takes time of what is measured.
    binary.run(
        main,
        "Measures a step by strategy and compiler: about three minutes ...",
    )
