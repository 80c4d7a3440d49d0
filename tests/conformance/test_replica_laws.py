"""One replica and two train alike, each of the two on domains of its own.

Goldens train side by side in one model, for time: they share inputs, not
weights. The three steps come in executions of two: one whole, one cut short.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.distribution import mirrored_strategy
from tests import goldens

STEPS = 3
BATCH = 8
LAYERS = tuple(
    name
    for name, golden in goldens.LAYERS.items()
    if golden.make().trainable_weights and not golden.random
)
FAST = ("mlp-mlora", "mlp-shared-batch-auxiliary", "mlp-star-partitioned")
# Every layer as it is; with other arguments it is the same code.
FAST_LAYERS = tuple(name for name in LAYERS if "-" not in name)
SLOW = tuple(
    name
    for name in (*LAYERS, *goldens.MODELS)
    if name not in (*FAST_LAYERS, *FAST)
)
GROUPS = (
    FAST_LAYERS,
    FAST,
    *(SLOW[i : i + 30] for i in range(0, len(SLOW), 30)),
)
"""Those that train side by side."""


def side_by_side(names):
    """A model of those goldens, and each golden's part by name."""
    inputs = {
        name: keras.Input((), dtype="int32", name=name)
        for name in goldens.SCHEMA.num_ids
    }
    outputs, parts = {}, {}
    for name in filter(goldens.LAYERS.get, names):
        golden = goldens.LAYERS[name]
        own = golden.symbolic(f"{name}_")
        inputs |= own
        parts[name] = golden.fresh(name)
        arguments = [inputs["domain"]] if golden.takes_domain else []
        flat = keras.tree.flatten(parts[name](*own.values(), *arguments))
        outputs |= {f"{name}_{i}": output for i, output in enumerate(flat)}
    ids = {name: inputs[name] for name in goldens.SCHEMA.num_ids}
    for name in filter(goldens.MODELS.get, names):
        parts[name] = goldens.MODELS[name].fresh()
        parts[name].name = name
        outputs[name] = parts[name](ids)["ctr"]
    model = keras.Model(inputs, outputs)
    for part in parts.values():
        goldens.randomize(part)
    return model, parts


def batches(model, names):
    """Global batches whose halves, one a replica, are of different domains."""
    first = np.arange(STEPS).repeat(BATCH) % goldens.NUM_DOMAINS
    second = np.arange(STEPS * BATCH) % BATCH >= BATCH // 2
    domain = (first + second) % goldens.NUM_DOMAINS
    rng = np.random.default_rng(4)
    inputs = goldens.rows_of(domain, len(domain))
    targets = {}
    for name in filter(goldens.LAYERS.get, names):
        golden = goldens.LAYERS[name]
        # Keras adds up the replicas' first batch, and can't add bools.
        arrays = [
            array.astype("int32") if array.dtype == bool else array
            for array in golden.inputs(domain, len(domain))
        ]
        own = golden.symbolic(f"{name}_")
        inputs |= dict(zip(own, arrays, strict=False))
    for name, output in model.output.items():
        shape = (len(domain), *output.shape[1:])
        targets[name] = rng.normal(size=shape).astype("float32")
    for name in filter(goldens.MODELS.get, names):
        targets[name] = goldens.labels(len(domain))
    return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(BATCH)


def trained(names, strategy, **compile_options):
    """Each golden's weights before and after some steps of SGD."""
    with strategy.scope():
        model, parts = side_by_side(names)
        model.compile(
            optimizer=keras.optimizers.SGD(0.1),
            loss={
                name: "binary_crossentropy"
                if name in goldens.MODELS
                else "mean_squared_error"
                for name in model.output
            },
            **compile_options,
        )
    before = {name: goldens.arrays(part) for name, part in parts.items()}
    model.fit(batches(model, names), shuffle=False, verbose=0)
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


@functools.cache
def on_one(group):
    # Eagerly, for time.
    strategy = tf.distribute.get_strategy()
    return trained(GROUPS[group], strategy, run_eagerly=True)


@functools.cache
def on_two(group):
    return trained(GROUPS[group], mirrored_strategy(2), steps_per_execution=2)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        pytest.param(
            group, name, marks=pytest.mark.slow if name in SLOW else ()
        )
        for group, names in enumerate(GROUPS)
        for name in names
    ],
)
def test_two_replicas_end_where_one_does(group, name):
    before, ones = (result[name] for result in on_one(group))
    begun, twos = (result[name] for result in on_two(group))
    moved = {}
    for path, copied in twos.items():
        np.testing.assert_array_equal(before[path], begun[path])
        moved[path] = np.abs(ones[path][0] - before[path]).max()
        assert len(copied) == 2, path
        for two in copied:
            np.testing.assert_allclose(two, ones[path][0], atol=1e-6, rtol=0)
    # Not each of them: a normalized tower hardly sees the domain's embedding,
    # a softmax no bias.
    assert np.median(list(moved.values())) > 1e-5
