import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers.gradient_reversal import GradientReversal

WEIGHTS = pytest.mark.parametrize("weight", [0, 0.0, 0.25, 1, 3.5])


def inputs(seed=0):
    return np.random.default_rng(seed).normal(size=(8, 3)).astype("float32")


def gradient(function, x):
    """Of `sum(exp(y))`, whose gradient with respect to y is `exp(y)`."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.exp(function(x)))
    return tape.gradient(loss, x).numpy()


@WEIGHTS
def test_inputs_pass_bit_by_bit(weight):
    x = np.concatenate([inputs(), [[-0.0, np.inf, np.nan]]]).astype("float32")
    layer = GradientReversal(weight)
    for function in (layer, tf.function(layer)):
        passed = function(tf.constant(x)).numpy()
        np.testing.assert_array_equal(passed.view("int32"), x.view("int32"))


@WEIGHTS
def test_the_gradient_comes_back_times_minus_the_weight(weight):
    layer, x = GradientReversal(weight), inputs()
    for function in (layer, tf.function(layer)):
        np.testing.assert_allclose(
            gradient(function, x), -weight * np.exp(x), rtol=1e-6
        )


def test_the_weight_is_one_unless_told_otherwise():
    assert GradientReversal().weight == 1.0


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3)])
def test_inputs_may_be_of_any_shape(shape):
    x = np.ones(shape, "float32")
    assert GradientReversal()(x).shape == shape
    assert gradient(GradientReversal(), x).shape == shape


def test_half_precision_stays_half():
    layer = GradientReversal(0.5, dtype="float16")
    x = tf.constant(inputs(), "float16")
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x)
    assert outputs.dtype == "float16"
    assert tape.gradient(outputs, x).dtype == "float16"
    assert layer.weights == []


def model(weight):
    """A shared layer, and a reversal in front of its only successor."""
    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(4, kernel_initializer="ones", name="shared")(x)
    hidden = GradientReversal(weight, name="reversal")(hidden)
    one = keras.Model(
        x, keras.layers.Dense(1, kernel_initializer="ones", name="top")(hidden)
    )
    one.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    return one


def moves(one):
    """How far a step moves each of the model's weights."""
    before = [weight.numpy().copy() for weight in one.weights]
    x = inputs()
    targets = x.sum(axis=1, keepdims=True) * 2 + 1
    data = tf.data.Dataset.from_tensor_slices((x, targets)).batch(8)
    one.fit(data, epochs=1, shuffle=False, verbose=0)
    return [
        weight.numpy() - old
        for weight, old in zip(one.weights, before, strict=True)
    ]


def test_in_training_what_feeds_it_climbs():
    x = keras.Input((3,))
    shared = keras.layers.Dense(4, kernel_initializer="ones")(x)
    plain = keras.Model(
        x, keras.layers.Dense(1, kernel_initializer="ones")(shared)
    )
    plain.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    plain, reversed_ = moves(plain), moves(model(0.5))
    for move, other in zip(plain[:2], reversed_[:2], strict=True):
        assert np.abs(move).max() > 1e-3
        np.testing.assert_allclose(other, -0.5 * move, rtol=1e-4, atol=1e-7)
    for move, other in zip(plain[2:], reversed_[2:], strict=True):
        np.testing.assert_allclose(other, move, rtol=1e-5)


@pytest.mark.slow
def test_two_replicas_train_like_one(two_replicas):
    with two_replicas.scope():
        mirrored = model(0.5)
    for one, two in zip(moves(model(0.5)), moves(mirrored), strict=True):
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(two, one, atol=1e-6)


def test_it_comes_back_from_a_file(tmp_path):
    one = model(0.5)
    one.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    assert twin.get_layer("reversal").weight == 0.5
    for move, other in zip(moves(one), moves(twin), strict=True):
        np.testing.assert_array_equal(move, other)
    one.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    np.testing.assert_allclose(
        served.serve(tf.constant(inputs())), one(inputs()), rtol=1e-6
    )


@pytest.mark.parametrize("wrong", [-0.1, "1", None, np.nan, np.inf])
def test_a_weight_that_cannot_be_is_named(wrong):
    with pytest.raises(ValueError, match=f"Received: weight={wrong!r}"):
        GradientReversal(wrong)
