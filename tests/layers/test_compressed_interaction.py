import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import CompressedInteraction
from tests import goldens


def built(fields=3, **config):
    """A layer of random weights, for fields of 5 numbers; and inputs."""
    config = {"sizes": (6, 4, 3), **config}
    golden = goldens.LayerGolden(
        CompressedInteraction, config, row_shape=(fields, 5)
    )
    return golden.make(), golden.inputs()[0]


def reference(layer, inputs):
    """Eq. 6, map by map, and each map's sum."""
    weights = {w.name: w.numpy().astype("float64") for w in layer.weights}
    activation = {
        "relu": lambda x: np.maximum(x, 0),
        "linear": lambda x: x,
    }[layer.activation.__name__]
    outputs = []
    for x_0 in inputs.astype("float64"):
        x, pooled = x_0, []
        for k, size in enumerate(layer.sizes):
            kernel = weights[f"kernel_{k}"].reshape((len(x), len(x_0), size))
            maps = []
            for h in range(size):
                total = np.zeros(x_0.shape[1])
                for i in range(len(x)):
                    for j in range(len(x_0)):
                        total += kernel[i, j, h] * (x[i] * x_0[j])
                maps.append(activation(total))
            x = out = maps
            if layer.split_half and k < len(layer.sizes) - 1:
                x, out = maps[: size // 2], maps[size // 2 :]
            pooled += [row.sum() for row in out]
        outputs.append(pooled)
    return np.array(outputs)


@pytest.mark.parametrize("split_half", [True, False])
@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("sizes", [(5,), (6, 4), (6, 4, 3)])
def test_it_is_the_papers_equation(split_half, activation, sizes):
    layer, v = built(sizes=sizes, split_half=split_half, activation=activation)
    expected = reference(layer, v)
    np.testing.assert_allclose(layer(v), expected, atol=1e-5, rtol=1e-5)
    halved = sum(sizes[:-1]) // (2 if split_half else 1)
    assert expected.shape == (goldens.ROWS, halved + sizes[-1])


@pytest.mark.parametrize("fields", [1, 2, 5])
def test_it_takes_any_number_of_fields(fields):
    layer, v = built(fields)
    expected = reference(layer, v)
    np.testing.assert_allclose(layer(v), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("split_half", "shapes"),
    [(True, [(9, 6), (9, 4), (6, 3)]), (False, [(9, 6), (18, 4), (12, 3)])],
)
def test_its_kernels_are_weights_with_gradients(split_half, shapes):
    layer, v = built(split_half=split_half)
    assert [w.name for w in layer.trainable_variables] == [
        "kernel_0",
        "kernel_1",
        "kernel_2",
    ]
    assert [w.shape for w in layer.trainable_variables] == shapes
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(v)))
    kernels = [w.value for w in layer.trainable_variables]
    for gradient in tape.gradient(loss, kernels):
        # Every map of every layer, so that none is cut off.
        assert (np.abs(gradient).max(axis=0) > 0).all()


def test_its_defaults_are_the_published_codes():
    layer = CompressedInteraction()
    assert layer.sizes == (128, 128)
    assert layer.split_half
    assert layer.activation is keras.activations.relu


def test_the_kernels_draw_numbers_of_their_own():
    layer = CompressedInteraction((40, 40), split_half=False)
    layer.build((None, 40, 4))
    first, second = layer.get_weights()
    assert (first != second).all()
    for kernel in (first, second):
        expected = np.sqrt(2 / (40 * 40 + 40))
        assert kernel.std() == pytest.approx(expected, rel=0.05)
    twos = CompressedInteraction(
        (2, 2), kernel_initializer=keras.initializers.Constant(2)
    )
    twos.build((None, 3, 4))
    for kernel in twos.get_weights():
        np.testing.assert_array_equal(kernel, np.full(kernel.shape, 2))


def test_the_penalty_is_on_the_kernels():
    layer, _ = built(kernel_regularizer=keras.regularizers.L2(0.5))
    expected = [0.5 * np.sum(w**2) for w in layer.get_weights()]
    assert len(expected) == 3
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-5)
    assert built()[0].losses == []


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [(), (8, 0), (8.0,), (-2,), (None,), (True,)])
def test_sizes_that_cannot_be_are_named(wrong):
    with pytest.raises(ValueError, match=r"sizes must be one or.*Received: s"):
        CompressedInteraction(wrong)


def test_an_odd_layer_cannot_be_split_unless_it_is_the_last():
    said = r"must be even to be split.*Received: sizes=\(6, 5, 4\)"
    with pytest.raises(ValueError, match=said):
        CompressedInteraction((6, 5, 4))
    CompressedInteraction((6, 4, 5))
    CompressedInteraction((6, 5, 4), split_half=False)


def test_inputs_without_fields_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        CompressedInteraction()(np.ones((2, 3), "float32"))
