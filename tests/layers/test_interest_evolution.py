import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers.interest_evolution import InterestEvolution
from tests import goldens

DIM, UNITS = 4, 3
MASK = np.array(
    [
        [True, True, True, True, True],
        [True, True, False, False, False],
        [False, False, True, True, True],
        [False, True, False, True, False],
        [False, False, False, False, False],
        [False, False, False, False, True],
    ]
)
ROWS, LENGTH = MASK.shape
EMPTY = 4


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(ROWS, DIM)).astype("float32"),
        rng.normal(size=(ROWS, LENGTH, DIM)).astype("float32"),
        MASK,
    )


def built(units=UNITS, **config):
    """A layer with random weights."""
    layer = InterestEvolution(units, **config)
    layer(*inputs())
    goldens.randomize(layer)
    return layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def thirds(variable):
    return np.split(variable.numpy().astype("float64"), 3, axis=-1)


def gru_step(cell, x, state):
    """One step of Keras's GRU: its gate z says how much of the state stays."""
    W, U, b = map(thirds, (cell.kernel, cell.recurrent_kernel, cell.bias))
    stay = sigmoid(x @ W[0] + b[0][0] + state @ U[0] + b[0][1])
    reset = sigmoid(x @ W[1] + b[1][0] + state @ U[1] + b[1][1])
    new = np.tanh(x @ W[2] + b[2][0] + reset * (state @ U[2] + b[2][1]))
    return stay * state + (1 - stay) * new


def augru_step(cell, x, attention, state):
    """One step of the paper's AUGRU: its gate u says how much is new."""
    W, U, b = map(thirds, (cell.kernel, cell.recurrent_kernel, cell.bias))
    update = sigmoid(x @ W[0] + state @ U[0] + b[0])
    reset = sigmoid(x @ W[1] + state @ U[1] + b[1])
    new = np.tanh(x @ W[2] + reset * (state @ U[2]) + b[2])
    update = attention * update
    return (1 - update) * state + update * new


def reference(layer, query, keys, mask):
    """Row by row and item by item; steps without an item don't exist."""
    units = layer.evolution.cell.units
    outputs = np.zeros((len(query), units))
    W = layer.attention_kernel.numpy().astype("float64")
    for row in range(len(query)):
        states, state = [], np.zeros(units)
        for t in range(keys.shape[1]):
            if mask[row, t]:
                state = gru_step(layer.extractor.cell, keys[row, t], state)
                states.append(state)
        scores = [np.exp(state @ W @ query[row]) for state in states]
        for state, score in zip(states, scores, strict=True):
            outputs[row] = augru_step(
                layer.evolution.cell,
                state,
                score / sum(scores),
                outputs[row],
            )
    return outputs


def gradients(layer, query, keys, mask):
    """With respect to query, keys and the weights."""
    query, keys = tf.constant(query), tf.constant(keys)
    with tf.GradientTape() as tape:
        tape.watch([query, keys])
        loss = tf.reduce_sum(tf.square(layer(query, keys, mask) + 1.0))
    sources = [query, keys, *(v.value for v in layer.trainable_variables)]
    return [gradient.numpy() for gradient in tape.gradient(loss, sources)]


def model(layer, length=LENGTH):
    arguments = {
        "query": keras.Input((DIM,), name="query"),
        "keys": keras.Input((length, DIM), name="keys"),
        "ids": keras.Input((length,), dtype="int32", name="ids"),
    }
    query, keys, ids = arguments.values()
    return keras.Model(arguments, layer(query, keys, ids >= 0))


def columns(length=LENGTH):
    """A model's inputs, whose padding has the id -1."""
    query, keys, mask = inputs()
    ids = np.where(mask, 3, -1).astype("int32")
    return {"query": query, "keys": keys[:, :length], "ids": ids[:, :length]}


@pytest.mark.parametrize("units", [1, UNITS, DIM, 7])
def test_it_is_the_papers_steps_one_by_one(units):
    layer = built(units)
    np.testing.assert_allclose(
        layer(*inputs()), reference(layer, *inputs()), atol=1e-5
    )


def test_it_is_as_wide_as_the_keys_unless_told_otherwise():
    layer = built(units=None)
    outputs = layer(*inputs())
    assert outputs.shape == (ROWS, DIM)
    np.testing.assert_allclose(outputs, reference(layer, *inputs()), atol=1e-5)
    assert model(InterestEvolution()).output.shape == (None, DIM)


def test_a_graph_computes_the_same():
    layer = built()
    outputs = tf.function(layer)(*map(tf.constant, inputs()))
    np.testing.assert_allclose(outputs, reference(layer, *inputs()), atol=1e-5)


@pytest.mark.parametrize("garbage", [1e6, -1e6, np.inf, np.nan])
def test_what_padding_holds_does_not_matter(garbage):
    layer = built()
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


def test_padding_may_lead_or_trail():
    layer = built()
    query, keys, _ = inputs()
    alone = layer(query, keys[:, :3], np.ones((ROWS, 3), bool))
    nothing = np.zeros((ROWS, 2, DIM), "float32")
    items = np.array([True, True, True, False, False])
    for padded, mask in [
        (np.concatenate([keys[:, :3], nothing], axis=1), items),
        (np.concatenate([nothing, keys[:, :3]], axis=1), items[::-1]),
    ]:
        outputs = layer(query, padded, np.tile(mask, (ROWS, 1)))
        np.testing.assert_allclose(outputs, alone, atol=1e-6)


def test_the_order_of_items_matters():
    layer = built()
    query, keys, _ = inputs()
    mask = np.ones((ROWS, LENGTH), bool)
    forth, back = layer(query, keys, mask), layer(query, keys[:, ::-1], mask)
    assert (np.abs(forth - back) > 1e-3).any(axis=1).all()


def test_padding_has_no_gradient_and_items_have():
    query, keys, *weights = gradients(built(), *inputs())
    assert not keys[~MASK].any()
    assert keys[MASK].all()
    assert not query[EMPTY].any()
    # One item alone has all the attention, whatever the target is.
    assert not query[5].any()
    assert query[:EMPTY].any(axis=1).all()
    for weight in weights:
        assert np.isfinite(weight).all()
        assert weight.any()


def test_a_row_without_items_gets_zeros():
    layer = built()
    outputs = layer(*inputs()).numpy()
    np.testing.assert_array_equal(outputs[EMPTY], np.zeros(UNITS))
    assert np.delete(outputs, EMPTY, axis=0).all()
    empty = (array[EMPTY : EMPTY + 1] for array in inputs())
    for gradient in gradients(layer, *empty):
        assert not gradient.any()


def test_a_batch_may_have_no_row():
    outputs = built()(*(array[:0] for array in inputs()))
    assert outputs.shape == (0, UNITS)


def test_half_precision_stays_finite():
    layer = built(dtype="mixed_float16")
    outputs = layer(*inputs())
    assert outputs.dtype == "float16"
    np.testing.assert_allclose(outputs, reference(layer, *inputs()), atol=2e-2)
    for gradient in gradients(layer, *inputs()):
        assert np.isfinite(gradient).all()


def test_a_mask_may_be_given_by_name():
    layer = built()
    query, keys, mask = inputs()
    outputs = layer(query, keys, mask=tf.constant(mask))
    np.testing.assert_array_equal(outputs, layer(query, keys, mask))
    assert getattr(outputs, "_keras_mask", None) is None


def test_lengths_may_be_unknown_and_differ():
    layer = built()
    one = model(layer, length=None)
    assert one.output.shape == (None, UNITS)
    query, keys, mask = inputs()
    for length in (1, 3, 5):
        x = query, keys[:, :length], mask[:, :length]
        outputs = one.predict(columns(length), verbose=0)
        np.testing.assert_allclose(outputs, reference(layer, *x), atol=1e-5)


def test_it_comes_back_from_a_file(tmp_path):
    one = model(built())
    one.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    expected = one(columns())
    np.testing.assert_array_equal(twin(columns()), expected)
    one.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    np.testing.assert_allclose(
        served.serve(
            {name: tf.constant(value) for name, value in columns().items()}
        ),
        expected,
        atol=1e-6,
    )


def trained(strategy):
    """Weights after three steps on all rows."""
    with strategy.scope():
        one = model(InterestEvolution(UNITS))
        goldens.randomize(one)
        one.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")
    targets = np.random.default_rng(1).normal(size=(ROWS, UNITS))
    data = tf.data.Dataset.from_tensors((columns(), targets)).unbatch()
    one.fit(data.batch(ROWS), epochs=3, shuffle=False, verbose=0)
    return [weight.numpy() for weight in one.weights]


@pytest.mark.slow
def test_two_replicas_train_like_one(two_replicas):
    mirrored, alone = (
        trained(two_replicas),
        trained(tf.distribute.get_strategy()),
    )
    start = model(InterestEvolution(UNITS))
    goldens.randomize(start)
    for one, two, old in zip(alone, mirrored, start.weights, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6)
        assert (one != old.numpy()).any()


def test_weights_are_drawn_anew_each():
    keras.utils.set_random_seed(0)
    layer = InterestEvolution(
        40,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.5),
        recurrent_initializer=keras.initializers.RandomNormal(stddev=0.25),
    )
    layer(*inputs())
    extractor, evolution = layer.extractor.cell, layer.evolution.cell
    for kernel in (extractor.kernel, evolution.kernel, layer.attention_kernel):
        assert kernel.numpy().std() == pytest.approx(0.5, rel=0.15)
    kernels = extractor.recurrent_kernel.numpy(), evolution.recurrent_kernel
    for kernel in kernels:
        assert np.std(kernel) == pytest.approx(0.25, rel=0.1)
    assert (kernels[0] != kernels[1].numpy()).any()


@pytest.mark.parametrize("wrong", [0, -1, 2.0])
def test_units_that_cannot_be_are_named(wrong):
    with pytest.raises(ValueError, match=f"Received: units={wrong!r}"):
        InterestEvolution(wrong)


def test_shapes_that_do_not_fit_are_named():
    query, keys, mask = inputs()
    with pytest.raises(ValueError, match=r"Received: keys.shape=\(6, 4\)"):
        InterestEvolution(3)(query, query, mask)
    with pytest.raises(ValueError, match="expected ndim=2"):
        InterestEvolution(3)(keys, keys, mask)
