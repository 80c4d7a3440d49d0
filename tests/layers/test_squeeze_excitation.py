import keras
import numpy as np
import pytest

from mlora_tf.layers import SqueezeExcitation
from tests import goldens


def built(fields=6, **config):
    """A layer of random weights, for fields of 3 numbers; and inputs."""
    golden = goldens.LayerGolden(
        SqueezeExcitation, config, row_shape=(fields, 3)
    )
    return golden.make(), golden.inputs()[0]


def reference(layer, v):
    """Squeeze, excitation and re-weight, row by row."""
    w1 = layer.reduction_kernel.numpy().astype("float64")
    w2 = layer.expansion_kernel.numpy().astype("float64")
    outputs = []
    for row in v.astype("float64"):
        z = np.array([sum(field) / len(field) for field in row])
        a = np.maximum(np.maximum(z @ w1, 0) @ w2, 0)
        outputs.append([a[f] * row[f] for f in range(len(row))])
    return np.array(outputs)


@pytest.mark.parametrize("fields", [1, 2, 6, 7])
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_it_is_the_equations(fields, ratio):
    layer, v = built(fields, reduction_ratio=ratio)
    outputs = layer(v)
    assert outputs.shape == v.shape
    np.testing.assert_allclose(outputs, reference(layer, v), atol=1e-5)


def test_both_activations_are_relus():
    layer, v = built(reduction_ratio=1)
    z = v.mean(axis=2)
    reduced = z @ layer.reduction_kernel.numpy()
    weights = np.maximum(reduced, 0) @ layer.expansion_kernel.numpy()
    for values in (reduced, weights):
        assert (values < 0).any()
        assert (values > 0).any()
    outputs = layer(v).numpy()
    assert (outputs[weights < 0] == 0).all()
    assert (outputs[weights > 0] != 0).all()


@pytest.mark.parametrize(
    ("fields", "ratio", "reduced"),
    [(1, 3, 1), (2, 3, 1), (3, 3, 1), (5, 3, 1), (6, 3, 2), (7, 1, 7)],
)
def test_the_ratio_divides_the_fields_down_to_one(fields, ratio, reduced):
    layer = SqueezeExcitation(ratio)
    layer.build((None, fields, 4))
    assert {weight.name: weight.shape for weight in layer.weights} == {
        "reduction_kernel": (fields, reduced),
        "expansion_kernel": (reduced, fields),
    }
    assert SqueezeExcitation().reduction_ratio == 3


def test_the_kernels_draw_numbers_of_their_own():
    layer = SqueezeExcitation(1)
    layer.build((None, 50, 4))
    first, second = layer.get_weights()
    assert (first != second).all()
    for kernel in (first, second):
        assert kernel.std() == pytest.approx(np.sqrt(2 / 100), rel=0.1)
    twos = SqueezeExcitation(kernel_initializer=keras.initializers.Constant(2))
    twos.build((None, 6, 4))
    for kernel in twos.get_weights():
        np.testing.assert_array_equal(kernel, np.full(kernel.shape, 2))


def test_the_penalty_is_on_both_kernels():
    layer, _ = built(kernel_regularizer=keras.regularizers.L2(0.5))
    expected = [0.5 * np.sum(w**2) for w in layer.get_weights()]
    assert len(expected) == 2
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-5)
    assert built()[0].losses == []


@pytest.mark.parametrize("wrong", [0, -1, 3.0, None, True])
def test_a_ratio_that_cannot_be_is_named(wrong):
    said = rf"reduction_ratio must be a.*Received: reduction_ratio={wrong!r}"
    with pytest.raises(ValueError, match=said):
        SqueezeExcitation(wrong)


def test_inputs_without_fields_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        SqueezeExcitation()(np.ones((2, 3), "float32"))
