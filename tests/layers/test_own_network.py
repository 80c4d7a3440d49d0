import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers.own_network import OwnNetwork

DOMAINS, UNITS = 3, 4
DOMAIN = np.array([2, 0, 1, 1, 2, 0, 0], "int32")
ROWS = len(DOMAIN)


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(ROWS, DOMAINS, UNITS)).astype("float32")


def gradient(x, domain):
    """Of `sum(y^2)`."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = OwnNetwork(DOMAINS)(x, domain)
        loss = tf.reduce_sum(tf.square(outputs))
    return tf.convert_to_tensor(tape.gradient(loss, x)).numpy()


def test_each_row_gets_its_own_domains_slice():
    x = inputs()
    for layer in (OwnNetwork(DOMAINS), tf.function(OwnNetwork(DOMAINS))):
        outputs = layer(tf.constant(x), tf.constant(DOMAIN)).numpy()
        for row in range(ROWS):
            np.testing.assert_array_equal(outputs[row], x[row, DOMAIN[row]])


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e38])
def test_what_other_networks_say_does_not_matter(garbage):
    x = inputs()
    dirty = np.full_like(x, garbage)
    for row in range(ROWS):
        dirty[row, DOMAIN[row]] = x[row, DOMAIN[row]]
    layer = OwnNetwork(DOMAINS)
    np.testing.assert_array_equal(layer(dirty, DOMAIN), layer(x, DOMAIN))
    np.testing.assert_array_equal(gradient(dirty, DOMAIN), gradient(x, DOMAIN))


def test_the_gradient_goes_to_the_own_network_alone():
    x = inputs()
    expected = np.zeros_like(x)
    for row in range(ROWS):
        expected[row, DOMAIN[row]] = 2 * x[row, DOMAIN[row]]
    np.testing.assert_array_equal(gradient(x, DOMAIN), expected)


def test_a_batch_may_have_no_row():
    assert OwnNetwork(DOMAINS)(inputs()[:0], DOMAIN[:0]).shape == (0, UNITS)


def test_a_single_domain_is_a_squeeze():
    x = inputs()[:, :1]
    outputs = OwnNetwork(1)(x, np.zeros(ROWS, "int32"))
    np.testing.assert_array_equal(outputs, x[:, 0])


def test_it_trains_in_a_model():
    x = keras.Input((5,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    networks = keras.layers.Reshape((DOMAINS, UNITS))(
        keras.layers.Dense(DOMAINS * UNITS)(x)
    )
    outputs = OwnNetwork(DOMAINS)(networks, domain)
    assert outputs.shape == (None, UNITS)
    model = keras.Model([x, domain], outputs)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    kernel = model.layers[1].kernel.numpy().copy()
    # Domain 1 has no row, and its columns no reason to move.
    model.fit(
        [np.ones((8, 5)), np.tile([0, 2], 4)], np.ones((8, UNITS)), verbose=0
    )
    moved = (model.layers[1].kernel.numpy() != kernel).any(axis=0)
    np.testing.assert_array_equal(
        moved.reshape(DOMAINS, UNITS).all(axis=1), [True, False, True]
    )
    assert not moved.reshape(DOMAINS, UNITS)[1].any()


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16"])
def test_domains_may_be_of_any_integer_type(dtype):
    x = inputs()
    np.testing.assert_array_equal(
        OwnNetwork(DOMAINS)(x, DOMAIN.astype(dtype)),
        OwnNetwork(DOMAINS)(x, DOMAIN),
    )


@pytest.mark.parametrize("wrong", [-1, DOMAINS, 2**32])
def test_a_bad_domain_raises_eagerly_and_in_a_graph(wrong):
    layer, x = OwnNetwork(DOMAINS), tf.constant(inputs())
    domain = DOMAIN.astype("int64")
    domain[3] = wrong
    for function in (layer, tf.function(layer)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 3\)"):
            function(x, tf.constant(domain))


@pytest.mark.parametrize("wrong", [0, -2, 2.0, None])
def test_num_domains_must_be_a_positive_integer(wrong):
    with pytest.raises(ValueError, match=f"Received: num_domains={wrong!r}"):
        OwnNetwork(wrong)


def test_inputs_of_other_shapes_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        OwnNetwork(3)(np.ones((2, 3), "float32"), DOMAIN[:2])
    with pytest.raises(ValueError, match="expected axis 1"):
        OwnNetwork(3)(np.ones((2, 4, 5), "float32"), DOMAIN[:2])
