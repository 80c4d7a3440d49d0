import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import CheckedIds


@pytest.mark.parametrize("wrong", [-1, 3, 2**40])
def test_an_id_without_a_row_is_named(wrong):
    layer = CheckedIds(3, "item")
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        layer(np.array([0, wrong]))
    assert "item ids must be in [0, 3). Received:" in str(error.value)
    assert f"0, {wrong}" in str(error.value)


def test_ids_of_any_integer_type_pass_as_32_bits():
    for dtype in ("int8", "int64", "uint16"):
        ids = CheckedIds(200, "item")(np.array([0, 100], dtype))
        assert keras.backend.standardize_dtype(ids.dtype) == "int32"
        assert ids.numpy().tolist() == [0, 100]


def test_num_ids_must_be_positive():
    with pytest.raises(ValueError, match="Received: num_ids=0"):
        CheckedIds(0, "item")
