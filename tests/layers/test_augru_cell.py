import keras
import numpy as np
import pytest

from mlora_tf.layers.augru_cell import AUGRUCell
from tests import goldens

DIM, UNITS, ROWS, LENGTH = 3, 4, 5, 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(cell, x, attention, state):
    """The paper's equations for one row."""
    W, U, b = (
        np.split(weight.numpy().astype("float64"), 3, axis=-1)
        for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)
    )
    update = sigmoid(x @ W[0] + state @ U[0] + b[0])
    reset = sigmoid(x @ W[1] + state @ U[1] + b[1])
    candidate = np.tanh(x @ W[2] + reset * (state @ U[2]) + b[2])
    update = attention * update
    return (1 - update) * state + update * candidate


def inputs(seed=0):
    """Inputs, attention and states of one step."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(ROWS, DIM)).astype("float32"),
        rng.uniform(size=(ROWS, 1)).astype("float32"),
        rng.normal(size=(ROWS, UNITS)).astype("float32"),
    )


def built(**config):
    """A cell with random weights."""
    cell = AUGRUCell(UNITS, **config)
    cell.build((None, DIM + 1))
    goldens.randomize(cell)
    return cell


def run(cell, x, attention, state):
    return cell(np.concatenate([x, attention], axis=1), [state])


def test_a_step_is_the_papers_equations():
    cell, (x, attention, state) = built(), inputs()
    output, states = run(cell, x, attention, state)
    for row in range(ROWS):
        expected = step(cell, x[row], attention[row], state[row])
        np.testing.assert_allclose(output[row], expected, atol=1e-6)
    assert len(states) == 1
    np.testing.assert_array_equal(states[0], output)


def test_a_step_without_attention_leaves_the_state():
    x, attention, state = inputs()
    output, _ = run(built(), x, 0 * attention, state)
    np.testing.assert_array_equal(output, state)


def test_a_step_of_full_attention_is_a_plain_grus():
    cell, (x, attention, state) = built(), inputs()
    plain = keras.layers.GRUCell(UNITS)
    plain.build((None, DIM))
    # Keras's gate says what stays, ours what is new: 1 - s(x) = s(-x).
    sign = np.repeat([-1.0, 1.0, 1.0], UNITS)
    plain.kernel.assign(cell.kernel * sign)
    plain.recurrent_kernel.assign(cell.recurrent_kernel * sign)
    plain.bias.assign(np.stack([cell.bias * sign, np.zeros(3 * UNITS)]))
    output, _ = run(cell, x, np.ones_like(attention), state)
    np.testing.assert_allclose(output, plain(x, [state])[0], atol=1e-6)


@pytest.mark.parametrize("unroll", [False, True])
def test_a_keras_rnn_runs_it(unroll):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, LENGTH, DIM + 1)).astype("float32")
    mask = rng.uniform(size=(ROWS, LENGTH)) < 0.6
    cell = built()
    layer = keras.layers.RNN(cell, return_sequences=True, unroll=unroll)
    outputs = layer(x, mask=mask)
    for row in range(ROWS):
        state = np.zeros(UNITS)
        for t in range(LENGTH):
            if mask[row, t]:
                state = step(cell, x[row, t, :-1], x[row, t, -1], state)
            np.testing.assert_allclose(outputs[row, t], state, atol=1e-5)


def test_activations_are_those_asked_for():
    cell = built(activation="relu", recurrent_activation="hard_sigmoid")
    assert cell.activation is keras.activations.relu
    x, attention, state = inputs()
    output, _ = run(cell, 10 * x, attention, np.abs(state))
    assert (output.numpy() >= 0).all()
    assert (output.numpy() > 1).any()
    # Hard gates are exactly shut where a sigmoid's never are.
    assert (output.numpy() == np.abs(state)).any()


def test_initializers_draw_their_own_weight_only():
    cell = AUGRUCell(
        UNITS,
        kernel_initializer=keras.initializers.Constant(2.0),
        recurrent_initializer=keras.initializers.Constant(3.0),
        bias_initializer=keras.initializers.Constant(4.0),
    )
    cell.build((None, DIM + 1))
    for weight, value, rows in [
        (cell.kernel, 2, (DIM,)),
        (cell.recurrent_kernel, 3, (UNITS,)),
        (cell.bias, 4, ()),
    ]:
        np.testing.assert_array_equal(
            weight, np.full((*rows, 3 * UNITS), value)
        )


def test_it_starts_as_keras_grus_do():
    cell = AUGRUCell(UNITS)
    cell.build((None, DIM + 1))
    U = cell.recurrent_kernel.numpy()
    np.testing.assert_allclose(U @ U.T, np.eye(UNITS), atol=1e-5)
    assert not cell.bias.numpy().any()


def test_the_config_makes_the_same_rnn():
    layer = keras.layers.RNN(built(activation="relu"))
    config = keras.saving.serialize_keras_object(layer)
    twin = keras.saving.deserialize_keras_object(config)
    assert isinstance(twin.cell, AUGRUCell)
    assert twin.cell.get_config() == layer.cell.get_config()


@pytest.mark.parametrize("wrong", [0, -1, 2.0, None])
def test_units_that_cannot_be_are_named(wrong):
    with pytest.raises(ValueError, match=f"Received: units={wrong!r}"):
        AUGRUCell(wrong)


def test_inputs_of_attention_alone_raise():
    with pytest.raises(ValueError, match=r"Received: inputs.shape=\(2, 1\)"):
        AUGRUCell(UNITS)(np.ones((2, 1)), [np.ones((2, UNITS))])
