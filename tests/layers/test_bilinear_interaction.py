import keras
import numpy as np
import pytest

from mlora_tf.layers import BilinearInteraction
from tests import goldens

BILINEAR_TYPES = ("interaction", "all", "each")


def built(fields=4, **config):
    """A layer of random weights, for fields of 3 numbers; and inputs."""
    golden = goldens.LayerGolden(
        BilinearInteraction, config, row_shape=(fields, 3)
    )
    return golden.make(), golden.inputs()[0]


def reference(layer, v):
    """The equation, pair by pair: `(v_i W) * v_j`."""
    kernel = layer.kernel.numpy().astype("float64")
    fields = v.shape[1]
    outputs = []
    for row in v.astype("float64"):
        products = []
        for i in range(fields):
            for j in range(i + 1, fields):
                w = {
                    "all": kernel,
                    "each": kernel[i],
                    "interaction": kernel[len(products) % len(kernel)],
                }[layer.bilinear_type]
                products.append((row[i] @ w) * row[j])
        outputs.append(products)
    return outputs


@pytest.mark.parametrize("bilinear_type", BILINEAR_TYPES)
@pytest.mark.parametrize("fields", [2, 3, 4])
def test_it_is_the_equation(bilinear_type, fields):
    layer, v = built(fields, bilinear_type=bilinear_type)
    outputs = layer(v)
    pairs = fields * (fields - 1) // 2
    assert outputs.shape == (goldens.ROWS, pairs, 3)
    np.testing.assert_allclose(outputs, reference(layer, v), atol=1e-5)


def test_a_pair_has_a_matrix_of_its_own_unless_said_otherwise():
    assert BilinearInteraction().bilinear_type == "interaction"


@pytest.mark.parametrize(
    ("bilinear_type", "stack"),
    [("interaction", (15,)), ("all", ()), ("each", (5,))],
)
def test_a_matrix_starts_as_large_however_many_there_are(bilinear_type, stack):
    layer = BilinearInteraction(bilinear_type)
    layer.build((None, 6, 64))
    kernel = layer.kernel.numpy()
    assert kernel.shape == (*stack, 64, 64)
    for slice_ in kernel.reshape((-1, 64, 64)):
        assert slice_.std() == pytest.approx(np.sqrt(2 / 128), rel=0.08)


def test_the_penalty_is_on_the_matrices():
    layer, _ = built(kernel_regularizer=keras.regularizers.L2(0.5))
    expected = 0.5 * np.sum(layer.kernel.numpy() ** 2)
    np.testing.assert_allclose(layer.losses, [expected], rtol=1e-5)
    assert built()[0].losses == []


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["inter", "ALL", None])
def test_a_type_that_is_none_is_named(wrong):
    said = rf"bilinear_type must be one of .*Received: bilinear_type={wrong!r}"
    with pytest.raises(ValueError, match=said):
        BilinearInteraction(wrong)


@pytest.mark.parametrize("bilinear_type", BILINEAR_TYPES)
@pytest.mark.parametrize("fields", [1, None])
def test_less_than_two_fields_raise(bilinear_type, fields):
    said = rf"'p'.*at least 2.*Received: inputs of shape \(None, {fields}, 4\)"
    with pytest.raises(ValueError, match=said):
        BilinearInteraction(bilinear_type, name="p")(keras.Input((fields, 4)))


def test_inputs_without_fields_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        BilinearInteraction()(np.ones((2, 3), "float32"))
