import keras
import numpy as np
import pytest

from mlora_tf.layers import OuterProduct
from tests import goldens

KERNEL_TYPES = ("matrix", "vector", "scalar")


def built(fields=4, **config):
    """A layer of random weights, for fields of 3 numbers; and inputs."""
    golden = goldens.LayerGolden(OuterProduct, config, row_shape=(fields, 3))
    return golden.make(), golden.inputs()[0]


def reference(layer, v):
    """`sum_ab (v_i v_j^T * K_ij)_ab`, from the outer product itself."""
    kernel = layer.kernel.numpy().astype("float64")
    (_, fields, dim) = v.shape
    outputs = []
    for row in v.astype("float64"):
        products = []
        for i in range(fields):
            for j in range(i + 1, fields):
                weights = kernel[len(products)]
                if layer.kernel_type == "vector":
                    weights = np.diag(weights[:, 0])
                elif layer.kernel_type == "scalar":
                    weights = weights[0, 0] * np.eye(dim)
                products.append(np.sum(weights * np.outer(row[i], row[j])))
        outputs.append(products)
    return outputs


@pytest.mark.parametrize("kernel_type", KERNEL_TYPES)
@pytest.mark.parametrize("fields", [2, 4])
def test_it_is_the_weighted_outer_product_of_each_pair(kernel_type, fields):
    layer, v = built(fields, kernel_type=kernel_type)
    outputs = layer(v)
    assert outputs.shape == (goldens.ROWS, fields * (fields - 1) // 2)
    np.testing.assert_allclose(outputs, reference(layer, v), atol=1e-5)


def test_a_pair_is_given_a_matrix_unless_said_otherwise():
    assert OuterProduct().kernel_type == "matrix"


@pytest.mark.parametrize("fields", [2, 12])
@pytest.mark.parametrize(
    ("kernel_type", "shape"),
    [("matrix", (64, 64)), ("vector", (64, 1)), ("scalar", (1, 1))],
)
def test_a_kernel_starts_as_large_whatever_the_number_of_pairs(
    fields, kernel_type, shape
):
    layer = OuterProduct(kernel_type, kernel_initializer="glorot_normal")
    keras.utils.set_random_seed(0)
    layer.build((None, fields, 64))
    kernel = layer.kernel.numpy()
    assert kernel.shape == (fields * (fields - 1) // 2, *shape)
    if kernel.size >= 1000:
        expected = np.sqrt(2 / sum(shape))
        assert kernel.std() == pytest.approx(expected, rel=0.08)


def test_the_penalty_is_on_the_kernel():
    layer, _ = built(kernel_regularizer=keras.regularizers.L2(0.5))
    expected = 0.5 * np.sum(layer.kernel.numpy() ** 2)
    np.testing.assert_allclose(layer.losses, [expected], rtol=1e-5)
    assert built()[0].losses == []


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["mat", "Matrix", None])
def test_a_kernel_type_that_is_none_is_named(wrong):
    said = rf"kernel_type must be one of .*Received: kernel_type={wrong!r}"
    with pytest.raises(ValueError, match=said):
        OuterProduct(wrong)


@pytest.mark.parametrize("fields", [1, None])
def test_less_than_two_fields_raise(fields):
    said = rf"'p'.*at least 2.*Received: inputs of shape \(None, {fields}, 4\)"
    with pytest.raises(ValueError, match=said):
        OuterProduct(name="p")(keras.Input((fields, 4)))


def test_inputs_without_fields_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        OuterProduct()(np.ones((2, 3), "float32"))
