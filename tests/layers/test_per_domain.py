import json

import keras
import numpy as np
import pytest

from mlora_tf.layers import PerDomain

SHAPE = 50, 80, 20
SCALED = {
    "glorot_normal": np.sqrt(2 / (80 + 20)),
    "glorot_uniform": np.sqrt(2 / (80 + 20)),
    "he_normal": np.sqrt(2 / 80),
    "lecun_uniform": np.sqrt(1 / 80),
}


def draw(initializer, shape=SHAPE):
    keras.utils.set_random_seed(0)
    return np.array(PerDomain(initializer)(shape, "float32").numpy())


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("num_domains", [1, 50])
def test_slices_are_drawn_as_if_alone(name, num_domains):
    stack = draw(name, (num_domains, *SHAPE[1:]))
    assert stack.shape == (num_domains, *SHAPE[1:])
    # 1600 numbers a slice: 1.8% of noise.
    for one in stack:
        assert one.std() == pytest.approx(SCALED[name], rel=0.1)


def test_keras_alone_would_draw_them_smaller():
    # Why this initializer exists; should Keras change, it must go.
    stack = keras.initializers.GlorotNormal(0)(SHAPE, "float32").numpy()
    expected = SCALED["glorot_normal"] / np.sqrt(50)
    assert stack.std() == pytest.approx(expected, rel=0.1)


def test_initializers_without_a_fan_pass_unchanged():
    normal = keras.initializers.RandomNormal(stddev=0.3)
    assert draw(normal).std() == pytest.approx(0.3, rel=0.05)
    constant = keras.initializers.Constant(0.5)
    np.testing.assert_array_equal(draw(constant), np.full(SHAPE, 0.5))


def test_slices_differ():
    stack = draw("glorot_normal")
    assert (stack[0] != stack[1]).all()


def test_the_config_makes_the_same_initializer():
    initializer = PerDomain(keras.initializers.RandomNormal(stddev=0.3, seed=7))
    config = json.loads(json.dumps(initializer.get_config()))
    twin = PerDomain.from_config(config)
    assert twin.get_config() == initializer.get_config()
    shape = 2, 3, 4
    np.testing.assert_array_equal(
        twin(shape).numpy(), initializer(shape).numpy()
    )


def test_keras_deserializes_it():
    config = keras.initializers.serialize(PerDomain("he_normal"))
    twin = keras.initializers.deserialize(config)
    assert isinstance(twin, PerDomain)
    assert isinstance(twin.initializer, keras.initializers.HeNormal)
