"""What several replicas report as a loss is the loss of one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import DomainLoss
from mlora_tf.layers import EmbeddingTable
from mlora_tf.layers import PartitionedNormalization

ROWS = 12


def tables():
    """Two tables whose penalties are each gathered over the replicas."""
    inputs = {name: keras.Input((), dtype="int32", name=name) for name in "ab"}
    rows = [
        EmbeddingTable(8, 3, batch_l2=0.5, name=f"table_{name}")(inputs[name])
        for name in "ab"
    ]
    return keras.Model(
        inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(rows))
    )


def normalized():
    """A domain's loss after statistics that are summed over the replicas."""
    x = keras.Input((3,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    hidden = PartitionedNormalization(3)(x, domain)
    logits = keras.layers.Dense(3)(hidden)
    passed = DomainLoss(3, weight=2.0)(hidden, logits, domain)
    return keras.Model(
        {"x": x, "domain": domain}, keras.layers.Dense(1)(passed)
    )


def rows():
    rng = np.random.default_rng(0)
    columns = {
        "a": rng.integers(0, 8, ROWS).astype("int32"),
        "b": rng.integers(0, 8, ROWS).astype("int32"),
        "x": rng.normal(size=(ROWS, 3)).astype("float32"),
        "domain": np.sort(rng.integers(0, 3, ROWS)).astype("int32"),
    }
    return columns, rng.normal(size=(ROWS, 1)).astype("float32")


def reported(make, strategy, **options):
    """The loss of two epochs and the weights after them."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = make()
        model.compile(keras.optimizers.SGD(0.1), "mse", **options)
    columns, labels = rows()
    columns = {name: columns[name] for name in model.input}
    data = tf.data.Dataset.from_tensor_slices((columns, labels)).batch(ROWS)
    history = model.fit(data, epochs=2, shuffle=False, verbose=0).history
    return history["loss"], model.get_weights()


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 2}], ids=str)
@pytest.mark.parametrize("make", [tables, normalized])
def test_two_replicas_report_the_loss_of_one(two_replicas, make, options):
    ones, expected = reported(make, tf.distribute.get_strategy())
    twos, weights = reported(make, two_replicas, **options)
    np.testing.assert_allclose(twos, ones, rtol=1e-6)
    for two, one in zip(weights, expected, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6)
