import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers.attention_pooling import AttentionPooling
from mlora_tf.layers.attention_pooling import masked_softmax
from tests import goldens

DIM = 4
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
FORMS = pytest.mark.parametrize("use_softmax", [False, True])


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(5, DIM)).astype("float32"),
        rng.normal(size=(5, 5, DIM)).astype("float32"),
        MASK,
    )


def built(**config):
    """A layer with random weights."""
    layer = AttentionPooling(**{"hidden_units": (6, 3), **config})
    layer(*inputs())
    goldens.randomize(layer)
    return layer


def unit(layer, query, key):
    """The activation unit, from `[q, k, q - k, q * k]` to a number."""
    x = np.concatenate([query, key, query - key, query * key])
    for dense in layer.hidden:
        x = x @ dense.kernel.numpy() + dense.bias.numpy()
        x = {
            "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            "tanh": np.tanh,
        }[layer.activation.__name__](x)
    return (x @ layer.score.kernel.numpy() + layer.score.bias.numpy()).item()


def reference(layer, query, keys, mask):
    """Eq. 3, item by item."""
    query, keys = query.astype("float64"), keys.astype("float64")
    outputs = np.zeros(query.shape)
    for row in range(len(query)):
        items = [keys[row, j] for j in range(keys.shape[1]) if mask[row, j]]
        weights = [unit(layer, query[row], item) for item in items]
        if layer.use_softmax:
            powers = [np.exp(a / np.sqrt(DIM)) for a in weights]
            weights = [power / sum(powers) for power in powers]
        for weight, item in zip(weights, items, strict=True):
            outputs[row] += weight * item
    return outputs


def gradients(layer, query, keys, mask):
    """With respect to query, keys and the weights."""
    query, keys = tf.constant(query), tf.constant(keys)
    with tf.GradientTape() as tape:
        tape.watch([query, keys])
        loss = tf.reduce_sum(tf.square(layer(query, keys, mask) + 1.0))
    sources = [query, keys, *(v.value for v in layer.trainable_variables)]
    return [gradient.numpy() for gradient in tape.gradient(loss, sources)]


@FORMS
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_it_is_the_papers_equation(use_softmax, activation):
    layer = built(use_softmax=use_softmax, activation=activation)
    np.testing.assert_allclose(
        layer(*inputs()), reference(layer, *inputs()), atol=1e-5
    )


def test_the_unit_may_be_linear():
    layer = built(hidden_units=())
    np.testing.assert_allclose(
        layer(*inputs()), reference(layer, *inputs()), atol=1e-5
    )


def test_the_unit_is_the_authors_unless_told_otherwise():
    layer = AttentionPooling()
    layer(*inputs())
    assert [dense.units for dense in layer.hidden] == [80, 40]
    assert layer.activation is keras.activations.sigmoid
    assert layer.hidden[0].kernel.shape == (4 * DIM, 80)
    assert layer.score.kernel.shape == (40, 1)
    assert layer.score.activation is keras.activations.linear


@FORMS
@pytest.mark.parametrize("garbage", [1e6, -1e6, np.inf, np.nan])
def test_what_padding_holds_does_not_matter(use_softmax, garbage):
    layer = built(use_softmax=use_softmax)
    query, keys, mask = inputs()
    dirty = np.where(mask[:, :, None], keys, np.float32(garbage))
    np.testing.assert_array_equal(
        layer(query, dirty, mask), layer(query, keys, mask)
    )
    for actual, expected in zip(
        gradients(layer, query, dirty, mask),
        gradients(layer, query, keys, mask),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)


@FORMS
def test_a_row_is_the_same_whatever_its_length_is_padded_to(use_softmax):
    layer = built(use_softmax=use_softmax)
    query, keys, _ = inputs()
    alone = layer(query, keys[:, :2], np.ones((5, 2), bool))
    padded = layer(query, keys, np.arange(5) < np.full((5, 1), 2))
    np.testing.assert_allclose(padded, alone, atol=1e-6)


@FORMS
def test_padding_has_no_gradient_and_items_have(use_softmax):
    query, keys, *weights = gradients(built(use_softmax=use_softmax), *inputs())
    assert not keys[~MASK].any()
    assert keys[MASK].all()
    assert not query[EMPTY].any()
    assert query[:EMPTY].any(axis=1).all()
    for weight in weights:
        assert np.isfinite(weight).all()


@FORMS
def test_a_row_without_items_gets_zeros(use_softmax):
    layer = built(use_softmax=use_softmax)
    outputs = layer(*inputs()).numpy()
    np.testing.assert_array_equal(outputs[EMPTY], np.zeros(DIM))
    assert outputs[:EMPTY].all()
    empty = (array[EMPTY:] for array in inputs())
    for gradient in gradients(layer, *empty):
        assert not gradient.any()


@FORMS
def test_a_batch_may_have_no_row(use_softmax):
    outputs = built(use_softmax=use_softmax)(*(x[:0] for x in inputs()))
    assert outputs.shape == (0, DIM)


@FORMS
def test_half_precision_stays_finite(use_softmax):
    layer = built(use_softmax=use_softmax, dtype="mixed_float16")
    outputs = layer(*inputs())
    assert outputs.dtype == "float16"
    np.testing.assert_allclose(outputs, reference(layer, *inputs()), atol=2e-2)
    for gradient in gradients(layer, *inputs()):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("size", [1.0, 1e4, 1e38])
def test_weights_of_any_size_have_a_softmax(size):
    scores = size * np.random.default_rng(0).normal(size=MASK.shape)
    scores = tf.constant(np.clip(scores, -3e38, 3e38), "float32")
    with tf.GradientTape() as tape:
        tape.watch(scores)
        weights = masked_softmax(scores, MASK)
        loss = tf.reduce_sum(weights * tf.range(5.0))
    gradient, weights = tape.gradient(loss, scores).numpy(), weights.numpy()
    assert not gradient[~MASK].any()
    for row, mask in enumerate(MASK):
        one = scores.numpy()[row, mask].astype("float64")
        one = np.exp(one - one.max(initial=-np.inf))
        one = one / one.sum()
        np.testing.assert_allclose(weights[row, mask], one, atol=1e-6)
        assert not weights[row, ~mask].any()
        # d loss / d s_j = p_j (j - sum_i p_i i)
        steps = np.flatnonzero(mask)
        expected = one * (steps - one @ steps)
        np.testing.assert_allclose(gradient[row, mask], expected, atol=1e-6)


def test_a_mask_may_be_given_by_name():
    layer = built()
    query, keys, mask = inputs()
    outputs = layer(query, keys, mask=tf.constant(mask))
    np.testing.assert_array_equal(outputs, layer(query, keys, mask))
    assert getattr(outputs, "_keras_mask", None) is None


def test_lengths_may_be_unknown_and_differ():
    layer = built()
    arguments = [
        keras.Input((DIM,)),
        keras.Input((None, DIM)),
        keras.Input((None,), dtype="bool"),
    ]
    outputs = layer(*arguments)
    assert outputs.shape == (None, DIM)
    model = keras.Model(arguments, outputs)
    query, keys, mask = inputs()
    for length in (1, 3, 5):
        x = [query, keys[:, :length], mask[:, :length]]
        np.testing.assert_allclose(
            model.predict(x, verbose=0), reference(layer, *x), atol=1e-5
        )


def test_initializers_draw_each_kernel_anew():
    keras.utils.set_random_seed(0)
    normal = keras.initializers.RandomNormal(stddev=0.5)
    layer = AttentionPooling((400, 1600), kernel_initializer=normal)
    layer(*inputs())
    kernels = [dense.kernel.numpy() for dense in (*layer.hidden, layer.score)]
    for kernel in kernels:
        assert kernel.std() == pytest.approx(0.5, rel=0.1)
    # Both of 16 x 400 = 6400 leading numbers: alike if drawn from one seed.
    assert (kernels[0].ravel()[:400] != kernels[1].ravel()[:400]).all()
    for dense in (*layer.hidden, layer.score):
        assert not dense.bias.numpy().any()


@pytest.mark.parametrize("wrong", [(0,), (8, -1), (8.0,), (None,)])
def test_widths_that_cannot_be_are_named(wrong):
    with pytest.raises(ValueError, match=r"Received: hidden_units\[\d\]="):
        AttentionPooling(wrong)


def test_shapes_that_do_not_fit_are_named():
    query, keys, mask = inputs()
    with pytest.raises(ValueError, match=r"Received: query.shape=\(5, 3\)"):
        AttentionPooling()(query[:, :3], keys, mask)
    with pytest.raises(ValueError, match=r"keys.shape=\(5, 4\)"):
        AttentionPooling()(query, query, mask)
    with pytest.raises(ValueError, match="expected ndim=2"):
        AttentionPooling()(keys, keys, mask)
