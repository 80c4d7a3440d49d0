import keras
import numpy as np
import pytest
from keras import ops

from mlora_tf.layers import DomainLayer
from mlora_tf.layers import domain_ops


@keras.saving.register_keras_serializable(package="tests")
class Scale(DomainLayer):
    """Scales rows by their domain's weight, and has a state besides."""

    def build(self, inputs_shape, domain_shape):
        self.shared = self.add_weight(name="shared", shape=inputs_shape[-1:])
        self.scale = self.add_domain_weight(
            "scale", inputs_shape[-1:], "ones", regularizer="l2"
        )
        self.seen = self.add_domain_weight("seen", (), trainable=False)

    def call(self, inputs, domain):
        domain = domain_ops.check_ids(domain, self.num_domains)
        scale = domain_ops.domain_rows(self.scale, domain)
        return inputs * scale + self.shared

    def compute_output_shape(self, inputs_shape, domain_shape):
        return inputs_shape

    def specialize(self, domain):
        self._check_specializable(domain)
        return keras.layers.Identity()


def built(num_domains=3):
    layer = Scale(num_domains)
    layer.build((None, 4), (None,))
    return layer


def model():
    x = keras.Input((4,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    return keras.Model([x, domain], Scale(3, name="scale")(x, domain))


def per_domain(layer):
    return [v.name for v in layer.weights if getattr(v, "per_domain", False)]


def test_a_protocol_alone_is_no_layer():
    with pytest.raises(TypeError, match="abstract"):
        DomainLayer(3)


def test_a_domain_weight_has_its_domain_on_axis_0():
    layer = built()
    assert layer.scale.shape == (3, 4)
    assert layer.seen.shape == (3,)
    np.testing.assert_array_equal(layer.scale, np.ones((3, 4)))
    np.testing.assert_array_equal(layer.seen, np.zeros(3))


def test_the_domain_variables_are_the_domain_weights_in_order():
    layer = built()
    assert [v.name for v in layer.domain_variables] == ["scale", "seen"]
    assert layer.domain_variables[0] is layer.scale
    layer.domain_variables.clear()
    assert len(layer.domain_variables) == 2


def test_a_domain_weight_is_a_weight_once():
    layer = built()
    assert len(layer.weights) == 3
    assert [v.name for v in layer.trainable_variables] == ["shared", "scale"]
    assert [v.name for v in layer.non_trainable_variables] == ["seen"]


def test_arguments_of_a_weight_are_passed_on():
    layer = built()
    assert not layer.seen.trainable
    np.testing.assert_allclose(layer.losses, [0.01 * 3 * 4], rtol=1e-6)


def test_domain_weights_alone_are_marked():
    layer = built()
    assert layer.scale.per_domain
    assert not getattr(layer.shared, "per_domain", False)
    assert per_domain(layer) == ["scale", "seen"]


def test_a_clone_is_marked_too():
    clone = keras.models.clone_model(model())
    assert per_domain(clone) == ["scale", "seen"]
    assert len(clone.get_layer("scale").domain_variables) == 2


def test_a_loaded_model_is_marked_too(tmp_path):
    saved = model()
    for weight in saved.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    saved.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert per_domain(loaded) == ["scale", "seen"]
    layer = loaded.get_layer("scale")
    for old, new in zip(saved.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert [v.name for v in layer.domain_variables] == ["scale", "seen"]


def test_weights_made_for_replicas_are_marked_too(two_replicas):
    with two_replicas.scope():
        assert per_domain(built()) == ["scale", "seen"]


@pytest.mark.parametrize("num_domains", [1, 40])
def test_each_slice_is_drawn_as_if_it_were_alone(num_domains):
    layer = Scale(num_domains)
    weight = layer.add_domain_weight("kernel", (96, 64), "glorot_normal")
    for kernel in weight.numpy():
        assert kernel.std() == pytest.approx(np.sqrt(2 / 160), rel=0.05)


def test_a_new_domain_starts_as_initialized():
    layer = built()
    layer.scale.assign(np.arange(12.0).reshape(3, 4))
    before = ops.convert_to_numpy(layer.scale)
    layer.start_domain(2)
    np.testing.assert_array_equal(layer.scale, before)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "3", None, True])
def test_a_number_of_domains_that_cannot_be_is_named(wrong):
    said = rf"num_domains must.*Received: num_domains={wrong!r}"
    with pytest.raises(ValueError, match=said):
        Scale(wrong)


def test_it_specializes_to_its_own_domains_with_weights_alone():
    with pytest.raises(ValueError, match="'idle' has no weights yet"):
        Scale(3, name="idle").specialize(0)
    layer = built()
    layer.specialize(2)
    for wrong in (-1, 3):
        said = rf"has the domains 0 to 2\. Received: domain={wrong}"
        with pytest.raises(ValueError, match=said):
            layer.specialize(wrong)


def test_the_config_holds_the_number_of_domains():
    config = Scale(7, name="seven").get_config()
    assert config["num_domains"] == 7
    assert Scale.from_config(config).get_config() == config
