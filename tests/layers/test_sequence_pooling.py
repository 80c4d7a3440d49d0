import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers.sequence_pooling import SequencePooling

MODES = ("mean", "sum", "max")
MASK = np.array(
    [
        [True, True, True, True, True],
        [True, True, False, False, False],
        [False, False, True, True, True],
        [False, True, False, True, False],
        [False, False, False, False, False],
    ]
)
EMPTY = 4


def sequences(seed=0):
    return np.random.default_rng(seed).normal(size=(5, 5, 3)).astype("float32")


def reference(mode, keys, mask):
    """Dimension by dimension, over the items alone."""
    outputs = np.zeros((keys.shape[0], keys.shape[2]))
    for row in range(keys.shape[0]):
        for dim in range(keys.shape[2]):
            items = [
                keys[row, j, dim] for j in range(keys.shape[1]) if mask[row, j]
            ]
            if items:
                outputs[row, dim] = {
                    "mean": sum(items) / len(items),
                    "sum": sum(items),
                    "max": max(items),
                }[mode]
    return outputs


def gradient(layer, keys, mask):
    keys = tf.constant(keys)
    with tf.GradientTape() as tape:
        tape.watch(keys)
        loss = tf.reduce_sum(tf.square(layer(keys, mask) + 1.0))
    return tape.gradient(loss, keys).numpy()


@pytest.mark.parametrize("mode", MODES)
def test_it_pools_the_items_alone(mode):
    # All below zero, so that a zero for padding would be the largest.
    keys = sequences() - 5.0
    outputs = SequencePooling(mode)(keys, MASK)
    np.testing.assert_allclose(outputs, reference(mode, keys, MASK), rtol=1e-5)


def test_it_averages_unless_told_otherwise():
    keys = sequences()
    np.testing.assert_array_equal(
        SequencePooling()(keys, MASK), SequencePooling("mean")(keys, MASK)
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("garbage", [1e6, -1e6, np.inf, np.nan])
def test_what_padding_holds_does_not_matter(mode, garbage):
    layer, keys = SequencePooling(mode), sequences()
    dirty = np.where(MASK[:, :, None], keys, np.float32(garbage))
    np.testing.assert_array_equal(layer(dirty, MASK), layer(keys, MASK))
    np.testing.assert_array_equal(
        gradient(layer, dirty, MASK), gradient(layer, keys, MASK)
    )


@pytest.mark.parametrize("mode", MODES)
def test_padding_has_no_gradient_and_items_have(mode):
    gradients = gradient(SequencePooling(mode), sequences(), MASK)
    assert not gradients[~MASK].any()
    assert gradients[:EMPTY].any(axis=1).all()
    if mode != "max":
        assert gradients[MASK].all()


@pytest.mark.parametrize("mode", MODES)
def test_a_row_without_items_gets_zeros(mode):
    outputs = SequencePooling(mode)(sequences(), MASK).numpy()
    np.testing.assert_array_equal(outputs[EMPTY], np.zeros(3))
    assert outputs[:EMPTY].all()


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_may_have_no_row(mode):
    outputs = SequencePooling(mode)(sequences()[:0], MASK[:0])
    assert outputs.shape == (0, 3)


@pytest.mark.parametrize("mode", MODES)
def test_half_precision_stays_finite(mode):
    layer = SequencePooling(mode, dtype="float16")
    outputs = layer(sequences(), MASK)
    assert outputs.dtype == "float16"
    np.testing.assert_allclose(
        outputs, reference(mode, sequences(), MASK), atol=1e-2
    )


def test_half_precision_averages_what_it_cannot_count():
    keys, mask = np.full((1, 5000, 2), 0.5), np.ones((1, 5000), bool)
    mean = SequencePooling("mean", dtype="mixed_float16")(keys, mask)
    np.testing.assert_array_equal(mean, np.full((1, 2), 0.5, "float16"))
    total = SequencePooling("sum", dtype="mixed_float16")(keys, mask)
    np.testing.assert_array_equal(total, np.full((1, 2), 2500, "float16"))


@pytest.mark.parametrize("mode", MODES)
def test_a_mask_may_be_given_by_name(mode):
    layer, keys = SequencePooling(mode), sequences()
    outputs = layer(keys, mask=tf.constant(MASK))
    np.testing.assert_array_equal(outputs, layer(keys, MASK))
    assert getattr(outputs, "_keras_mask", None) is None


def test_lengths_may_be_unknown_and_differ():
    keys = keras.Input((None, 3))
    mask = keras.Input((None,), dtype="bool")
    outputs = SequencePooling("max")(keys, mask)
    assert outputs.shape == (None, 3)
    model = keras.Model([keys, mask], outputs)
    for length in (1, 3, 5):
        x, m = sequences()[:, :length], MASK[:, :length]
        np.testing.assert_allclose(
            model.predict([x, m], verbose=0), reference("max", x, m), rtol=1e-6
        )


def test_an_unknown_mode_raises():
    with pytest.raises(ValueError, match=r"mean, sum, max.*mode='median'"):
        SequencePooling("median")


def test_keys_without_a_length_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        SequencePooling()(np.ones((2, 3), "float32"), MASK[:2])
