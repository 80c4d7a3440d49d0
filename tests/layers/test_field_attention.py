import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import FieldAttention
from mlora_tf.layers import field_attention
from tests import goldens

KERNELS = ("query_kernel", "key_kernel", "value_kernel", "residual_kernel")


def built(fields=4, **config):
    """A layer of random weights, for fields of 3 numbers; and inputs."""
    config = {"num_heads": 2, "head_size": 5, **config}
    golden = goldens.LayerGolden(FieldAttention, config, row_shape=(fields, 3))
    return golden.make(), golden.inputs()[0]


def reference(layer, inputs):
    """Eqs. 5-8, head by head and field by field."""
    weights = {w.name: w.numpy().astype("float64") for w in layer.weights}
    size = layer.head_size
    outputs = []
    for row in inputs.astype("float64"):
        fields = []
        for v_m in row:
            heads = []
            for h in range(layer.num_heads):
                part = slice(h * size, (h + 1) * size)
                w_q, w_k, w_v = (weights[n][:, part] for n in KERNELS[:3])
                scores = np.array([(v_m @ w_q) @ (v_k @ w_k) for v_k in row])
                if layer.use_scale:
                    scores = scores / size**0.5
                a = np.exp(scores) / np.exp(scores).sum()
                heads.append(sum(a[k] * (row[k] @ w_v) for k in range(len(a))))
            u_m = np.concatenate(heads)
            if layer.use_residual:
                u_m = u_m + v_m @ weights["residual_kernel"]
            fields.append(np.maximum(u_m, 0))
        outputs.append(fields)
    return outputs


# Keras's: with one field alone, all attention is the field's own.
@pytest.mark.filterwarnings("ignore:You are using a softmax:UserWarning")
@pytest.mark.parametrize("use_residual", [True, False])
@pytest.mark.parametrize("use_scale", [True, False])
@pytest.mark.parametrize("fields", [1, 2, 4, 5, 7])
def test_it_is_the_papers_equations(use_residual, use_scale, fields):
    layer, v = built(fields, use_residual=use_residual, use_scale=use_scale)
    outputs = layer(v)
    assert outputs.shape == (goldens.ROWS, fields, 10)
    np.testing.assert_allclose(outputs, reference(layer, v), atol=1e-5)


def outputs_and_gradients(layer, inputs):
    """Of the outputs' squares, by the inputs and all weights."""
    inputs = tf.constant(inputs)
    sources = [inputs, *(weight.value for weight in layer.weights)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        loss = tf.reduce_sum(outputs**2)
    return [outputs, *tape.gradient(loss, sources)]


@pytest.mark.parametrize("use_scale", [True, False])
@pytest.mark.parametrize("fields", [2, 4, 6])
def test_few_fields_and_many_have_one_gradient(use_scale, fields, monkeypatch):
    layer, v = built(fields, use_scale=use_scale)
    monkeypatch.setattr(field_attention, "FEW_FIELDS", 0)
    by_row = outputs_and_gradients(layer, v)
    monkeypatch.setattr(field_attention, "FEW_FIELDS", fields)
    by_pair = outputs_and_gradients(layer, v)
    for one, other in zip(by_pair, by_row, strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fields", [3, 6])
def test_large_scores_do_not_overflow(fields):
    layer, v = built(fields)
    # The largest score of each field has all attention.
    outputs = outputs_and_gradients(layer, 1e3 * v)
    assert all(np.isfinite(part).all() for part in outputs)


@pytest.mark.parametrize("fields", [3, 6])
def test_a_batch_may_have_any_number_of_rows(fields):
    layer, v = built(fields)
    step = tf.function(
        layer, input_signature=[tf.TensorSpec((None, fields, 3))]
    )
    for rows in (0, 1, goldens.ROWS):
        outputs = step(v[:rows])
        assert outputs.shape == (rows, fields, 10)
        np.testing.assert_allclose(outputs, layer(v)[:rows], atol=1e-5)


@pytest.mark.parametrize("fields", [3, 6])
def test_half_precision_stays_half(fields):
    layer, v = built(fields, dtype="mixed_bfloat16")
    assert layer(v).dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(layer(v), tf.float32), reference(layer, v), rtol=0.1, atol=0.1
    )


def test_its_activation_is_relu():
    layer, v = built()
    outputs = layer(v).numpy()
    assert outputs.min() == 0
    assert (outputs > 0).mean() > 0.2


def test_it_has_the_weights_asked_for():
    layer, _ = built()
    assert {w.name: w.shape for w in layer.weights} == {
        name: (3, 10) for name in KERNELS
    }
    layer, _ = built(use_residual=False)
    assert {w.name for w in layer.weights} == set(KERNELS[:3])


def test_its_defaults_are_the_published_codes():
    layer = FieldAttention()
    assert (layer.num_heads, layer.head_size) == (4, 8)
    assert layer.use_residual
    assert not layer.use_scale


def test_the_kernels_draw_numbers_of_their_own():
    layer = FieldAttention(num_heads=5, head_size=10)
    layer.build((None, 3, 50))
    kernels = layer.get_weights()
    for i, kernel in enumerate(kernels):
        assert kernel.std() == pytest.approx(np.sqrt(2 / 100), rel=0.1)
        for other in kernels[:i]:
            assert (kernel != other).all()
    twos = FieldAttention(kernel_initializer=keras.initializers.Constant(2))
    twos.build((None, 3, 4))
    for kernel in twos.get_weights():
        np.testing.assert_array_equal(kernel, np.full((4, 32), 2))


def test_the_penalty_is_on_the_kernels():
    layer, _ = built(kernel_regularizer=keras.regularizers.L2(0.5))
    expected = [0.5 * np.sum(w**2) for w in layer.get_weights()]
    assert len(expected) == 4
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-5)
    assert built()[0].losses == []


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["num_heads", "head_size"])
@pytest.mark.parametrize("wrong", [0, -1, 2.0, None, True])
def test_a_number_that_cannot_be_is_named(argument, wrong):
    said = rf"{argument} must be an integer.*Received: {argument}={wrong!r}"
    with pytest.raises(ValueError, match=said):
        FieldAttention(**{argument: wrong})


def test_inputs_without_fields_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        FieldAttention()(np.ones((2, 3), "float32"))
