import keras
import numpy as np
import pytest

from mlora_tf.layers import SequenceMask

IDS = np.array([[5, 7, -1], [0, -1, 3], [-1, -1, -1], [-7, 2, 1]], "int32")


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_padding_is_masked_and_its_ids_are_zero(dtype):
    ids, mask = SequenceMask()(IDS.astype(dtype))
    assert ids.dtype == dtype
    assert mask.dtype == "bool"
    assert ids.shape == mask.shape == IDS.shape
    for row in range(len(IDS)):
        for i, one in enumerate(IDS[row]):
            assert ids[row, i] == (one if one >= 0 else 0)
            assert bool(mask[row, i]) == (one >= 0)


def test_the_largest_id_is_kept():
    largest = np.array([[2**31 - 1, -(2**31)]], "int32")
    ids, mask = SequenceMask()(largest)
    np.testing.assert_array_equal(ids, [[2**31 - 1, 0]])
    np.testing.assert_array_equal(mask, [[True, False]])


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_in_a_model_ids_stay_integers(policy):
    inputs = keras.Input((3,), dtype="int32")
    ids, mask = SequenceMask(dtype=policy)(inputs)
    assert (ids.dtype, mask.dtype) == ("int32", "bool")
    assert ids.shape == mask.shape == (None, 3)
    model = keras.Model(inputs, [ids, mask])
    for outputs, expected in zip(
        model(IDS), (np.maximum(IDS, 0), IDS >= 0), strict=True
    ):
        np.testing.assert_array_equal(outputs, expected)


def test_its_shapes_are_its_inputs():
    assert SequenceMask().compute_output_shape((2, 5)) == ((2, 5), (2, 5))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_a_batch_may_be_empty(shape):
    ids, mask = SequenceMask()(np.zeros(shape, "int32"))
    assert ids.shape == mask.shape == shape


def test_it_has_no_weights():
    layer = SequenceMask()
    layer(IDS)
    assert layer.weights == []
