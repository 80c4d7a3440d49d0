import keras
import numpy as np
import pytest
from keras import ops

from mlora_tf.disabling import disable_adapters
from mlora_tf.layers import DomainLayer
from mlora_tf.layers import MLoRADense
from mlora_tf.transform import domain_layers
from mlora_tf.transform import initialize_from
from tests import goldens


def model_of(tower="mlora", **changes):
    golden = goldens.ModelGolden("deepfm", tower)
    return golden.make(**{"hidden_units": (8, 4), **changes})


def base_of(model, **changes):
    """The model with a shared tower and the same weights."""
    base = goldens.ModelGolden("deepfm", "shared").fresh(
        **{"hidden_units": (8, 4), **changes}
    )
    initialize_from(base, model, partly=True)
    return base


def ctr(model, inputs):
    return model(inputs)["ctr"].numpy()


def unchanged(model, before):
    for path, value in goldens.arrays(model).items():
        np.testing.assert_array_equal(value, before[path])


@pytest.mark.parametrize("norm", ["none", "partitioned"])
@pytest.mark.parametrize(
    ("tower", "options"),
    [
        ("mlora", {}),
        ("mlora", {"rank": 0}),
        ("mlora", {"shared_adapter": True}),
        ("star", {}),
        ("star", {"mlora": "factorized"}),
        ("star", {"mlora": "parallel"}),
    ],
)
def test_without_adapters_it_is_the_shared_model(tower, options, norm):
    model = model_of(tower, norm=norm, tower_options=options)
    base = base_of(model, norm=norm)
    inputs, before = goldens.rows_of(), goldens.arrays(model)
    own = ctr(model, inputs)
    with disable_adapters(model):
        np.testing.assert_allclose(
            ctr(model, inputs), ctr(base, inputs), atol=1e-6
        )
    unchanged(model, before)
    np.testing.assert_array_equal(ctr(model, inputs), own)
    assert (np.abs(own - ctr(base, inputs)) > 1e-4).any()


@pytest.mark.parametrize("tower", ["mlora", "star"])
def test_some_domains_can_do_without_theirs(tower):
    model = model_of(tower)
    base, inputs = base_of(model), goldens.rows_of()
    own, before = ctr(model, inputs), goldens.arrays(model)
    with disable_adapters(model, ["pl", "fr"]):
        outputs = ctr(model, inputs)
    kept = inputs["domain"] == 1
    np.testing.assert_array_equal(outputs[kept], own[kept])
    expected = ctr(base, inputs)
    np.testing.assert_allclose(outputs[~kept], expected[~kept], atol=1e-6)
    unchanged(model, before)


def test_a_graph_that_is_compiled_follows(two_replicas):
    with two_replicas.scope():
        model = model_of()
        model.compile("sgd", {"ctr": "binary_crossentropy"})
    base, inputs = base_of(model), goldens.rows_of()
    own = model.predict(inputs, verbose=0)["ctr"]
    with disable_adapters(model):
        outputs = model.predict(inputs, verbose=0)["ctr"]
    np.testing.assert_allclose(outputs, ctr(base, inputs), atol=1e-6)
    again = model.predict(inputs, verbose=0)["ctr"]
    np.testing.assert_array_equal(again, own)


def test_an_exception_brings_them_back_too():
    model = model_of()
    before = goldens.arrays(model)
    with pytest.raises(KeyError), disable_adapters(model):
        raise KeyError("x")
    unchanged(model, before)


def test_one_context_can_be_within_another():
    model = model_of()
    before, inputs = goldens.arrays(model), goldens.rows_of()
    with disable_adapters(model, ["it"]):
        once = ctr(model, inputs)
        with disable_adapters(model):
            pass
        np.testing.assert_array_equal(ctr(model, inputs), once)
    unchanged(model, before)


def test_what_other_domains_learn_meanwhile_stays():
    model = model_of()
    bias = model.get_layer("hidden.0").lora_bias
    with disable_adapters(model, ["it"]):
        bias.assign(bias + 1.0)
        expected = bias.numpy()[[0, 2]]
    np.testing.assert_array_equal(bias.numpy()[[0, 2]], expected)
    assert (bias.numpy()[1] != 0).all()


def test_a_model_needs_no_names_for_all_its_domains():
    x, domain = keras.Input((4,)), keras.Input((), dtype="int32")
    model = keras.Model([x, domain], MLoRADense(2, 3)(x, domain))
    goldens.randomize(model)
    inputs = [np.ones((2, 4), "float32"), np.array([0, 2])]
    (layer,) = domain_layers(model)
    with disable_adapters(model):
        expected = inputs[0] @ layer.kernel.numpy() + layer.bias.numpy()
        np.testing.assert_allclose(model(inputs), expected, atol=1e-6)


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tower", "options", "domains", "said"),
    [
        ("shared_bottom", {}, None, "'hidden.0' is each domain's own.*Dense"),
        ("mmoe", {}, None, "'gate.experts' is each domain's own"),
        ("ple", {}, ["it"], "is each domain's own"),
        ("shared", {}, None, "has no adapters"),
        ("mlora", {}, ["it", "de"], "one of.*Received: 'de'"),
        ("mlora", {}, "it", "must be a list.*Received: domains='it'"),
        ("mlora", {}, [], r"must be a list.*Received: domains=\[\]"),
        ("mlora", {"shared_adapter": True}, ["fr"], "'hidden.0' has one for 1"),
        ("mlora", {"shared_adapter": True}, ["it"], "'hidden.0' has one for 1"),
    ],
)
def test_what_cannot_be_disabled_is_named(tower, options, domains, said):
    model = model_of(tower, norm="partitioned", tower_options=options)
    before = goldens.arrays(model)
    with pytest.raises(ValueError, match=said):
        disable_adapters(model, domains).__enter__()
    unchanged(model, before)


@pytest.mark.parametrize(
    ("tower", "options"),
    [("mlora", {}), ("star", {}), ("star", {"mlora": "factorized"})],
)
def test_shared_values_are_of_the_layers_own_weights(tower, options):
    for layer in domain_layers(model_of(tower, tower_options=options)):
        own = {id(weight) for weight in layer.domain_variables}
        assert layer.shared_values
        for weight, _ in layer.shared_values:
            assert id(weight) in own


def test_a_layer_of_ones_own_says_what_is_shared():
    class Scaled(DomainLayer):
        def build(self, inputs_shape, domain_shape):
            self.scale = self.add_domain_weight("scale", (), "ones")

        @property
        def shared_values(self):
            return [(self.scale, 1.0)]

        def call(self, inputs, domain):
            return inputs * ops.take(self.scale, domain)[:, None]

        def specialize(self, domain):
            raise NotImplementedError

    x, domain = keras.Input((2,)), keras.Input((), dtype="int32")
    model = keras.Model([x, domain], Scaled(3)(x, domain))
    (layer,) = domain_layers(model)
    layer.scale.assign([2.0, 3.0, 4.0])
    inputs = [np.ones((2, 2), "float32"), np.array([0, 2])]
    with disable_adapters(model):
        np.testing.assert_array_equal(model(inputs), inputs[0])
    np.testing.assert_array_equal(model(inputs)[:, 0], [2.0, 4.0])
