import numpy as np
import pytest

from mlora_tf.layers import BiInteraction


@pytest.mark.parametrize("fields", [2, 3, 7])
def test_it_is_the_sum_over_all_pairs(fields):
    rng = np.random.default_rng(0)
    v = rng.normal(size=(5, fields, 4)).astype("float32")
    expected = np.zeros((5, 4))
    for row in range(5):
        for i in range(fields):
            for j in range(i + 1, fields):
                expected[row] += v[row, i] * v[row, j]
    np.testing.assert_allclose(BiInteraction()(v), expected, atol=1e-5)


def test_one_field_has_no_pair():
    with pytest.raises(
        ValueError, match=r"at least 2. Received: .*\(2, 1, 4\)"
    ):
        BiInteraction()(np.ones((2, 1, 4), "float32"))


def test_it_has_no_weights():
    layer = BiInteraction()
    layer(np.ones((2, 3, 4), "float32"))
    assert layer.weights == []


def test_inputs_without_fields_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        BiInteraction()(np.ones((2, 3), "float32"))
