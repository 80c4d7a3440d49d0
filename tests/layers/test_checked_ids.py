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


@pytest.mark.parametrize("shape", [(6,), (3, 2), (1, 2, 3)])
def test_padding_of_sequences_passes_if_asked_for(shape):
    layer = CheckedIds(3, "clicked", lowest=-1)
    ids = np.array([-1, 0, 2, -1, -1, 1]).reshape(shape)
    np.testing.assert_array_equal(layer(ids), ids)
    np.testing.assert_array_equal(tf.function(layer)(tf.constant(ids)), ids)
    assert layer.get_config()["lowest"] == -1


@pytest.mark.parametrize("wrong", [-2, 3])
def test_what_is_below_padding_is_named(wrong):
    layer = CheckedIds(3, "clicked", lowest=-1)
    ids = tf.constant([[0, -1], [wrong, -1]])
    for function in (layer, tf.function(layer)):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            function(ids)
        assert "clicked ids must be in [-1, 3). Received:" in str(error.value)
        assert f"{wrong}" in str(error.value).partition("Received:")[2]


def test_ids_of_a_sequence_keep_their_shape():
    ids = CheckedIds(3, "clicked", lowest=-1)(keras.Input((7,), dtype="int64"))
    assert ids.shape == (None, 7)
    assert ids.dtype == "int32"


@pytest.mark.parametrize("wrong", [3, -1.0, None])
def test_lowest_must_be_below_num_ids(wrong):
    with pytest.raises(ValueError, match=f"num_ids=3.*lowest={wrong!r}"):
        CheckedIds(3, "item", lowest=wrong)


def test_num_ids_must_be_positive():
    with pytest.raises(ValueError, match="Received: num_ids=0"):
        CheckedIds(0, "item")
