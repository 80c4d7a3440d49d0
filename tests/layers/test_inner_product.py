import keras
import numpy as np
import pytest

from mlora_tf.layers import InnerProduct


@pytest.mark.parametrize("fields", [2, 3, 7])
def test_it_is_the_inner_product_of_each_pair(fields):
    v = np.random.default_rng(0).normal(size=(5, fields, 4)).astype("float32")
    expected = []
    for row in v.astype("float64"):
        products = []
        for i in range(fields):
            for j in range(i + 1, fields):
                products.append(row[i] @ row[j])
        expected.append(products)
    outputs = InnerProduct()(v)
    assert outputs.shape == (5, fields * (fields - 1) // 2)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_it_has_no_weights():
    layer = InnerProduct()
    layer(np.ones((2, 3, 4), "float32"))
    assert layer.weights == []


@pytest.mark.parametrize("fields", [1, None])
def test_less_than_two_fields_raise(fields):
    said = rf"'p'.*at least 2.*Received: inputs of shape \(None, {fields}, 4\)"
    with pytest.raises(ValueError, match=said):
        InnerProduct(name="p")(keras.Input((fields, 4)))


def test_inputs_without_fields_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        InnerProduct()(np.ones((2, 3), "float32"))
