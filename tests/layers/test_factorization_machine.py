import numpy as np
import pytest

from mlora_tf.layers import BiInteraction
from mlora_tf.layers import FactorizationMachine


def embeddings(fields, rows=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, fields, 4)).astype("float32")


@pytest.mark.parametrize("fields", [1, 2, 3, 7])
def test_it_is_the_sum_of_all_pairs_inner_products(fields):
    v = embeddings(fields)
    expected = np.zeros((len(v), 1))
    for row in range(len(v)):
        for i in range(fields):
            for j in range(i + 1, fields):
                for k in range(v.shape[2]):
                    expected[row, 0] += v[row, i, k] * v[row, j, k]
    np.testing.assert_allclose(FactorizationMachine()(v), expected, atol=1e-5)


def test_it_is_the_bi_interactions_sum():
    v = embeddings(3)
    pooled = np.array(BiInteraction()(v)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(FactorizationMachine()(v), pooled, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_may_be_small(rows):
    assert FactorizationMachine()(embeddings(3, rows)).shape == (rows, 1)


def test_it_has_no_weights():
    layer = FactorizationMachine()
    layer(embeddings(3))
    assert layer.weights == []


def test_inputs_without_fields_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        FactorizationMachine()(np.ones((2, 3), "float32"))
