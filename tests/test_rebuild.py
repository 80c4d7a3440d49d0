"""A functional model's graph, made again call by call."""

import keras
import numpy as np
import pytest
from keras import layers

from mlora_tf.layer_copies import Copies
from mlora_tf.layer_copies import copy_state
from mlora_tf.rebuild import calls
from mlora_tf.rebuild import check_graph
from mlora_tf.rebuild import copy_input
from mlora_tf.rebuild import flat_inputs
from mlora_tf.rebuild import is_graph
from mlora_tf.rebuild import rebuild
from mlora_tf.rebuild import structure_of_inputs
from tests import goldens


def branching():
    """Two inputs, a shared layer, an operation, a nested model, two outputs."""
    x, z = keras.Input((4,), name="x"), keras.Input((4,), name="z")
    shared = layers.Dense(4, activation="tanh", name="shared")
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)], name="inner")
    y = shared(shared(x)) + z
    outputs = {"near": inner(y), "far": [layers.BatchNormalization()(y), x]}
    model = keras.Model({"x": x, "z": z}, outputs)
    goldens.randomize(model)
    return model


def copied(model):
    inputs = keras.tree.map_structure(copy_input, structure_of_inputs(model))
    return keras.Model(inputs, rebuild(model, inputs, Copies().call))


def rows(names=("x", "z")):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(3, 4)).astype("float32") for name in names}


def assert_same(one, other):
    flat = keras.tree.flatten(one), keras.tree.flatten(other)
    for left, right in zip(*flat, strict=True):
        np.testing.assert_array_equal(left, right)


def test_each_call_is_made_once_with_what_came_of_those_before():
    model = branching()
    made = []

    def call(layer, *args, mask=None):
        made.append(layer.name)
        flat = ", ".join(map(str, keras.tree.flatten(args)))
        return f"{layer.name}({flat})"

    outputs = rebuild(model, {"x": "x", "z": "z"}, call)
    names = {layer.name for layer in model.operations} - {"x", "z"}
    assert set(made) == names
    assert len(made) == len(names) + 1
    add = next(name for name in made if name.startswith("add"))
    total = f"{add}(shared(shared(x)), z)"
    assert outputs["near"] == f"inner({total})"
    assert outputs["far"][1] == "x"
    assert total in outputs["far"][0]


def test_a_sequential_model_is_a_chain():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, name="a"),
            layers.Dense(2, name="b"),
        ]
    )
    outputs = rebuild(model, ["x"], lambda layer, x: f"{layer.name}({x})")
    assert outputs == "b(a(x))"


def test_calls_are_in_an_order_that_goes():
    model = branching()
    known = {id(tensor) for tensor in model.inputs}
    number = 0
    for _, inputs, outputs in calls(model):
        assert {id(tensor) for tensor in inputs} <= known
        known |= {id(tensor) for tensor in outputs}
        number += 1
    assert number == 5
    assert {id(tensor) for tensor in model.outputs} <= known


def test_calls_of_other_models_are_none_of_this_ones():
    model = branching()
    shared = model.get_layer("shared")
    keras.Model(model.input, shared(model.input["z"]))
    assert sum(layer is shared for layer, _, _ in calls(model)) == 2


def test_copies_give_the_same_bit_for_bit_and_share_nothing():
    model = branching()
    copy = copied(model)
    expected = model(rows())
    assert_same(copy(rows()), expected)
    goldens.randomize(copy, seed=3)
    assert_same(model(rows()), expected)
    assert copy.get_layer("shared") is not model.get_layer("shared")
    assert len(copy.weights) == len(model.weights)


def test_a_copy_keeps_what_trains():
    model = branching()
    model.get_layer("inner").trainable = False
    model.get_layer("shared").bias.trainable = False
    copy = copied(model)
    assert [weight.trainable for weight in copy.weights] == [
        weight.trainable for weight in model.weights
    ]
    assert not copy.get_layer("inner").layers[0].trainable


def test_a_copy_has_a_name_of_its_own_if_it_gets_one():
    x = keras.Input((4,))
    layer = layers.Dense(3, name="old")
    y = layer(x)
    copies = Copies()
    z = copies.call_as(layer, "new", x)
    again = copies.call_as(layer, "ignored", x)
    model = keras.Model(x, [y, z, again])
    assert [one.name for one in model.layers[1:]] == ["old", "new"]
    outputs = model(rows()["x"])
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_a_layer_that_takes_no_name_is_copied():
    class Plain(layers.Layer):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return {"factor": self.factor}

    layer, x = Plain(2.0), keras.Input((4,))
    layer.name = "twice"
    model = keras.Model(x, Copies().call(layer, x))
    assert model.layers[-1].name == "twice"
    assert model.layers[-1] is not layer
    np.testing.assert_array_equal(model(rows()["x"]), 2 * rows()["x"])


def test_a_vocabulary_that_keras_would_lose_is_named():
    words = layers.StringLookup(name="words")
    words.adapt(np.array(["pen", "ink", "ink", ""]))
    copy = layers.StringLookup(name="copy")
    with pytest.raises(ValueError, match="vocabulary of 'words' can't be"):
        copy_state(words, copy)


def test_an_input_is_copied_as_it_is():
    x = keras.Input((None, 3), batch_size=2, dtype="int64", name="x")
    copy = copy_input(x)
    assert (copy.shape, copy.dtype, copy.name) == ((2, None, 3), "int64", "x")
    assert copy is not x
    optional = copy_input(keras.Input((3,), name="maybe", optional=True))
    assert optional._keras_history.operation.optional


@pytest.mark.parametrize("structure", ["list", "dict", "one"])
def test_inputs_are_flat_in_the_order_of_the_models(structure):
    x, z = keras.Input((4,), name="x"), keras.Input((4,), name="a")
    y = layers.Add()([x, z]) if structure != "one" else layers.ReLU()(x)
    inputs = {"list": [x, z], "dict": {"x": x, "a": z}, "one": x}[structure]
    model = keras.Model(inputs, y)
    by_name = {tensor.name: tensor.name.upper() for tensor in model.inputs}
    expected = list(by_name.values())
    given = {"list": ["X", "A"], "dict": by_name, "one": "X"}[structure]
    assert flat_inputs(model, given) == expected
    if structure == "list":
        turned = dict(reversed(by_name.items()))
        assert flat_inputs(model, turned) == expected


class Own(keras.Model):
    def train_step(self, data):
        return {}


def test_what_is_a_graph_and_what_is_not():
    x = keras.Input((4,))
    functional = keras.Model(x, layers.Dense(3)(x))
    built = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    for model in (functional, built):
        assert is_graph(model)
        check_graph(model)
    unbuilt = keras.Sequential([layers.Dense(3)])
    own = Own(x, functional.output)
    for model in (unbuilt, own, layers.Dense(3), keras.Function(x, x * 2), 3):
        assert not is_graph(model)
        said = r"functional or seq.*\(model\.input, model\.output\)"
        with pytest.raises(ValueError, match=said):
            check_graph(model)


def test_a_layer_that_its_config_does_not_make_is_named():
    class Odd(layers.Layer):
        def __init__(self, factors):
            super().__init__(name="odd")
            self.factors = factors

        def call(self, x):
            return x * self.factors[0]

    said = r"'odd' can't be copied.*argument 'trainable'.*Received: Odd$"
    with pytest.raises(ValueError, match=said):
        Copies().call(Odd((2.0,)), keras.Input((4,)))
