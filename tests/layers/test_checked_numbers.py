import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import CheckedNumbers

BAD = pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])


def test_finite_numbers_pass_bit_for_bit():
    numbers = np.array([0.1, -3e38, 1e-40, 0.0], "float32")
    np.testing.assert_array_equal(CheckedNumbers("price")(numbers), numbers)


@BAD
def test_others_raise_and_say_whose_they_are(bad):
    numbers = np.array([1.0, bad, 2.0], "float32")
    said = "price must be finite numbers"
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        CheckedNumbers("price")(numbers)
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        tf.function(CheckedNumbers("price"))(tf.constant(numbers))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_under_half_precision_years_stay_apart(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        years = CheckedNumbers("year")(np.array([1995.0, 1996.0]))
    finally:
        keras.config.set_dtype_policy(before)
    assert years.dtype == "float32"
    assert years.numpy().tolist() == [1995.0, 1996.0]


@BAD
def test_an_export_raises_too(bad, tmp_path):
    x = keras.Input((), name="x")
    model = keras.Model({"x": x}, CheckedNumbers("price")(x))
    model.export(tmp_path / "model", verbose=False)
    serve = tf.saved_model.load(str(tmp_path / "model")).serve
    assert serve({"x": tf.constant([0.5])}).numpy().tolist() == [0.5]
    with pytest.raises(tf.errors.InvalidArgumentError, match="finite"):
        serve({"x": tf.constant([0.5, bad])})
