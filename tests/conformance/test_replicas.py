"""One replica and two train alike, each of the two on domains of its own.

All goldens train side by side in one model, for time: they share inputs, not
weights. The three steps come in executions of two: one whole, one cut short.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.distribution import mirrored_strategy
from tests import goldens

STEPS = 3
BATCH = 8
LAYERS = [
    name
    for name, golden in goldens.LAYERS.items()
    if golden.make().weights and not golden.random
]
NAMES = [*LAYERS, *goldens.MODELS]


def side_by_side():
    """A model of all goldens, and each golden's part by name."""
    inputs = {
        name: keras.Input((), dtype="int32", name=name)
        for name in goldens.SCHEMA.num_ids
    }
    outputs, parts = {}, {}
    for name in LAYERS:
        golden = goldens.LAYERS[name]
        x = keras.Input(golden.row_shape, name=f"x_{name}")
        inputs[f"x_{name}"] = x
        parts[name] = golden.fresh(name)
        arguments = [inputs["domain"]] if golden.takes_domain else []
        outputs[name] = parts[name](x, *arguments)
    ids = {name: inputs[name] for name in goldens.SCHEMA.num_ids}
    for name, golden in goldens.MODELS.items():
        parts[name] = golden.fresh()
        parts[name].name = name
        outputs[name] = parts[name](ids)["ctr"]
    model = keras.Model(inputs, outputs)
    for part in parts.values():
        goldens.randomize(part)
    return model, parts


def batches(model):
    """Global batches whose halves, one a replica, are of different domains."""
    first = np.arange(STEPS).repeat(BATCH) % goldens.NUM_DOMAINS
    second = np.arange(STEPS * BATCH) % BATCH >= BATCH // 2
    domain = (first + second) % goldens.NUM_DOMAINS
    rng = np.random.default_rng(4)
    inputs = goldens.rows_of(domain, len(domain))
    targets = {}
    for name in LAYERS:
        golden = goldens.LAYERS[name]
        (x, *_) = golden.inputs(domain, len(domain))
        inputs[f"x_{name}"] = x
        shape = (len(domain), *model.output[name].shape[1:])
        targets[name] = rng.normal(size=shape).astype("float32")
    for name in goldens.MODELS:
        targets[name] = goldens.labels(len(domain))
    return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(BATCH)


def trained(strategy, **compile_options):
    """Each golden's weights before and after some steps of SGD."""
    with strategy.scope():
        model, parts = side_by_side()
        model.compile(
            optimizer=keras.optimizers.SGD(0.5),
            loss={
                name: "binary_crossentropy"
                if name in goldens.MODELS
                else "mean_squared_error"
                for name in NAMES
            },
            **compile_options,
        )
    before = {name: goldens.arrays(part) for name, part in parts.items()}
    model.fit(batches(model), shuffle=False, verbose=0)
    # Each replica's own copy, to see them drift apart.
    after = {
        name: {
            weight.path: [copy.numpy() for copy in copies(strategy, weight)]
            for weight in part.weights
        }
        for name, part in parts.items()
    }
    return before, after


def copies(strategy, weight):
    return strategy.experimental_local_results(weight.value)


@pytest.fixture(scope="module")
def on_one():
    # Eagerly, for time.
    return trained(tf.distribute.get_strategy(), run_eagerly=True)


@pytest.fixture(scope="module")
def on_two():
    return trained(mirrored_strategy(2), steps_per_execution=2)


@pytest.mark.parametrize("name", NAMES)
def test_two_replicas_end_where_one_does(name, on_one, on_two):
    before, ones = on_one[0][name], on_one[1][name]
    for path, twos in on_two[1][name].items():
        np.testing.assert_array_equal(before[path], on_two[0][name][path])
        assert np.abs(ones[path][0] - before[path]).max() > 1e-4, path
        assert len(twos) == 2, path
        for two in twos:
            np.testing.assert_allclose(two, ones[path][0], atol=1e-6, rtol=0)
