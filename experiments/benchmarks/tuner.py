r"""How long an epoch waits for TensorFlow's tuner of data pipelines.

    python -m experiments.benchmarks.tuner

Trains the shared MLP in `fit` on epochs of several lengths, on a pipeline as
TensorFlow makes it and on the same one `untuned`, in turns, and writes
`experiments/results/tuner.json`. It takes three minutes on two idle cores;
epochs of 0.2 to 1.3 s take 0.9 to 1.3 times as long with TensorFlow 2.21's
tuner: it depends on where in its doubling sleeps they end.
"""

import functools
import itertools
import statistics
import time
from typing import Any

import keras
import tensorflow as tf

from experiments import binary
from experiments.benchmarks import harness
from experiments.benchmarks.steps import Workload
from experiments.benchmarks.steps import compiled
from mlora_tf.untuned_pipelines import untuned

STEPS = (96, 192, 384, 768)
"""Of an epoch."""

EPOCHS = 5
"""Of a call of `fit`; the first isn't counted, it builds the step."""

ROUNDS = 3


class EpochStarts(keras.callbacks.Callback):
    """Notes when each epoch starts: what `fit` waits for lies between."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the time."""
        self.times.append(time.perf_counter())

    def on_train_end(self, logs: Any = None) -> None:
        """Notes the last epoch's end."""
        self.times.append(time.perf_counter())


def main() -> None:
    """Times epochs of each length and writes the result."""
    harness.quiet_tracing()
    rows = []
    for steps in STEPS:
        plain = pipeline(steps)
        model = compiled(Workload())
        seconds = harness.medians(
            {
                "tuner_seconds": functools.partial(epoch, model, plain),
                "untuned_seconds": functools.partial(
                    epoch, model, untuned(plain)
                ),
            },
            ROUNDS,
        )
        rows.append({"steps": steps, **seconds})
        print(rows[-1])
    harness.write_result(
        "tuner",
        "python -m experiments.benchmarks.tuner",
        {
            "unit": "seconds of an epoch",
            "batch": Workload.batch_size,
            "epochs": EPOCHS - 1,
            "rounds": ROUNDS,
            "rows": rows,
        },
    )


def pipeline(steps: int) -> tf.data.Dataset:
    """So many batches of random rows, without any option."""
    shape = (steps, Workload.batch_size)
    rows = Workload().rows(steps * Workload.batch_size)
    inputs = {name: one.reshape(shape) for name, one in rows.inputs.items()}
    batches = (inputs, rows.label.reshape(shape))
    return tf.data.Dataset.from_tensor_slices(batches).prefetch(2)


def epoch(model: keras.Model, dataset: tf.data.Dataset) -> float:
    """The median seconds of an epoch, the first one left out."""
    starts = EpochStarts()
    model.fit(
        dataset, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[starts]
    )
    return statistics.median(
        after - before for before, after in itertools.pairwise(starts.times[1:])
    )


if __name__ == "__main__":
    # No bar: what moves takes time of what is measured.
    binary.run(main, "Measures an epoch with the tuner: three minutes ...")
