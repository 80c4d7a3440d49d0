import keras
import numpy as np
import pytest

from mlora_tf.transform import initialize_from
from mlora_tf.weight_names import weights_by_name
from tests import goldens


def test_a_model_within_the_model_has_names_of_its_own():
    def built():
        x = keras.Input((3,))
        inner = keras.Model(x, keras.layers.Dense(3, name="same")(x), name="a")
        other = keras.Model(x, keras.layers.Dense(3, name="else")(x))
        outputs = keras.layers.Dense(3, name="same")(other(inner(x)))
        model = keras.Model(x, outputs)
        goldens.randomize(model)
        return model

    model, source = built(), built()
    assert list(weights_by_name(model)) == [
        *("a/same/kernel", "a/same/bias"),
        *("else/kernel", "else/bias"),
        *("same/kernel", "same/bias"),
    ]
    for weight in source.weights:
        weight.assign(keras.random.normal(weight.shape))
    initialize_from(model, source)
    for one, other in zip(model.weights, source.weights, strict=True):
        np.testing.assert_array_equal(one, other)


class Pair(keras.layers.Layer):
    """A layer with two weights of one name."""

    def build(self, inputs_shape):
        self.ones = [
            self.add_weight(name="one", shape=(), initializer="ones")
            for _ in range(2)
        ]

    def call(self, inputs):
        return inputs * self.ones[0] + self.ones[1]


@pytest.mark.parametrize("twice", ["model", "source"])
def test_a_name_of_two_weights_is_named_and_nothing_is_copied(twice):
    def built(name, *more):
        layers = [keras.Input((3,)), keras.layers.Dense(3, name="same"), *more]
        model = keras.Sequential(layers, name=name)
        goldens.randomize(model)
        return model

    models = built("two", Pair(name="pair")), built("one")
    model, source = models if twice == "model" else models[::-1]
    before = [weight.numpy() for weight in model.weights]
    with pytest.raises(ValueError, match=r"'two' must .*: 'pair/one' twice"):
        initialize_from(model, source, partly=True)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
