import keras
import numpy as np
import pytest

from mlora_tf.layers import CrossNetwork
from tests import goldens


def built(**config):
    """A layer of random weights; and inputs of 6 numbers."""
    golden = goldens.LayerGolden(CrossNetwork, config)
    return golden.make(), golden.inputs()[0]


def reference(layer, inputs):
    """The equations, row by row, with column vectors as in the papers."""
    weights = {w.name: w.numpy().astype("float64") for w in layer.weights}
    outputs = []
    for row in inputs.astype("float64"):
        x_0 = x = row[:, None]
        for i in range(layer.num_layers):
            kernel, b = weights[f"kernel_{i}"], weights[f"bias_{i}"][:, None]
            if layer.parameterization == "vector":
                x = x_0 @ x.T @ kernel + b + x
            else:
                x = x_0 * (kernel.T @ x + b) + x
        outputs.append(x[:, 0])
    return outputs


@pytest.mark.parametrize("parameterization", ["vector", "matrix"])
@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_it_is_the_papers_equation(parameterization, num_layers):
    layer, x = built(num_layers=num_layers, parameterization=parameterization)
    outputs = layer(x)
    assert outputs.shape == x.shape
    expected = reference(layer, x)
    np.testing.assert_allclose(outputs, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("parameterization", "shape"), [("vector", (6, 1)), ("matrix", (6, 6))]
)
def test_it_has_a_kernel_and_a_bias_for_each_layer(parameterization, shape):
    layer, _ = built(num_layers=3, parameterization=parameterization)
    assert {w.name: w.shape for w in layer.weights} == {
        **{f"kernel_{i}": shape for i in range(3)},
        **{f"bias_{i}": (6,) for i in range(3)},
    }


def test_it_is_two_layers_of_vectors_unless_said_otherwise():
    layer = CrossNetwork()
    assert layer.num_layers == 2
    assert layer.parameterization == "vector"


def test_the_kernels_draw_numbers_of_their_own_and_biases_none():
    layer = CrossNetwork(2, "matrix")
    layer.build((None, 50))
    first, second = (kernel.numpy() for kernel in layer.kernels)
    assert (first != second).all()
    for kernel in (first, second):
        assert kernel.std() == pytest.approx(np.sqrt(2 / 100), rel=0.1)
    for bias in layer.biases:
        assert not bias.numpy().any()
    twos = CrossNetwork(kernel_initializer=keras.initializers.Constant(2))
    twos.build((None, 6))
    for kernel in twos.kernels:
        np.testing.assert_array_equal(kernel, np.full((6, 1), 2))


def test_the_penalty_is_on_the_kernels():
    layer, _ = built(kernel_regularizer=keras.regularizers.L2(0.5))
    expected = [0.5 * np.sum(w.numpy() ** 2) for w in layer.kernels]
    assert len(expected) == 2
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-5)
    assert built()[0].losses == []


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0, -1, 2.0, None, True])
def test_a_number_of_layers_that_cannot_be_is_named(wrong):
    said = rf"num_layers must be a.*Received: num_layers={wrong!r}"
    with pytest.raises(ValueError, match=said):
        CrossNetwork(wrong)


@pytest.mark.parametrize("wrong", ["vec", "Matrix", None])
def test_a_parameterization_that_is_none_is_named(wrong):
    said = (
        "parameterization must be one of .*"
        rf"Received: parameterization={wrong!r}"
    )
    with pytest.raises(ValueError, match=said):
        CrossNetwork(2, wrong)


def test_inputs_of_three_axes_raise():
    with pytest.raises(ValueError, match="expected ndim=2"):
        CrossNetwork()(np.ones((2, 3, 4), "float32"))
