import keras
import numpy as np
import pytest

from mlora_tf.layers.cross_stitch import CrossStitch
from tests import goldens

ROWS, UNITS = 5, 4


def inputs(networks, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(ROWS, networks, UNITS)).astype("float32")


@pytest.mark.parametrize("networks", [1, 2, 5])
def test_it_is_the_papers_equation(networks):
    layer, x = CrossStitch(), inputs(networks)
    layer(x)
    goldens.randomize(layer)
    S = layer.stitch.numpy()
    assert (S != S.T).any() or networks == 1
    expected = np.zeros(x.shape)
    for row in range(ROWS):
        for m in range(networks):
            for n in range(networks):
                expected[row, m] += S[m, n] * x[row, n]
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("self_weight", "networks", "own", "other"),
    [(0.9, 2, 0.9, 0.1), (0.9, 5, 0.9, 0.025), (0.4, 3, 0.4, 0.3),
     (1, 3, 1, 0), (0, 3, 0, 0.5)],
)  # fmt: skip
def test_at_first_networks_keep_most_of_their_own(
    self_weight, networks, own, other
):
    layer = CrossStitch(self_weight)
    layer.build((None, networks, UNITS))
    expected = np.full((networks, networks), other)
    np.fill_diagonal(expected, own)
    np.testing.assert_allclose(layer.stitch, expected, rtol=1e-6)


def test_they_keep_nine_tenths_unless_told_otherwise():
    assert CrossStitch().self_weight == 0.9


@pytest.mark.parametrize("self_weight", [0, 0.9])
def test_a_single_network_keeps_all(self_weight):
    layer, x = CrossStitch(self_weight), inputs(1)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer.stitch, [[1.0]])


def test_it_trains_one_number_for_each_pair():
    layer = CrossStitch()
    layer.build((None, 3, UNITS))
    assert [weight.path for weight in layer.trainable_weights] == [
        f"{layer.name}/stitch"
    ]
    assert layer.stitch.shape == (3, 3)


def test_a_batch_may_have_no_row():
    assert CrossStitch()(inputs(3)[:0]).shape == (0, 3, UNITS)


def test_other_precisions_are_kept():
    layer = CrossStitch(dtype="float64")
    layer(inputs(3))
    assert layer.stitch.dtype == "float64"
    assert layer.stitch.numpy()[0, 1] == pytest.approx(0.05, rel=1e-12)
    assert CrossStitch(dtype="float16")(inputs(3)).dtype == "float16"


@pytest.mark.parametrize("wrong", [-0.1, 1.1, "0.9", None, np.nan])
def test_a_weight_that_cannot_be_is_named(wrong):
    with pytest.raises(ValueError, match=f"Received: self_weight={wrong!r}"):
        CrossStitch(wrong)


def test_inputs_without_networks_raise():
    with pytest.raises(ValueError, match="expected ndim=3"):
        CrossStitch()(keras.ops.ones((2, 3)))
