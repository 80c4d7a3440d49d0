"""Foreign models that get an adapter per domain."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mlora_tf.adapting import adapt
from mlora_tf.layers import MLoRADense
from mlora_tf.merge import merge_domain
from mlora_tf.transform import domain_names
from mlora_tf.transform import domain_variables
from mlora_tf.transform import freeze_backbone
from mlora_tf.transform import initialize_from
from tests import goldens

DOMAINS = ["fr", "it", "pl"]
ROWS = 7


def numbers(width=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(ROWS, width)).astype("float32")


def domains(domain=None):
    if domain is None:
        return goldens.spread(ROWS, len(DOMAINS))
    return np.full(ROWS, domain, "int32")


def plain():
    """What a user may have: a network on numbers, made by Keras alone."""
    x = keras.Input((6,), name="x")
    y = layers.Dense(8, activation="relu", name="first")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Dropout(0.5)(y)
    y = layers.Dense(4, activation="tanh", name="second")(y)
    y = layers.Dense(1, name="logit")(y)
    return drawn(keras.Model(x, layers.Activation("sigmoid")(y), name="mine"))


def drawn(model):
    goldens.randomize(model)
    return model


def adapters(model):
    """The names of the layers with adapters, nested ones too."""
    return [
        layer.name
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, MLoRADense)
    ]


def assert_same(adapted, model, *inputs):
    """That the outputs are bit for bit alike, whatever the domain."""
    single = len(inputs) == 1 and not isinstance(model.input, list)
    given = inputs[0] if single else list(inputs)
    expected = model(given)
    for domain in (domains(), *map(domains, range(len(DOMAINS)))):
        if isinstance(given, dict):
            actual = adapted({**given, "domain": tf.constant(domain)})
        elif single:
            (x,) = model.inputs
            actual = adapted({x.name: given, "domain": domain})
        else:
            actual = adapted([*inputs, domain])
        keras.tree.assert_same_structure(actual, expected)
        flat = keras.tree.flatten(actual), keras.tree.flatten(expected)
        for one, other in zip(*flat, strict=True):
            np.testing.assert_array_equal(one, other)


def move_adapters(model):
    """Draws the domains' weights: no domain is the shared model then."""
    rng = np.random.default_rng(5)
    for variable in domain_variables(model):
        variable.assign(rng.normal(size=variable.shape).astype("float32"))


# --- What comes out ----------------------------------------------------------


def test_until_it_is_trained_it_is_the_model_bit_for_bit():
    model = plain()
    adapted = adapt(model, DOMAINS)
    assert_same(adapted, model, numbers())
    assert domain_names(adapted) == ("fr", "it", "pl")
    assert adapted.name == "mine"


def test_it_predicts_the_same_in_a_compiled_graph():
    model = plain()
    inputs = {"x": numbers(), "domain": domains()}
    np.testing.assert_array_equal(
        adapt(model, DOMAINS).predict(inputs, verbose=0),
        model.predict(numbers(), verbose=0),
    )


def test_all_but_the_last_dense_layers_get_adapters():
    adapted = adapt(plain(), DOMAINS, temperature=4)
    assert adapters(adapted) == ["first", "second"]
    assert type(adapted.get_layer("logit")) is layers.Dense
    first = adapted.get_layer("first")
    assert first.lora_kernel_a.shape == (3, 6, 2)
    assert first.activation is keras.activations.relu


def test_the_weights_keep_their_paths():
    model = plain()
    adapted = adapt(model, DOMAINS)
    before, after = goldens.arrays(model), goldens.arrays(adapted)
    assert set(after) - set(before) == {
        f"{layer}/{name}"
        for layer in ("first", "second")
        for name in ("lora_kernel_a", "lora_kernel_b", "lora_bias")
    }
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value)


def test_the_model_stays_as_it_is_and_shares_nothing():
    model = plain()
    config, before = model.get_config(), goldens.arrays(model)
    adapted = adapt(model, DOMAINS)
    goldens.randomize(adapted, seed=3)
    assert model.get_config() == config
    for path, value in goldens.arrays(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_it_can_be_saved_and_loaded(tmp_path):
    adapted = adapt(plain(), DOMAINS, rank=2)
    move_adapters(adapted)
    adapted.save(tmp_path / "it.keras")
    loaded = keras.models.load_model(tmp_path / "it.keras")
    inputs = {"x": numbers(), "domain": domains()}
    np.testing.assert_array_equal(loaded(inputs), adapted(inputs))
    assert domain_names(loaded) == ("fr", "it", "pl")


def test_training_its_adapters_moves_no_other_domain():
    model = plain()
    adapted = adapt(model, DOMAINS, rank=2)
    freeze_backbone(adapted)
    adapted.compile("sgd", "binary_crossentropy")
    inputs = {"x": numbers(), "domain": domains(1)}
    adapted.fit(inputs, goldens.labels(ROWS), epochs=2, verbose=0)
    expected = model(numbers()).numpy()
    for domain in range(3):
        outputs = adapted({"x": numbers(), "domain": domains(domain)}).numpy()
        assert (outputs == expected).all() == (domain != 1)


def test_adapters_learn_what_the_model_has_no_word_for():
    rng = np.random.default_rng(0)
    x, domain = rng.normal(size=(600, 6)), rng.integers(0, 3, 600)
    # Each domain likes another number: what is alike in them tells nothing.
    clicks = (x[np.arange(600), domain] > 0).astype("float32")
    adapted = adapt(plain(), DOMAINS, rank=2)
    freeze_backbone(adapted)
    adapted.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
    inputs = {"x": x.astype("float32"), "domain": domain.astype("int32")}
    history = adapted.fit(inputs, clicks, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.5 < 0.6 < history[0]


def test_it_can_be_adapted_in_a_strategys_scope(two_replicas):
    model = plain()
    with two_replicas.scope():
        adapted = adapt(model, DOMAINS, rank=2)
        adapted.compile("sgd", "binary_crossentropy")
    inputs = {"x": numbers()[:6], "domain": domains()[:6]}
    np.testing.assert_array_equal(adapted(inputs), model(inputs["x"]))
    adapted.fit(inputs, goldens.labels(6), batch_size=6, verbose=0)
    assert (adapted(inputs) != model(inputs["x"])).numpy().all()


def test_a_domain_out_of_range_raises():
    adapted = adapt(plain(), DOMAINS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="domain"):
        adapted({"x": numbers(), "domain": domains(3)})


def test_all_that_makes_adapters_is_handed_on():
    adapted = adapt(
        plain(),
        DOMAINS,
        temperature=2,
        max_adapter_params=20,
        lora_alpha=3.0,
        use_lora_bias=False,
        a_initializer="he_normal",
        lora_regularizer="l2",
    )
    layer = adapted.get_layer("first")
    assert layer.lora_kernel_a.shape[-1] == 1
    assert layer.lora_alpha == 3.0
    assert layer.lora_bias is None
    assert isinstance(layer.a_initializer, keras.initializers.HeNormal)
    assert isinstance(layer.lora_regularizer, keras.regularizers.L2)
    ranked = adapt(plain(), DOMAINS, rank=3)
    assert ranked.get_layer("second").lora_kernel_b.shape == (3, 3, 4)


def test_an_initializer_draws_each_layer_by_itself():
    x = keras.Input((6,), name="x")
    y = layers.Dense(6, name="b")(layers.Dense(6, name="a")(x))
    model = keras.Model(x, layers.Dense(1)(y))
    draw = keras.initializers.RandomNormal()
    adapted = adapt(model, DOMAINS, a_initializer=draw)
    one, other = (adapted.get_layer(name).lora_kernel_a for name in "ab")
    assert (one.numpy() != other.numpy()).any()


# --- Inputs ------------------------------------------------------------------


def two_inputs(structure):
    x, z = keras.Input((6,), name="x"), keras.Input((6,), name="z")
    y = layers.Dense(8, name="hidden")(layers.Concatenate()([x, z]))
    inputs = {"list": [x, z], "tuple": (x, z), "dict": {"x": x, "z": z}}
    return drawn(keras.Model(inputs[structure], layers.Dense(1)(y)))


def test_a_single_input_becomes_a_dict_with_the_domain():
    adapted = adapt(plain(), DOMAINS)
    assert list(adapted.input) == ["x", "domain"]
    assert adapted.input["domain"].shape == (None,)
    assert adapted.input["domain"].dtype == "int32"


def test_a_single_input_without_a_name_has_its_layers():
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(1)(layers.Dense(4)(x)))
    name = model.layers[0].name
    adapted = adapt(model, DOMAINS)
    assert list(adapted.input) == [name, "domain"]
    rows = {name: numbers(), "domain": domains()}
    np.testing.assert_array_equal(adapted(rows), model(numbers()))


@pytest.mark.parametrize("structure", ["list", "tuple"])
def test_a_list_of_inputs_has_the_domain_last(structure):
    model = two_inputs(structure)
    adapted = adapt(model, DOMAINS)
    assert [x.name for x in adapted.input] == ["x", "z", "domain"]
    assert_same(adapted, model, numbers(), numbers(seed=1))


def test_a_dict_of_inputs_has_the_domain_besides():
    model = two_inputs("dict")
    adapted = adapt(model, DOMAINS)
    assert set(adapted.input) == {"x", "z", "domain"}
    inputs = {"x": tf.constant(numbers()), "z": tf.constant(numbers(seed=1))}
    assert_same(adapted, model, inputs)


def test_inputs_keep_what_they_are():
    x = keras.Input((None, 3), batch_size=ROWS, dtype="float64", name="x")
    y = layers.Dense(4)(layers.GlobalAveragePooling1D()(x))
    adapted = adapt(keras.Model(x, layers.Dense(1)(y)), DOMAINS)
    assert adapted.input["x"].shape == (ROWS, None, 3)
    assert adapted.input["x"].dtype == "float64"


# --- Graphs ------------------------------------------------------------------


def test_a_sequential_model_is_adapted():
    model = drawn(
        keras.Sequential(
            [keras.Input((6,), name="x"), layers.Dense(8), layers.Dense(1)]
        )
    )
    adapted = adapt(model, DOMAINS)
    assert len(adapters(adapted)) == 1
    rows = {**dict.fromkeys(adapted.input, numbers()), "domain": domains()}
    np.testing.assert_array_equal(adapted(rows), model(numbers()))


def test_several_outputs_stay_in_their_structure():
    x = keras.Input((6,), name="x")
    shared = layers.Dense(8, activation="relu", name="shared")(x)
    outputs = {
        "click": layers.Dense(1, activation="sigmoid", name="click")(shared),
        "heads": [layers.Dense(2, name="buy")(shared), shared],
    }
    model = drawn(keras.Model(x, outputs))
    adapted = adapt(model, DOMAINS, target="shared")
    assert_same(adapted, model, numbers())


def test_what_the_model_returns_gets_no_adapter_unless_it_is_named():
    x = keras.Input((6,), name="x")
    hidden = layers.Dense(8, name="hidden")(x)
    model = keras.Model(x, [layers.Dense(1, name="last")(hidden), hidden])
    with pytest.raises(ValueError, match="no Dense layer to adapt"):
        adapt(model, DOMAINS)
    assert adapters(adapt(model, DOMAINS, target=["last"])) == ["last"]


def test_a_layer_that_is_called_twice_has_one_adapter_for_both():
    x = keras.Input((6,), name="x")
    shared = layers.Dense(6, activation="tanh", name="shared")
    model = drawn(keras.Model(x, layers.Dense(1)(shared(shared(x)))))
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["shared"]
    assert_same(adapted, model, numbers())
    move_adapters(adapted)
    layer, inputs = adapted.get_layer("shared"), (numbers(), domains())
    twice = layer(layer(*inputs), inputs[1])
    np.testing.assert_allclose(
        adapted({"x": inputs[0], "domain": inputs[1]}),
        adapted.layers[-1](twice),
        rtol=1e-5,
    )


def nested(calls=1, sequential=False):
    """A network on what a network within it makes of one or two inputs."""
    inner = keras.Sequential(name="inner") if sequential else None
    if sequential:
        inner.add(keras.Input((6,), name="rows"))
        inner.add(layers.Dense(8, activation="relu", name="deep"))
        inner.add(layers.Dense(4, name="deeper"))
    else:
        rows = keras.Input((6,), name="rows")
        y = layers.Dense(8, activation="relu", name="deep")(rows)
        inner = keras.Model(
            rows, layers.Dense(4, name="deeper")(y), name="inner"
        )
    inputs = [keras.Input((6,), name=f"x{i}") for i in range(calls)]
    y = layers.Concatenate()([inner(x) for x in [*inputs, inputs[0]]])
    y = layers.Dense(3, name="outer")(y)
    return drawn(keras.Model(inputs, layers.Dense(1, name="last")(y)))


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_nested_model_is_adapted_inside(calls, sequential):
    model = nested(calls, sequential)
    adapted = adapt(model, DOMAINS)
    assert sorted(adapters(adapted)) == ["deep", "deeper", "outer"]
    inputs = [numbers(seed=seed) for seed in range(calls)]
    assert_same(adapted, model, *inputs)
    move_adapters(adapted)
    rows = [[*inputs, domains(domain)] for domain in range(3)]
    one, other, _ = (adapted(row).numpy() for row in rows)
    assert (one != other).all()


def test_a_nested_model_without_a_target_is_called_without_a_domain():
    model = nested()
    adapted = adapt(model, DOMAINS, target="outer")
    assert len(adapted.get_layer("inner").inputs) == 1
    assert_same(adapted, model, numbers())


def test_models_in_models_in_models_are_adapted():
    rows = keras.Input((8,), name="rows")
    middle = keras.Model(
        {"rows": rows}, {"y": nested_of_one()(rows)}, name="middle"
    )
    x = keras.Input((8,), name="x")
    y = layers.Dense(1)(middle({"rows": x})["y"])
    model = drawn(keras.Model(x, y))
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["innermost"]
    assert_same(adapted, model, numbers(8))


def nested_of_one():
    rows = keras.Input((8,), name="rows")
    y = layers.Dense(4, activation="elu", name="innermost")(rows)
    return keras.Model(rows, y, name="inner")


def test_a_layer_shared_across_levels_stays_shared():
    shared = layers.Dense(6, activation="tanh", name="shared")
    embed = layers.Dense(6, name="embed")
    rows = keras.Input((6,), name="rows")
    inner = keras.Model(rows, shared(embed(rows)), name="inner")
    x = keras.Input((6,), name="x")
    y = layers.Add()([inner(x), shared(x), embed(x)])
    model = drawn(keras.Model(x, layers.Dense(1)(y)))
    adapted = adapt(model, DOMAINS, target="shared")
    assert len(adapted.weights) == len(model.weights) + 3
    for name in ("shared", "embed"):
        inside = adapted.get_layer("inner").get_layer(name)
        assert inside is adapted.get_layer(name)
    assert_same(adapted, model, numbers())


def test_masks_and_vocabularies_are_kept():
    words = keras.layers.StringLookup(mask_token="", name="words")
    words.adapt(np.array(["pen", "ink", "ink"]))
    scaled = layers.Normalization(name="scaled")
    scaled.adapt(numbers(2))
    text = keras.Input((3,), dtype="string", name="text")
    x = keras.Input((2,), name="x")
    y = layers.Embedding(9, 4, mask_zero=True)(words(text))
    y = layers.LSTM(5)(y)
    y = layers.Concatenate()([y, scaled(x)])
    y = layers.Dense(4, name="hidden")(y)
    model = keras.Model({"text": text, "x": x}, layers.Dense(1)(y))
    adapted = adapt(model, DOMAINS)
    rows = [["pen", "", ""], ["ink", "pen", "cap"]] * 3 + [["", "ink", "pen"]]
    inputs = {"text": tf.constant(rows), "x": tf.constant(numbers(2))}
    assert_same(adapted, model, inputs)


@pytest.mark.filterwarnings("ignore:Layer 'inner'.*does not support masking")
@pytest.mark.parametrize("given", [True, False])
def test_a_mask_reaches_a_nested_model(given):
    rows = keras.Input((5, 4), name="rows")
    inner = keras.Model(
        rows, layers.Dense(3, name="deep")(layers.LSTM(3)(rows)), name="inner"
    )
    x = keras.Input((5,), dtype="int32", name="x")
    y = layers.Embedding(9, 4, mask_zero=not given)(x)
    y = inner(y, mask=keras.ops.not_equal(x, 0)) if given else inner(y)
    model = drawn(keras.Model(x, layers.Dense(1)(y)))
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["deep"]
    ids = np.random.default_rng(0).integers(0, 3, (ROWS, 5), "int32")
    assert_same(adapted, model, ids)


def test_arguments_may_be_given_by_name():
    rows = keras.Input((6,), name="rows")
    inner = keras.Model(rows, layers.Dense(4, name="deep")(inputs=rows))
    x = keras.Input((6,), name="x")
    model = drawn(keras.Model(x, layers.Dense(1)(inner(inputs=x))))
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["deep"]
    assert_same(adapted, model, numbers())
    move_adapters(adapted)
    rows = {"x": numbers(), "domain": domains(1)}
    np.testing.assert_allclose(
        merge_domain(adapted, "it")({"x": rows["x"]}),
        adapted(rows),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.filterwarnings("ignore:Layer 'inner'.*does not support masking")
@pytest.mark.parametrize("place", [True, False])
def test_a_mask_reaches_a_nested_model_that_gives_the_output(place):
    rows = keras.Input((5, 4), name="rows")
    y = layers.Dense(3, name="hidden")(layers.LSTM(3)(rows))
    inner = keras.Model(rows, layers.Dense(1)(y), name="inner")
    x = keras.Input((5,), dtype="int32", name="x")
    y, mask = layers.Embedding(9, 4)(x), keras.ops.not_equal(x, 0)
    y = inner(y, None, mask) if place else inner(y, mask=mask)
    model = drawn(keras.Model(x, y))
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["hidden"]
    ids = np.random.default_rng(0).integers(0, 3, (ROWS, 5), "int32")
    assert_same(adapted, model, ids)
    rows = {"x": ids, "domain": domains(1)}
    move_adapters(adapted)
    np.testing.assert_allclose(
        merge_domain(adapted, "it")({"x": ids}),
        adapted(rows),
        rtol=1e-5,
        atol=1e-6,
    )


def test_operations_that_are_no_layers_stay():
    x = keras.Input((6,), name="x")
    y = layers.Dense(6)(x) * 2.0 + keras.ops.sin(x)
    y = keras.ops.concatenate([y, x[:, :2]], axis=-1)
    model = drawn(keras.Model(x, layers.Dense(1)(y)))
    assert_same(adapt(model, DOMAINS), model, numbers())


# --- What of a layer is kept -------------------------------------------------


def one_dense(**config):
    x = keras.Input((6,), name="x")
    y = layers.Dense(8, name="hidden", **config)(x)
    return drawn(keras.Model(x, layers.Dense(1, name="last")(y)))


def test_a_layer_keeps_its_config():
    model = one_dense(
        activation="gelu",
        kernel_regularizer=keras.regularizers.L1(0.1),
        activity_regularizer=keras.regularizers.L2(0.2),
        kernel_initializer="he_normal",
        bias_initializer="ones",
        dtype="mixed_bfloat16",
    )
    adapted = adapt(model, DOMAINS)
    layer = adapted.get_layer("hidden")
    assert type(layer) is MLoRADense
    assert float(layer.kernel_regularizer.l1) == pytest.approx(0.1)
    assert float(layer.activity_regularizer.l2) == pytest.approx(0.2)
    assert isinstance(layer.kernel_initializer, keras.initializers.HeNormal)
    assert isinstance(layer.bias_initializer, keras.initializers.Ones)
    assert layer.dtype_policy.name == "mixed_bfloat16"
    assert_same(adapted, model, numbers())
    model(numbers(), training=True)
    adapted({"x": numbers(), "domain": domains()}, training=True)
    assert len(adapted.losses) == len(model.losses) == 2
    for one, other in zip(adapted.losses, model.losses, strict=True):
        np.testing.assert_allclose(float(one), float(other), rtol=1e-6)


def gelu(x):
    """A user's own, of the name of one of Keras's."""
    return 3.0 * x


@pytest.mark.parametrize("config", [{}, {"kernel_constraint": "non_neg"}])
def test_a_function_of_ones_own_is_not_taken_for_keras_one(config):
    x = keras.Input((6,), name="x")
    y = layers.Dense(8, activation=gelu, name="hidden", **config)(x)
    y = layers.Reshape((2, 4))(y)
    y = layers.GRU(3, activation=gelu, recurrent_activation=gelu)(y)
    y = layers.Dense(1, activation=gelu, name="last")(y)
    model = drawn(keras.Model(x, y))
    adapted = adapt(model, DOMAINS)
    assert_same(adapted, model, numbers())
    move_adapters(adapted)
    rows = {"x": numbers(), "domain": domains(1)}
    np.testing.assert_allclose(
        merge_domain(adapted, "it")({"x": rows["x"]}),
        adapted(rows),
        rtol=1e-4,
    )


def test_a_function_may_draw_the_adapters():
    def drawing(shape, dtype=None):
        return keras.ops.full(shape, 0.25, dtype)

    adapted = adapt(plain(), DOMAINS, a_initializer=drawing)
    for name in ("first", "second"):
        a = adapted.get_layer(name).lora_kernel_a
        assert (a.numpy() == 0.25).all()


def test_a_layer_with_a_constraint_may_be_called_by_name():
    x = keras.Input((6,), name="x")
    dense = layers.Dense(8, kernel_constraint="non_neg", name="hidden")
    y = layers.Dense(1, name="last")(dense(inputs=x, training=False))
    model = drawn(keras.Model(x, y))
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["hidden.adapter"]
    assert_same(adapted, model, numbers())


def test_a_layer_without_a_bias_has_none():
    model = one_dense(use_bias=False)
    adapted = adapt(model, DOMAINS)
    assert adapted.get_layer("hidden").bias is None
    assert_same(adapted, model, numbers())


@pytest.mark.parametrize(
    "config",
    [
        {"kernel_constraint": "non_neg"},
        {"bias_constraint": "non_neg", "activation": "relu"},
        {"bias_regularizer": "l2", "activity_regularizer": "l1"},
    ],
)
def test_a_layer_with_a_constraint_gets_its_adapter_beside_it(config):
    model = one_dense(**config)
    adapted = adapt(model, DOMAINS, rank=2)
    assert adapters(adapted) == ["hidden.adapter"]
    dense = adapted.get_layer("hidden")
    for name in config:
        if name not in ("activation", "activity_regularizer"):
            assert type(getattr(dense, name)) is type(
                getattr(model.get_layer("hidden"), name)
            )
    assert_same(adapted, model, numbers())
    adapted({"x": numbers(), "domain": domains()}, training=True)
    model(numbers(), training=True)
    assert len(adapted.losses) == len(model.losses)
    for one, other in zip(adapted.losses, model.losses, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    # The adapters are inside of the activation.
    move_adapters(adapted)
    layer, x = adapted.get_layer("hidden.adapter"), numbers()
    summed = x @ dense.kernel + dense.bias + layer(x, domains())
    activated = model.get_layer("hidden").activation(summed)
    np.testing.assert_allclose(
        adapted({"x": x, "domain": domains()}),
        adapted.get_layer("last")(activated),
        rtol=1e-4,
        atol=1e-5,
    )


def test_what_was_frozen_stays_so_but_for_the_adapters():
    model = plain()
    model.get_layer("first").trainable = False
    model.get_layer("norm").trainable = False
    model.get_layer("second").bias.trainable = False
    adapted = adapt(model, DOMAINS)
    trained = {variable.path for variable in adapted.trainable_variables}
    assert trained == {
        *("second/kernel", "logit/kernel", "logit/bias"),
        *(variable.path for variable in domain_variables(adapted)),
    }
    assert not adapted.get_layer("norm").trainable


def test_a_frozen_model_trains_its_adapters_alone():
    model = nested()
    model.trainable = False
    adapted = adapt(model, DOMAINS)
    trained = {id(variable) for variable in adapted.trainable_variables}
    assert trained == {id(one) for one in domain_variables(adapted)}


# --- Which layers ------------------------------------------------------------


def test_the_last_layers_are_those_behind_which_no_weights_come():
    x = keras.Input((6,), name="x")
    wide = layers.Dense(1, name="wide")(x)
    deep = layers.Dense(4, name="hidden")(x)
    deep = layers.Dense(1, name="deep")(layers.BatchNormalization()(deep))
    y = layers.Add()([wide, deep]) * 2.0
    y = layers.Reshape((1, 1))(layers.Activation("sigmoid")(y))
    assert adapters(adapt(keras.Model(x, y), DOMAINS)) == ["hidden"]


def test_the_last_layers_of_a_nested_model_may_be_the_models():
    rows = keras.Input((6,), name="rows")
    hidden = layers.Dense(4, name="hidden")(rows)
    inner = keras.Model(
        rows, [layers.Dense(1, name="one")(hidden), hidden], name="inner"
    )
    x = keras.Input((6,), name="x")
    logit, hidden = inner(x)
    y = layers.Add()([logit, layers.Dense(1, name="two")(hidden)])
    adapted = adapt(keras.Model(x, y), DOMAINS)
    assert adapters(adapted) == ["hidden"]


def test_a_nested_model_tells_which_of_its_inputs_is_the_last():
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    inside = layers.Dense(3, name="inside")(b)
    inner = keras.Model([a, b], layers.Add()([a, inside]), name="inner")
    x = keras.Input((6,), name="x")
    late, early = layers.Dense(3, name="late"), layers.Dense(4, name="early")
    adapted = adapt(keras.Model(x, inner([late(x), early(x)])), DOMAINS)
    assert adapters(adapted) == ["early"]


def test_a_layer_with_weights_behind_it_is_not_the_last():
    x = keras.Input((6,), name="x")
    y = layers.BatchNormalization()(layers.Dense(4, name="hidden")(x))
    assert adapters(adapt(keras.Model(x, y), DOMAINS)) == ["hidden"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("first", ["first"]),
        (["second", "first"], ["first", "second"]),
        (("logit",), ["logit"]),
        (lambda layer: layer.units == 4, ["second"]),
        (lambda layer: True, ["first", "second", "logit"]),
    ],
)
def test_a_target_says_which(target, expected):
    adapted = adapt(plain(), DOMAINS, target=target)
    assert adapters(adapted) == expected
    assert_same(adapted, plain(), numbers())


def test_a_nested_models_layers_are_named_as_they_are():
    adapted = adapt(nested(), DOMAINS, target=["deeper"])
    assert adapters(adapted) == ["deeper"]


def sequence_model():
    """Dense layers where none can be adapted: on sequences, in wrappers."""
    x = keras.Input((5, 6), name="x")
    y = layers.Dense(4, name="each")(x)
    y = layers.TimeDistributed(layers.Dense(4, name="wrapped"), name="td")(y)
    y = layers.Bidirectional(layers.LSTM(3), name="both")(y)
    y = layers.Dense(4, name="hidden")(y)
    return drawn(keras.Model(x, layers.Dense(1, name="last")(y)))


def test_layers_that_have_no_rank_of_2_are_left_alone():
    model = sequence_model()
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["hidden"]
    rows = np.random.default_rng(0).normal(size=(ROWS, 5, 6))
    assert_same(adapted, model, rows.astype("float32"))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("each", r"'each' .*can't have adapters: it is called on.*rank 3"),
        ("both", r"'both'.*it is no Dense but a Bidirectional"),
        ("wrapped", r"'wrapped'.*inside of a layer whose calls"),
        ("what", r"of the layers \['hidden', 'last'\].*Received: 'what'"),
        (lambda layer: layer.name == "each", r"'each'.*rank 3"),
        (lambda layer: False, r"no Dense layer to adapt"),
        ((), r"no Dense layer to adapt.*Received: target=\(\)"),
    ],
)
def test_a_target_that_cannot_be_is_named(target, said):
    with pytest.raises(ValueError, match=said):
        adapt(sequence_model(), DOMAINS, target=target)


def test_layers_with_other_kernels_are_left_alone_or_named():
    x = keras.Input((6,), name="x")
    y = layers.Dense(4, name="lora")(x)
    y = layers.Dense(4, name="int8")(y)
    y = layers.Dense(4, activation=layers.PReLU(), name="prelu")(y)
    y = layers.Dense(4, name="hidden")(y)
    model = drawn(keras.Model(x, layers.Dense(1)(y)))
    model.get_layer("lora").enable_lora(2)
    model.get_layer("int8").quantize("int8")
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["hidden"]
    for name, said in (
        ("lora", "enable_lora"),
        ("int8", "it is quantized"),
        ("prelu", "its activation is a layer"),
    ):
        with pytest.raises(ValueError, match=f"'{name}'.*{said}"):
            adapt(model, DOMAINS, target=name)


def test_a_subclass_of_dense_is_left_alone():
    @keras.saving.register_keras_serializable("tests")
    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    x = keras.Input((6,), name="x")
    y = layers.Dense(4, name="hidden")(Doubled(5, name="doubled")(x))
    model = drawn(keras.Model(x, layers.Dense(1)(y)))
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["hidden"]
    assert_same(adapted, model, numbers())
    with pytest.raises(ValueError, match="no Dense but a Doubled"):
        adapt(model, DOMAINS, target="doubled")


# --- Models of our own -------------------------------------------------------


@pytest.mark.parametrize("norm", ["none", "partitioned", "batch"])
def test_the_shared_tower_becomes_mloras(norm):
    shared = goldens.ModelGolden("deepfm", "shared", norm=norm).make()
    mlora = goldens.ModelGolden("deepfm", "mlora", {"temperature": 4}, norm)
    adapted = adapt(shared, None, temperature=4)
    assert {variable.path: variable.shape for variable in adapted.weights} == {
        variable.path: variable.shape for variable in mlora.fresh().weights
    }
    inputs = goldens.rows_of()
    np.testing.assert_array_equal(adapted(inputs)["ctr"], shared(inputs)["ctr"])
    target = mlora.fresh()
    move_adapters(adapted)
    initialize_from(target, adapted)
    np.testing.assert_allclose(
        adapted(inputs)["ctr"], target(inputs)["ctr"], rtol=1e-6
    )
    assert domain_names(adapted) == goldens.SCHEMA.domains
    assert list(adapted.input) == list(shared.input)


def test_a_model_of_ours_in_another_is_to_be_adapted_itself():
    inner = goldens.ModelGolden("mlp", "shared").make()
    outer = keras.Model(inner.input, inner(inner.input)["ctr"])
    with pytest.raises(ValueError, match="If a model within it has some"):
        adapt(outer, None)


# --- Errors ------------------------------------------------------------------


def test_an_adapted_model_can_be_adapted_again():
    """Its layers are called with `domain=` by name, as ours may be."""
    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(4, name="hidden")(x)
    out = keras.layers.Dense(2, name="out")(hidden)
    first = adapt(keras.Model(x, out), ["a", "b"], rank=1)
    second = adapt(first, None, target="out", rank=1)
    assert domain_names(second) == ("a", "b")
    assert isinstance(second.get_layer("out"), MLoRADense)
    inputs = {"x": np.ones((2, 3)), "domain": np.array([0, 1])}
    np.testing.assert_array_equal(second(inputs), first(inputs))


def test_a_layers_arguments_may_have_any_names():
    """Among them those that are called by its place in our own code."""

    @keras.saving.register_keras_serializable("tests")
    class Named(keras.layers.Layer):
        def call(self, inputs, layer, domain, name):
            return inputs + layer + domain + name

    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(3, name="hidden")(x)
    summed = Named()(hidden, layer=x, domain=hidden, name=x)
    model = keras.Model(x, keras.layers.Dense(1, name="out")(summed))
    adapted = adapt(model, ["a", "b"], rank=1)
    rows = np.arange(6.0).reshape(2, 3)
    inputs = {"x": rows, "domain": np.array([0, 1])}
    np.testing.assert_array_equal(adapted(inputs), model(rows))
    for name in ("a", "b"):
        np.testing.assert_allclose(
            merge_domain(adapted, name)({"x": rows}), model(rows), rtol=1e-6
        )


def test_domains_twice_are_refused():
    with pytest.raises(ValueError, match=r"already, \('fr', 'it'.*None"):
        adapt(goldens.ModelGolden("mlp", "shared").make(), DOMAINS)
    adapted = adapt(plain(), DOMAINS)
    with pytest.raises(ValueError, match=r"domains already.*domains=None"):
        adapt(adapted, DOMAINS)


def test_no_domains_are_refused():
    with pytest.raises(ValueError, match="'mine' has no domains yet"):
        adapt(plain(), None)


@pytest.mark.parametrize("names", [[], ["fr", "fr"], ["fr", ""], "fr"])
def test_bad_names_are_refused(names):
    with pytest.raises(ValueError, match="domains must"):
        adapt(plain(), names)


def test_an_input_of_the_domains_name_is_refused():
    x = keras.Input((6,), name="domain")
    model = keras.Model(x, layers.Dense(1)(layers.Dense(4)(x)))
    with pytest.raises(ValueError, match="an input 'domain' already"):
        adapt(model, DOMAINS)


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_a_key_of_the_domains_name_is_refused():
    x, z = keras.Input((6,), name="x"), keras.Input((6,), name="z")
    y = layers.Dense(4)(layers.Concatenate()([x, z]))
    model = keras.Model({"domain": x, "z": z}, layers.Dense(1)(y))
    with pytest.raises(ValueError, match="an input 'domain' already"):
        adapt(model, DOMAINS)


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="hidden")

    def call(self, inputs):
        return self.dense(inputs)


class Functional(keras.Model):
    """Functional, with something of its own besides."""


def test_a_subclassed_model_is_refused():
    x = keras.Input((6,), name="x")
    y = layers.Dense(1)(layers.Dense(4)(x))
    for model in (Subclassed(), Functional(x, y), layers.Dense(4), None):
        with pytest.raises(ValueError, match="functional or sequential Keras"):
            adapt(model, DOMAINS)
    with pytest.raises(ValueError, match="with inputs"):
        adapt(keras.Sequential([layers.Dense(4), layers.Dense(1)]), DOMAINS)


def test_layers_that_share_a_weight_are_named():
    # One encoder for an item and for those of a history.
    item, items = keras.Input((6,)), keras.Input((3, 6))
    encoder = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, name="encode")]
    )
    history = layers.TimeDistributed(encoder, name="each")(items)
    both = layers.Concatenate()([encoder(item), layers.Flatten()(history)])
    model = keras.Model([item, items], layers.Dense(1)(layers.Dense(4)(both)))
    with pytest.raises(ValueError, match=r"'encode' .* share|share the weight"):
        adapt(model, DOMAINS)


def test_a_subclassed_model_inside_is_left_alone_or_named():
    x = keras.Input((6,), name="x")
    y = layers.Dense(4, name="outer")(keras.layers.Identity()(x))
    inner = Subclassed(name="inner")
    model = drawn(keras.Model(x, layers.Dense(1)(inner(y))))
    adapted = adapt(model, DOMAINS)
    assert adapters(adapted) == ["outer"]
    assert_same(adapted, model, numbers())
    with pytest.raises(ValueError, match=r"'hidden'.*inside of a layer"):
        adapt(model, DOMAINS, target="hidden")


def test_a_layer_that_cannot_be_made_again_is_named():
    class Odd(layers.Layer):
        def __init__(self, factor):
            super().__init__(name="odd")
            self.factor = factor

        def call(self, x):
            return x * self.factor[0]

    x = keras.Input((6,), name="x")
    y = layers.Dense(4)(Odd((2.0,))(x))
    model = keras.Model(x, layers.Dense(1)(y))
    with pytest.raises(ValueError, match=r"'odd' can't be copied.*Odd"):
        adapt(model, DOMAINS)


def test_a_nested_models_own_domain_is_refused():
    rows = keras.Input((6,), name="domain")
    inner = keras.Model(rows, layers.Dense(4, name="deep")(rows), name="inner")
    x = keras.Input((6,), name="x")
    model = keras.Model(x, layers.Dense(1)(inner(x)))
    with pytest.raises(ValueError, match="'inner' has an input 'domain'"):
        adapt(model, DOMAINS)
