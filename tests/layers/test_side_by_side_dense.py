import keras
import numpy as np
import pytest

from mlora_tf.layers import SideBySideDense
from tests import goldens

NETWORKS, UNITS, WIDTH, ROWS = 3, 4, 6, 5


def inputs(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(ROWS, *shape)).astype("float32")


def make(x, **config):
    layer = SideBySideDense(NETWORKS, UNITS, **config)
    layer(x)
    goldens.randomize(layer)
    return layer


def reference(layer, x):
    """Row by row and network by network: `x_n W_n + b_n`."""
    kernel, bias = (v.numpy().astype("float64") for v in layer.weights)
    outputs = np.zeros((len(x), NETWORKS, UNITS))
    for row in range(len(x)):
        for n in range(NETWORKS):
            seen = x[row] if x.ndim == 2 else x[row, n]
            for u in range(UNITS):
                outputs[row, n, u] = bias[n, u]
                for i in range(WIDTH):
                    outputs[row, n, u] += seen[i] * kernel[n, i, u]
    return outputs


@pytest.mark.parametrize("shape", [(WIDTH,), (NETWORKS, WIDTH)])
def test_it_is_a_dense_layer_for_each_network(shape):
    x = inputs(*shape)
    layer = make(x)
    np.testing.assert_allclose(layer(x), reference(layer, x), atol=1e-5)


@pytest.mark.parametrize("shape", [(WIDTH,), (NETWORKS, WIDTH)])
def test_the_activation_is_of_each_network_alone(shape):
    x = inputs(*shape)
    layer = make(x, activation="softmax")
    expected = np.exp(reference(layer, x))
    expected /= expected.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(WIDTH,), (NETWORKS, WIDTH)])
def test_a_batch_may_have_any_number_of_rows(shape):
    x = inputs(*shape)
    layer = make(x)
    assert layer(x[:0]).shape == (0, NETWORKS, UNITS)
    np.testing.assert_allclose(layer(x[:1]), layer(x)[:1], atol=1e-6)
    symbolic = keras.Input(shape)
    assert layer(symbolic).shape == (None, NETWORKS, UNITS)


def test_kernels_are_drawn_as_if_alone_and_biases_are_zero():
    keras.utils.set_random_seed(0)
    layer = SideBySideDense(4, 100, kernel_initializer="glorot_normal")
    layer.build((None, 60))
    for kernel in layer.kernel.numpy():
        assert kernel.std() == pytest.approx(np.sqrt(2 / 160), rel=0.05)
    np.testing.assert_array_equal(layer.bias, np.zeros((4, 100)))


def test_other_precisions_are_kept():
    layer = make(inputs(WIDTH), dtype="float64")
    assert layer(inputs(WIDTH)).dtype == "float64"
    half = make(inputs(WIDTH), dtype="mixed_float16")
    assert half(inputs(NETWORKS, WIDTH)).dtype == "float16"
    assert half.kernel.dtype == "float32"


@pytest.mark.parametrize("argument", ["networks", "units"])
@pytest.mark.parametrize("wrong", [0, -1, 2.0, None])
def test_sizes_that_cannot_be_are_named(argument, wrong):
    config = {"networks": 2, "units": 3, argument: wrong}
    with pytest.raises(ValueError, match=f"Received: {argument}={wrong!r}"):
        SideBySideDense(**config)


def test_inputs_of_other_shapes_raise():
    said = r"\(batch, 3, in\) or \(batch, in\). Received: .*=\(5, 2, 6\)"
    with pytest.raises(ValueError, match=said):
        SideBySideDense(NETWORKS, UNITS)(inputs(2, WIDTH))
    with pytest.raises(ValueError, match="expected max_ndim=3"):
        SideBySideDense(NETWORKS, UNITS)(inputs(NETWORKS, 2, WIDTH))
