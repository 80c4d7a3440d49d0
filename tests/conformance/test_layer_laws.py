"""What every layer keeps to, whatever it computes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import layers
from mlora_tf.layers import domain_ops
from mlora_tf.layers import low_rank_forms
from mlora_tf.optimizers import LazyAdam
from tests import goldens

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.5),
    "adam": lambda: keras.optimizers.Adam(0.1),
}

every_layer = pytest.mark.parametrize("name", goldens.LAYERS)
every_domain_layer = pytest.mark.parametrize("name", goldens.DOMAIN_LAYERS)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=1e-6, rtol=1e-6)


def run(layer, inputs, **options):
    """All outputs of a call, a row for each of the batch."""
    return goldens.outputs_of(layer(*inputs, **options))


def learned(layer):
    """The domain variables that train: all but statistics."""
    return [one for one in layer.domain_variables if one.trainable]


def slices(layer):
    """Copies of the domain variables."""
    return [variable.numpy().copy() for variable in layer.domain_variables]


def step(layer, optimizer, inputs):
    """One eager training step."""
    gradients = loss_gradients(layer, inputs, layer.trainable_variables)
    optimizer.apply(gradients, layer.trainable_variables)


def loss_gradients(layer, inputs, variables):
    with tf.GradientTape() as tape:
        outputs = layer(*inputs, training=True)
        # Outputs to the third power, so that a normalized one's weights
        # have gradients too.
        loss = tf.reduce_sum((outputs + 1.0) ** 3)
    return tape.gradient(loss, [variable.value for variable in variables])


def test_every_public_layer_is_among_the_goldens():
    public = {getattr(layers, name) for name in layers.__all__}
    public = {
        member
        for member in public
        if isinstance(member, type)
        and issubclass(member, keras.layers.Layer)
        and member is not layers.DomainLayer
    }
    subclasses, found = [layers.DomainLayer], set()
    while subclasses:
        for subclass in subclasses.pop().__subclasses__():
            subclasses.append(subclass)
            if subclass.__module__.startswith("mlora_tf."):
                found.add(subclass)
    assert found
    assert public | found == {
        golden.layer for golden in goldens.LAYERS.values()
    }


def test_the_goldens_take_every_form(monkeypatch):
    taken = set()

    def record(module, form):
        original = getattr(module, form)

        def recorded(*arguments, **named):
            taken.add(form)
            return original(*arguments, **named)

        monkeypatch.setattr(module, form, recorded)

    forms = {
        low_rank_forms: {"masked", "pure", "gathered", "blocked"},
        domain_ops: {"_parted", "by_parts", "by_blocks", "merged"},
    }
    for module, names in forms.items():
        for form in names:
            record(module, form)
    for golden in goldens.DOMAIN_LAYERS.values():
        layer = golden.make()
        layer(*golden.inputs())
        layer(*golden.inputs(1))
        layer(*golden.inputs(), training=True)
    assert taken == set.union(*forms.values())


@every_layer
def test_the_config_makes_the_same_layer(name):
    golden = goldens.LAYERS[name]
    layer = golden.make()
    config = layer.get_config()
    config = json.loads(json.dumps(config))
    twin = golden.layer.from_config(config)
    assert twin.get_config() == layer.get_config()
    inputs = golden.inputs()
    twin(*inputs)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(run(twin, inputs), run(layer, inputs))


@every_layer
def test_the_config_holds_every_argument(name):
    golden = goldens.LAYERS[name]
    config = golden.fresh().get_config()
    for argument, value in golden.config.items():
        if isinstance(value, int | float | None):
            assert config[argument] == value
        else:
            assert config[argument] is not None


@every_layer
def test_the_output_is_of_the_shape_and_dtype_computed(name):
    golden = goldens.LAYERS[name]
    layer, inputs = golden.make(), golden.inputs()
    outputs = keras.tree.flatten(layer(*inputs))
    specs = layer.compute_output_spec(
        *(keras.KerasTensor(array.shape, array.dtype) for array in inputs)
    )
    for spec, output in zip(keras.tree.flatten(specs), outputs, strict=True):
        assert spec.shape == output.shape
        assert spec.dtype == output.dtype
    for symbolic, output in zip(golden.model().outputs, outputs, strict=True):
        assert symbolic.shape == (None, *output.shape[1:])
        assert symbolic.dtype == output.dtype


@every_layer
def test_a_batch_of_one_row_is_that_row(name):
    golden = goldens.LAYERS[name]
    layer, inputs = golden.make(), golden.inputs()
    together = run(layer, inputs)
    for row in range(3):
        alone = run(layer, [array[row : row + 1] for array in inputs])
        close(alone, together[row : row + 1])


@every_layer
def test_a_batch_of_no_rows_has_no_output(name):
    golden = goldens.LAYERS[name]
    layer, inputs = golden.make(), golden.inputs()
    nothing = keras.tree.flatten(layer(*(array[:0] for array in inputs)))
    outputs = keras.tree.flatten(layer(*inputs))
    for none, output in zip(nothing, outputs, strict=True):
        assert none.shape == (0, *output.shape[1:])


@every_domain_layer
def test_every_domain_variable_has_its_domain_on_axis_0(name):
    golden = goldens.DOMAIN_LAYERS[name]
    layer = golden.make()
    assert layer.domain_variables
    own = {id(variable) for variable in layer.weights}
    for variable in layer.domain_variables:
        assert variable.shape[0] == golden.num_domains
        assert id(variable) in own


@every_domain_layer
def test_domains_differ(name):
    # Without this the laws below would hold of a layer that has no domains.
    golden = goldens.DOMAIN_LAYERS[name]
    layer = golden.make()
    first = layer(*golden.inputs(0)).numpy()
    other = layer(*golden.inputs(golden.num_domains - 1)).numpy()
    assert (np.abs(first - other) > 1e-3).any(axis=1).all()


@every_domain_layer
def test_a_mixed_batch_is_each_domain_alone(name):
    golden = goldens.DOMAIN_LAYERS[name]
    layer, (x, domain) = golden.make(), golden.inputs()
    together = layer(x, domain).numpy()
    assert len(set(domain)) > 2
    for d in set(domain):
        rows = domain == d
        close(layer(x[rows], domain[rows]), together[rows])


@every_domain_layer
def test_specialized_it_is_the_layer_at_that_domain(name):
    golden = goldens.DOMAIN_LAYERS[name]
    layer = golden.make()
    for d in (0, golden.num_domains - 1):
        x, domain = golden.inputs(d)
        special = layer.specialize(d)
        assert special.built
        assert not isinstance(special, layers.DomainLayer)
        close(special(x), layer(x, domain))


@every_domain_layer
def test_it_specializes_to_no_domain_it_does_not_have(name):
    golden = goldens.DOMAIN_LAYERS[name]
    layer = golden.make()
    last = golden.num_domains - 1
    for d in (-1, golden.num_domains):
        with pytest.raises(ValueError, match=f"0 to {last}.*Received.*{d}"):
            layer.specialize(d)


@every_domain_layer
def test_it_specializes_only_with_weights(name):
    with pytest.raises(ValueError, match="has no weights yet"):
        goldens.DOMAIN_LAYERS[name].fresh().specialize(0)


@every_domain_layer
def test_absent_domains_have_no_gradient(name):
    golden = goldens.DOMAIN_LAYERS[name]
    layer = golden.make()
    present = [0, golden.num_domains - 1]
    domain = np.resize(present, goldens.ROWS)
    for gradient in loss_gradients(
        layer, golden.inputs(domain), learned(layer)
    ):
        gradient = tf.convert_to_tensor(gradient).numpy()
        nonzero = np.abs(gradient).reshape(len(gradient), -1).max(axis=1) > 0
        assert set(np.flatnonzero(nonzero)) == set(present)


@every_domain_layer
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_on_one_domain_moves_no_other(name, optimizer):
    golden = goldens.DOMAIN_LAYERS[name]
    layer = golden.make()
    before = slices(layer)
    step(layer, OPTIMIZERS[optimizer](), golden.inputs(1))
    for old, new in zip(before, slices(layer), strict=True):
        others = np.arange(len(old)) != 1
        np.testing.assert_array_equal(old[others], new[others])
        assert (old[1] != new[1]).any()


@every_domain_layer
def test_plain_adam_moves_absent_domains_that_had_gradients_before(name):
    # Its moments outlive the step: this is the optimizer, not the layer.
    golden = goldens.DOMAIN_LAYERS[name]
    layer, adam = golden.make(), keras.optimizers.Adam(0.1)
    step(layer, adam, golden.inputs(0))
    before = [variable.numpy().copy() for variable in learned(layer)]
    step(layer, adam, golden.inputs(1))
    for old, variable in zip(before, learned(layer), strict=True):
        new = variable.numpy()
        assert (old[0] != new[0]).any()
        np.testing.assert_array_equal(old[2:], new[2:])


@every_domain_layer
def test_lazy_adam_moves_no_absent_domain(name):
    golden = goldens.DOMAIN_LAYERS[name]
    layer, lazy = golden.make(), LazyAdam(0.1)
    step(layer, lazy, golden.inputs(0))
    before = slices(layer)
    step(layer, lazy, golden.inputs(1))
    for old, new in zip(before, slices(layer), strict=True):
        others = np.arange(len(old)) != 1
        np.testing.assert_array_equal(old[others], new[others])
        assert (old[1] != new[1]).any()


@every_domain_layer
@pytest.mark.parametrize("wrong", ["negative", "too large"])
def test_a_bad_domain_raises_eagerly_and_in_a_graph(name, wrong):
    golden = goldens.DOMAIN_LAYERS[name]
    layer = golden.make()
    x, domain = golden.inputs()
    domain[3] = -1 if wrong == "negative" else golden.num_domains
    said = rf"\[0, {golden.num_domains}\)"
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        layer(x, domain)
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        tf.function(layer)(tf.constant(x), tf.constant(domain))


@every_domain_layer
def test_a_column_of_domains_is_none(name):
    # (batch, 1) would broadcast.
    golden = goldens.DOMAIN_LAYERS[name]
    layer = golden.make()
    x, domain = golden.inputs()
    for given in (layer, tf.function(layer)):
        with pytest.raises(ValueError, match=r"must be of shape \(batch,\)"):
            given(tf.constant(x), tf.constant(domain[:, None]))


@every_domain_layer
def test_an_id_too_large_for_32_bits_is_no_domain(name):
    golden = goldens.DOMAIN_LAYERS[name]
    x, domain = golden.inputs()
    domain = domain.astype("int64")
    domain[3] += 2**32
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, "):
        golden.make()(x, domain)


@every_domain_layer
def test_num_domains_must_be_a_positive_integer(name):
    golden = goldens.DOMAIN_LAYERS[name]
    for wrong in (0, -2, 2.0, None):
        with pytest.raises(ValueError, match=r"num_domains must.*Received"):
            golden.layer(**{**golden.config, "num_domains": wrong})
