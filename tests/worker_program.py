"""What a worker of `tests/test_multi_worker.py` does: trains, and tells all.

    python -m tests.worker_program DATA FOLDER

It writes `FOLDER/<index>.json` and `FOLDER/<index>.npz`.
"""

import dataclasses
import json
import os
import pathlib
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from mlora_tf import data
from mlora_tf import keras_multi_worker
from mlora_tf import phases
from mlora_tf import training
from mlora_tf.cluster import ClusterError
from mlora_tf.distribution import training_strategy
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import evaluate_split
from mlora_tf.recipes import Recipe
from mlora_tf.workers import Workers

RECIPE = Recipe(
    tower="star",
    norm="partitioned",
    hidden_units=(4,),
    embedding_dim=4,
    embedding_l2=1e-3,
    embedding_l2_rows="batch",
    learning_rate=0.5,
    batch_size=180,
    max_epochs=2,
    patience=1,
    seed=3,
)
"""Layers that meet over replicas, and a table of which each has a part."""


def with_sgd():
    """Adam divides by sizes of gradients, and so magnifies rounding."""
    phases.OPTIMIZERS["adam"] = lambda rate, epsilon: keras.optimizers.SGD(rate)


def trained(log, strategy, state, **changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    (phase,) = training.train(log, recipe, strategy, state_folder=state)
    weights = {weight.path: weight.numpy() for weight in phase.model.weights}
    return phase, weights


def faults(strategy):
    """What Keras's own fit raises at each of the two places."""
    original = keras_multi_worker.trainer.reduce_per_replica
    found = []
    for mend_first in (False, True):
        with strategy.scope():
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
        rows = tf.data.Dataset.from_tensors((np.ones((2, 2)), np.ones((2, 1))))
        parts = strategy.distribute_datasets_from_function(
            lambda context, rows=rows: rows
        )
        try:
            if mend_first:
                with keras_multi_worker.mended_fit(strategy):
                    keras_multi_worker.trainer.reduce_per_replica = original
                    model.fit(parts, verbose=0)
            else:
                model.fit(parts, verbose=0)
        except ValueError as error:
            found.append(str(error))
        else:
            found.append("")
    return found


def exchanged(workers):
    """What workers tell each other."""
    i = workers.index
    special = np.array([np.nan, -0.0, np.inf, i], np.float32)[: 2 + i]
    told = {
        "part": list(workers.part(7)),
        "gathered": workers.gather(special).view(np.int32).tolist(),
        "empty": workers.gather(np.empty((0, 3), np.int8)).shape,
        "some": workers.gather(np.full((i, 2), i, np.int64)).tolist(),
        "chief": workers.from_chief(lambda: {"index": i}),
        "each": workers.from_each(f"worker {i}é"),
        "none": workers.arrays_from_chief(lambda: None),
    }
    arrays = workers.arrays_from_chief(
        lambda: {"a": np.arange(5, dtype=np.uint8) + i, "b": np.array("text")}
    )
    told["arrays"] = [arrays["a"].tolist(), str(arrays["b"])]
    workers.check_same("number", 1)
    for name, work in (
        ("unlike", lambda: workers.check_same("number", [i])),
        ("failed", lambda: workers.from_chief(lambda: 1 // 0)),
    ):
        try:
            work()
        except (ClusterError, ZeroDivisionError) as error:
            told[name] = f"{type(error).__name__}: {error}"
    return told


def main():
    folder, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    with_sgd()
    strategy = training_strategy()
    workers = Workers(strategy)
    log = data.load(folder)
    told = {"faults": faults(strategy), "exchanged": exchanged(workers)}
    phase, weights = trained(log, strategy, output / f"state-{workers.index}")
    told["history"] = phase.history
    told["best"] = [phase.best, phase.best_epoch]
    predictor = Predictor(phase.model)
    for reading in ("memory", "stream"):
        told[reading] = evaluate_split(
            predictor,
            data.load(folder, reading).test,
            log.schema,
            user_feature="user",
            workers=workers,
        ).to_dict()
    np.savez(output / f"{workers.index}.npz", **weights)
    path = output / f"{workers.index}.json"
    path.write_text(json.dumps(told), "utf-8")


if __name__ == "__main__":
    main()
