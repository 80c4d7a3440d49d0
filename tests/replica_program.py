"""What `tests/test_uneven_replicas.py` runs: one, two and three replicas.

    python -m tests.replica_program DATA FOLDER

It writes `FOLDER/<replicas>.npz`. TensorFlow parts the CPU only once, and
other tests need two parts.
"""

import dataclasses
import os
import pathlib
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from mlora_tf import data
from mlora_tf.distribution import mirrored_strategy
from mlora_tf.layers import PartitionedNormalization
from tests import worker_program

CASES = {
    "the last batch is short": {},
    "batches of one domain": {
        "batches": "per_domain",
        "domain_sampling": "proportional",
    },
    "a domain without rows": {},
    "streamed rows": {"tower": "mlora"},
}

UNEVEN = ([5, 2, 0], [1, 0, 6], [3, 3, 1], [0, 0, 1])
"""Rows of each replica, of which the third is the second's where there are two.
"""


def train(folder, strategy, state):
    """The weights and the logs of each case."""
    found = {}
    for case, changes in CASES.items():
        log = data.load(folder, "stream" if "streamed" in case else "memory")
        if "without" in case:
            kept = np.flatnonzero(log.train.domain != 1)
            log = dataclasses.replace(log, train=log.train.take(kept))
        phase, weights = worker_program.trained(
            log, strategy, state / case, batch_size=120, **changes
        )
        found |= {f"{case}/{name}": value for name, value in weights.items()}
        for epoch, logs in enumerate(phase.history):
            found |= {
                f"{case}/{epoch}/{name}": np.array(value)
                for name, value in logs.items()
                if not name.endswith("seconds")
            }
    return found


def dealt(strategy, column, sizes):
    """Each replica's rows of a column."""
    ends = np.cumsum(sizes)[: strategy.num_replicas_in_sync - 1]
    parts = np.split(column, ends)
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def normalize(strategy):
    """Outputs, gradients and statistics over replicas of uneven rows."""
    rng = np.random.default_rng(0)
    with strategy.scope():
        layer = PartitionedNormalization(4)
        layer.build((None, 2), (None,))

    def step(x, domain, weight):
        with tf.GradientTape() as tape:
            y = layer(x, domain, training=True)
            loss = tf.reduce_sum(weight * y)
        return y, tape.gradient(loss, [layer.gamma, layer.domain_beta])

    @tf.function(reduce_retracing=True)
    def on_all(*parts):
        y, gradients = strategy.run(step, parts)
        return y, [strategy.reduce("SUM", g, axis=None) for g in gradients]

    found = {}
    for number, sizes in enumerate(UNEVEN):
        rows = sum(sizes)
        columns = (
            rng.normal(size=(rows, 2)).astype("float32"),
            rng.integers(0, 3, rows).astype("int32"),
            rng.normal(size=(rows, 2)).astype("float32"),
        )
        parts = [dealt(strategy, column, sizes) for column in columns]
        y, gradients = on_all(*parts)
        y = np.concatenate(strategy.experimental_local_results(y))
        found[f"norm {number}/outputs"] = y
        found[f"norm {number}/of gamma"] = gradients[0].numpy()
        found[f"norm {number}/of beta"] = gradients[1].numpy()
        for weight in layer.weights:
            found[f"norm {number}/{weight.name}"] = weight.numpy()
    return found


def main():
    folder, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    worker_program.with_sgd()
    three, two, one = (mirrored_strategy(count) for count in (3, 2, 1))
    for strategy in (one, two, three):
        keras.utils.set_random_seed(0)
        count = strategy.num_replicas_in_sync
        found = train(folder, strategy, output / f"state-{count}")
        np.savez(output / f"{count}.npz", **found, **normalize(strategy))


if __name__ == "__main__":
    main()
