import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.adapting import adapt
from mlora_tf.domains import add_domain
from mlora_tf.domains import remove_domain
from mlora_tf.domains import rename_domain
from mlora_tf.layers import DomainIds
from mlora_tf.layers import MLoRADense
from mlora_tf.transform import domain_names
from mlora_tf.transform import domain_variables
from mlora_tf.transform import freeze_backbone
from tests import goldens


def model_of(backbone="mlp", tower="mlora", **changes):
    golden = goldens.ModelGolden(backbone, tower)
    return golden.make(**{"hidden_units": (8, 4), **changes})


def ctr(model, inputs):
    return model(inputs)["ctr"].numpy()


def trainable(model):
    return {variable.path for variable in model.trainable_variables}


def same(one, other):
    """Holds two models to the same weights, bit for bit."""
    ones, others = goldens.arrays(one), goldens.arrays(other)
    assert list(ones) == list(others)
    for path, value in ones.items():
        np.testing.assert_array_equal(others[path], value)


# --- Adding a domain ---------------------------------------------------------


def test_an_added_domains_field_is_the_mean_of_the_others():
    model = model_of("deepfm")
    before, after = (
        goldens.arrays(model),
        goldens.arrays(add_domain(model, "de")),
    )
    for name in ("embedding.domain", "first_order.domain"):
        path = f"{name}/embeddings"
        mean = before[path].mean(axis=0)
        np.testing.assert_allclose(after[path][3], mean, atol=1e-6)
        assert after[path].shape[0] == 4


def test_an_added_domains_adapter_can_learn():
    # A is drawn and B is zero: were both zero, neither would have a gradient.
    after = goldens.arrays(add_domain(model_of(), "de"))
    assert (after["hidden.0/lora_kernel_a"][3] != 0).all()
    assert not after["hidden.0/lora_kernel_b"][3].any()
    assert not after["hidden.0/lora_bias"][3].any()


def test_domains_can_be_added_one_after_the_other():
    model = model_of()
    twice = add_domain(add_domain(model, "de"), "es")
    assert twice.get_layer("hidden.0").num_domains == 5
    assert model.get_layer("hidden.0").num_domains == 3


@pytest.mark.parametrize("domain_field", [True, False])
def test_an_adapter_for_all_domains_does_not_grow(domain_field):
    options = {"shared_adapter": True}
    model = model_of(domain_field=domain_field, tower_options=options)
    if not domain_field:
        with pytest.raises(ValueError, match="no per-domain weights"):
            add_domain(model, "de")
        return
    grown = add_domain(model, "de")
    assert grown.get_layer("hidden.0").lora_kernel_a.shape[0] == 1
    assert grown.get_layer("embedding.domain").num_ids == 4


def test_a_model_that_knows_no_domain_gets_none_added():
    # Nothing of it reads its input "domain".
    model = model_of(tower="shared", domain_field=False)
    with pytest.raises(ValueError, match="'mlp_shared' must have one layer"):
        add_domain(model, "de")


def test_a_frozen_model_is_not_half_frozen_with_a_domain_more():
    model = model_of()
    freeze_backbone(model)
    grown = add_domain(model, "de")
    adapters = {variable.path for variable in domain_variables(grown)}
    assert trainable(grown) in (adapters, set(goldens.arrays(grown)))


def grown_weights(model):
    """Weights before and after, and the new slices of those that grew."""
    before, after = (
        goldens.arrays(model),
        goldens.arrays(add_domain(model, "de")),
    )
    new = {}
    for path, value in before.items():
        np.testing.assert_array_equal(after[path][: len(value)], value)
        if after[path].shape != value.shape:
            assert after[path].shape == (4, *value.shape[1:])
            new[path] = after[path][3]
    return before, new


def test_an_added_domains_star_is_the_shared_network():
    model = model_of(tower="star")
    _, new = grown_weights(model)
    grown = {"domain_kernel": 1.0, "domain_bias": 0.0}
    assert set(new) == {"embedding.domain/embeddings"} | {
        f"{layer}/{name}"
        for layer in ("hidden.0", "hidden.1", "logit.deep")
        for name in grown
    }
    for path, value in new.items():
        if "embedding" not in path:
            start = grown[path.rpartition("/")[2]]
            np.testing.assert_array_equal(value, value * 0 + start)


@pytest.mark.parametrize("tower", ["shared", "star"])
def test_an_added_domains_statistics_are_the_mean_of_the_others(tower):
    before, new = grown_weights(model_of(tower=tower, norm="partitioned"))
    for name in ("moving_mean", "moving_variance"):
        path = f"norm.deep/{name}"
        mean = before[path].mean(axis=0)
        np.testing.assert_allclose(new[path], mean, rtol=1e-5)
    # Its scale and shift are the shared ones; it has had no update.
    assert (new["norm.deep/domain_gamma"] == 1).all()
    assert not new["norm.deep/domain_beta"].any()
    assert new["norm.deep/num_updates"] == 0


def test_an_added_domain_has_a_row_in_the_auxiliary_network():
    model = model_of(tower="star", auxiliary=True, domain_field=False)
    before, new = grown_weights(model)
    path = "auxiliary.domain/embeddings"
    np.testing.assert_allclose(new[path], before[path].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("tower", "layers"),
    [
        ("shared_bottom", ["hidden.0", "hidden.1", "logit.deep"]),
        ("mmoe", ["gate.experts", "logit.deep"]),
    ],
)
def test_an_added_domain_of_its_own_network_is_drawn(tower, layers):
    _, new = grown_weights(model_of(tower=tower))
    assert set(new) == {"embedding.domain/embeddings"} | {
        f"{layer}/{name}"
        for layer in layers
        for name in ("domain_kernel", "domain_bias")
    }
    for layer in layers:
        assert (new[f"{layer}/domain_kernel"] != 0).all()
        assert not new[f"{layer}/domain_bias"].any()


@pytest.mark.parametrize(
    ("tower", "layer"),
    [
        ("ple", "extraction.0"),
        ("cross_stitch", "own.network"),
        ("mulann", "loss.domain"),
    ],
)
def test_domains_made_for_one_another_say_which_layer_cannot_grow(tower, layer):
    said = (
        f"'mlp_{tower}' can't have another number of domains: its layer "
        f"'{layer}' is "
        "made for all 3 together"
    )
    with pytest.raises(ValueError, match=said):
        add_domain(model_of(tower=tower), "de")


def test_an_added_domain_has_a_name():
    model = model_of()
    grown = add_domain(add_domain(model, "de"), "es")
    assert domain_names(grown) == ("fr", "it", "pl", "de", "es")
    assert domain_names(model) == ("fr", "it", "pl")


@pytest.mark.parametrize("wrong", ["fr", "pl", "", "mean", None, 3])
def test_a_name_that_is_no_new_one_is_named(wrong):
    model = model_of()
    for change in (
        lambda: add_domain(model, wrong),
        lambda: rename_domain(model, "it", wrong),
    ):
        with pytest.raises(ValueError, match="domain") as error:
            change()
        assert f"Received: {wrong!r}" in str(error.value)


@pytest.mark.parametrize("tower", ["mlora", "star", "shared_bottom", "mmoe"])
@pytest.mark.parametrize("source", [0, 2])
def test_an_added_domain_can_start_as_another(tower, source):
    model = model_of("deepfm", tower, norm="partitioned", auxiliary=True)
    name = ("fr", "it", "pl")[source]
    grown = add_domain(model, "de", init_from=name)
    before, after = goldens.arrays(model), goldens.arrays(grown)
    for path, value in before.items():
        np.testing.assert_array_equal(after[path][: len(value)], value)
        if after[path].shape != value.shape:
            np.testing.assert_array_equal(after[path][3], value[source])
    inputs = goldens.rows_of(source)
    expected = ctr(model, inputs)
    np.testing.assert_allclose(
        ctr(grown, {**inputs, "domain": inputs["domain"] * 0 + 3}),
        expected,
        atol=1e-6,
    )


@pytest.mark.parametrize("tower", ["mlora", "star", "shared_bottom"])
def test_an_added_domain_can_start_as_the_mean_of_the_others(tower):
    model = model_of("deepfm", tower, norm="partitioned")
    freeze_backbone(model)
    before = goldens.arrays(model)
    after = goldens.arrays(add_domain(model, "de", init_from="mean"))
    found = 0
    for path, value in before.items():
        if after[path].shape == value.shape:
            continue
        found += 1
        expected = sum(value[d] for d in range(3)) / 3
        if path == "norm.deep/num_updates":
            expected = 0  # Its own first batch replaces the statistics.
        np.testing.assert_allclose(after[path][3], expected, atol=1e-6)
    assert found >= 8


def test_an_unknown_domain_to_start_from_is_named():
    with pytest.raises(ValueError, match=r"one of.*Received: 'de'"):
        add_domain(model_of(), "es", init_from="de")


def test_a_compiled_models_copy_is_not_compiled():
    model = model_of()
    model.compile("adam", {"ctr": "binary_crossentropy"})
    for copy in (
        add_domain(model, "de"),
        remove_domain(model, "fr"),
        rename_domain(model, "fr", "de"),
    ):
        assert not copy.compiled


def test_a_lonely_domains_shared_adapter_is_not_taken_for_its_own():
    schema = goldens.SCHEMA
    schema = type(schema)(schema.features, "country", ("fr",))
    model = goldens.ModelGolden("mlp", "mlora").fresh(
        schema, hidden_units=(8,), tower_options={"shared_adapter": True}
    )
    grown = add_domain(model, "it")
    assert grown.get_layer("hidden.0").num_domains == 1
    assert grown.get_layer("embedding.domain").num_ids == 2
    own = goldens.ModelGolden("mlp", "mlora").fresh(schema, hidden_units=(8,))
    assert add_domain(own, "it").get_layer("hidden.0").num_domains == 2


def test_the_mean_is_not_a_domain_of_that_name():
    model = two_domains("mean")
    for source in (None, "fr"):
        add_domain(model, "de", source)
    with pytest.raises(ValueError, match=r"a domain 'mean'.*rename_domain"):
        add_domain(model, "de", "mean")
    assert domain_names(rename_domain(model, "mean", "it")) == ("fr", "it")


# --- Removing and renaming ---------------------------------------------------


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("tower", ["mlora", "star", "mmoe"])
def test_a_removed_domain_is_gone_and_no_other(tower, index):
    model = model_of("deepfm", tower, norm="partitioned", auxiliary=True)
    names = ("fr", "it", "pl")
    smaller = remove_domain(model, names[index])
    kept = [d for d in range(3) if d != index]
    assert domain_names(smaller) == tuple(names[d] for d in kept)
    before, after = goldens.arrays(model), goldens.arrays(smaller)
    assert list(before) == list(after)
    sliced = {v.path for v in domain_variables(model)}
    sliced |= {"embedding.domain/embeddings", "first_order.domain/embeddings"}
    for path, value in before.items():
        expected = value[kept] if path in sliced else value
        np.testing.assert_array_equal(after[path], expected)


def test_the_last_domain_stays():
    model = remove_domain(remove_domain(model_of(), "fr"), "pl")
    assert domain_names(model) == ("it",)
    with pytest.raises(ValueError, match=r"must keep one.*Received: 'it'"):
        remove_domain(model, "it")


@pytest.mark.parametrize("change", [remove_domain, rename_domain])
def test_an_unknown_domain_is_not_changed(change):
    names = ("de",) if change is remove_domain else ("de", "es")
    with pytest.raises(ValueError, match=r"one of.*Received: 'de'"):
        change(model_of(), *names)


@pytest.mark.parametrize("tower", ["mlora", "shared", "ple", "mulann"])
def test_a_renamed_domain_is_the_same(tower):
    model = model_of(tower=tower)
    renamed = rename_domain(model, "it", "IT: Italia")
    assert domain_names(renamed) == ("fr", "IT: Italia", "pl")
    assert domain_names(model) == ("fr", "it", "pl")
    same(model, renamed)
    inputs = goldens.rows_of()
    np.testing.assert_array_equal(ctr(renamed, inputs), ctr(model, inputs))


# --- Models of any shape -----------------------------------------------------


def test_domains_change_in_models_within_models():
    inner = model_of("deepfm")
    inputs = {name: keras.Input(**spec) for name, spec in INPUTS.items()}
    outputs = keras.layers.Dense(2, name="top")(inner(inputs)["ctr"])
    model = keras.Model(inputs, outputs)
    rows = goldens.rows_of()
    grown = add_domain(model, "de", init_from="pl")
    assert domain_names(grown) == ("fr", "it", "pl", "de")
    np.testing.assert_allclose(grown(rows), model(rows), atol=1e-6)
    pl = np.where(rows["domain"] == 2, 3, rows["domain"])
    np.testing.assert_allclose(
        grown({**rows, "domain": pl}), model(rows), atol=1e-6
    )
    same(remove_domain(grown, "de"), model)


def two_domains(name):
    x, domain = keras.Input((4,)), keras.Input((), dtype="int32")
    ids = DomainIds(["fr", name])(domain)
    model = keras.Model([x, domain], MLoRADense(3, 2)(x, ids))
    goldens.randomize(model)
    return model


def gelu(x):
    """A user's own, of the name of one of Keras's."""
    return 3.0 * x


def learned():
    """An adapted model with state that is no weight, and a user's function."""
    layers = keras.layers
    words = layers.StringLookup(name="words")
    words.adapt(np.array(["pen", "ink", "ink"]))
    scaled = layers.Normalization(name="scaled")
    inputs = {
        "text": keras.Input((), dtype="string", name="text"),
        "x": keras.Input((2,), name="x"),
    }
    embedded = layers.Embedding(4, 3)(words(inputs["text"]))
    y = layers.Concatenate()([embedded, scaled(inputs["x"])])
    y = layers.Dense(4, activation=gelu, name="hidden")(y)
    tuned = layers.Dense(3, name="tuned")
    y = layers.Dense(1, activation=gelu, name="last")(tuned(y))
    model = adapt(keras.Model(inputs, y), ["fr", "it", "pl"], target="hidden")
    model.get_layer("tuned").enable_lora(2)
    goldens.randomize(model)
    model.get_layer("scaled").adapt(np.array([[1.0, 5.0], [3.0, 6.0]]))
    return model


def test_layers_keep_all_that_they_have_learned():
    model = learned()
    rows = {
        "text": tf.constant(["ink", "pen", "cap", "ink"]),
        "x": tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]),
    }
    domain = tf.constant([1, 2, 1, 2])
    expected = model({**rows, "domain": domain})
    for changed, moved in (
        (add_domain(model, "de"), domain),
        (remove_domain(model, "fr"), domain - 1),
        (rename_domain(model, "it", "IT"), domain),
    ):
        actual = changed({**rows, "domain": moved})
        np.testing.assert_array_equal(actual, expected)
        before, after = goldens.arrays(model), goldens.arrays(changed)
        for path in ("tuned/kernel", "tuned/lora_kernel_a"):
            np.testing.assert_array_equal(after[path], before[path])


INPUTS = {
    name: {"shape": (), "dtype": "int32", "name": name}
    for name in ("item", "shop", "domain")
}


def test_a_layer_that_is_called_twice_is_one_layer_still():
    x, domain = keras.Input((4,)), keras.Input((), dtype="int32")
    layer = MLoRADense(4, 2, name="twice")
    ids = DomainIds(["fr", "it"])(domain)
    model = keras.Model([x, domain], layer(layer(x, ids), ids))
    goldens.randomize(model)
    grown = add_domain(model, "de")
    assert len(grown.weights) == len(model.weights) == 5
    inputs = [np.ones((3, 4), "float32"), np.array([0, 1, 0])]
    np.testing.assert_allclose(grown(inputs), model(inputs), atol=1e-6)


def test_a_model_that_is_not_functional_is_named():
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.ids = DomainIds(["fr", "it"])
            self.dense = MLoRADense(3, 2)

        def call(self, inputs):
            return self.dense(inputs[0], self.ids(inputs[1]))

    model = Own()
    model([np.ones((2, 4)), np.array([0, 1])])
    with pytest.raises(ValueError, match="'own' must be a functional model"):
        add_domain(model, "de")


class Halved(keras.Model):
    def call(self, inputs, training=None, mask=None):
        outputs = super().call(inputs, training=training, mask=mask)
        return {"ctr": outputs["ctr"] / 2}


@pytest.mark.parametrize(
    "change",
    [
        lambda model: add_domain(model, "de"),
        lambda model: remove_domain(model, "it"),
        lambda model: rename_domain(model, "it", "de"),
    ],
)
def test_a_subclass_that_a_copy_would_not_be_is_named(change):
    model = model_of()
    said = r"must be a functional.*\(model\.input, model\.output\).*Halved"
    with pytest.raises(ValueError, match=said):
        change(Halved(model.input, model.output))


@keras.saving.register_keras_serializable(package="test_domains")
class Scaled(keras.Model):
    """Functional, with something of its own besides."""

    def __init__(self, *args, factor=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.factor = factor

    def call(self, inputs, training=None, mask=None):
        outputs = super().call(inputs, training=training, mask=mask)
        return self.factor * outputs

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def domains_on(x, *layers_before):
    """A model of two domains on some layers."""
    domain = keras.Input((), dtype="int32", name="domain")
    y = x
    for layer in layers_before:
        y = layer(y)
    ids = DomainIds(["fr", "it"])(domain)
    model = keras.Model([x, domain], MLoRADense(3, 2, name="own")(y, ids))
    goldens.randomize(model)
    return model


def test_a_subclass_within_the_model_stays_what_it_is():
    x, z = keras.Input((4,)), keras.Input((4,))
    inner = Scaled(z, keras.layers.Dense(4)(z), factor=2.0, name="inner")
    model = domains_on(x, inner)
    grown = add_domain(model, "de")
    assert type(grown.get_layer("inner")) is Scaled
    inputs = [np.ones((2, 4), "float32"), np.array([0, 1])]
    np.testing.assert_array_equal(grown(inputs), model(inputs))


def test_a_compiled_model_within_the_model_needs_no_loss():
    class Unregistered(keras.losses.MeanSquaredError):
        pass

    x, z = keras.Input((4,)), keras.Input((4,))
    inner = keras.Model(z, keras.layers.Dense(4)(z), name="inner")
    inner.compile("sgd", Unregistered())
    model = domains_on(x, inner)
    grown = add_domain(model, "de")
    assert not grown.get_layer("inner").compiled
    inputs = [np.ones((2, 4), "float32"), np.array([0, 1])]
    np.testing.assert_array_equal(grown(inputs), model(inputs))


def test_layers_that_share_a_weight_are_named():
    x = keras.Input((2, 4))
    dense = keras.layers.Dense(4, name="twice")
    repeated = keras.layers.TimeDistributed(dense, name="each")
    model = domains_on(x, repeated, dense, keras.layers.Flatten())
    with pytest.raises(ValueError, match="'each' and 'twice' share the weight"):
        add_domain(model, "de")


@keras.saving.register_keras_serializable(package="test_domains")
class Wrapped(keras.layers.Layer):
    def build(self, x_shape, domain_shape):
        self.inner = MLoRADense(3, 2, name="inner")
        self.inner.build(x_shape, domain_shape)

    def call(self, x, domain):
        return self.inner(x, domain)


def test_a_layer_within_another_layer_is_named():
    x, domain = keras.Input((4,)), keras.Input((), dtype="int32")
    model = keras.Model(
        [x, domain], Wrapped()(x, DomainIds(["fr", "it"])(domain))
    )
    with pytest.raises(ValueError, match="'inner' is within another layer"):
        add_domain(model, "de")


def test_a_saved_models_domains_change_as_in_memory(tmp_path):
    model = model_of("deepfm", "star", norm="partitioned")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    same(
        add_domain(loaded, "de", "fr"),
        add_domain(model, "de", "fr"),
    )
