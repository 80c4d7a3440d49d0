import pytest

from mlora_tf.layers.arguments import check_integer
from mlora_tf.layers.arguments import check_weight


@pytest.mark.parametrize("wrong", [1, -1, 2.0, "2", None, True])
def test_what_is_no_such_integer_is_named(wrong):
    said = rf"size must be an integer of at least 2\. Received: size={wrong!r}"
    with pytest.raises(ValueError, match=said):
        check_integer("size", wrong, 2)


def test_an_integer_that_is_large_enough_passes():
    check_integer("size", 2, 2)
    check_integer("size", 0, -1)


@pytest.mark.parametrize(
    "wrong", [-1, -0.1, float("nan"), float("inf"), "1", None, True]
)
def test_what_is_no_such_weight_is_named(wrong):
    said = rf"share must be a number of at least 0\. Received: share={wrong!r}"
    with pytest.raises(ValueError, match=said):
        check_weight("share", wrong)


@pytest.mark.parametrize("weight", [0, 0.0, 1, 1e-9, 2.5])
def test_a_weight_that_can_be_passes(weight):
    check_weight("share", weight)
