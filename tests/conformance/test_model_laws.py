"""What every backbone with every tower keeps to."""

import dataclasses
import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import BACKBONES
from mlora_tf import TOWERS
from mlora_tf.disabling import disable_adapters
from mlora_tf.domains import add_domain
from mlora_tf.domains import remove_domain
from mlora_tf.layers import PartitionedNormalization
from mlora_tf.optimizers import LazyAdam
from mlora_tf.predictor import Predictor
from mlora_tf.towers import NORMS
from mlora_tf.transform import domain_layers
from mlora_tf.transform import domain_variables
from mlora_tf.transform import freeze_backbone
from mlora_tf.transform import initialize_from
from tests import goldens

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.5),
    "adam": lambda: keras.optimizers.Adam(0.1),
}

every_model = goldens.every_model()
adapted_models = goldens.every_model(lambda golden: golden.has_adapters)
per_domain_models = goldens.every_model(lambda golden: golden.per_domain)
extending_models = goldens.every_model(lambda golden: golden.extends_shared)
# What optimizers do to a tower's weights is the same on each backbone.
per_domain_towers = goldens.every_model(
    lambda golden: golden.per_domain, goldens.covering_tower
)
every_tower = goldens.every_model(fast=goldens.covering_tower)
growing_models = goldens.every_model(
    lambda golden: golden.has_adapters and golden.can_grow
)


class Models(dict):
    """One model of each, made when it is first asked for."""

    def __missing__(self, name):
        self[name] = goldens.MODELS[name].make()
        return self[name]


@pytest.fixture(scope="module")
def models():
    """One model of each: not to be changed."""
    return Models()


def learned(model):
    """The domain variables that train: all but statistics."""
    return [one for one in domain_variables(model) if one.trainable]


def adapters(model):
    """The domain variables that a frozen backbone leaves to train."""
    return {
        variable.path
        for layer in domain_layers(model)
        if not isinstance(layer, PartitionedNormalization)
        for variable in layer.domain_variables
    }


def ctr(model, inputs):
    return model(inputs)["ctr"].numpy()


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=1e-6, rtol=1e-6)


def compiled(model, optimizer, **options):
    loss = {"ctr": "binary_crossentropy"}
    model.compile(optimizer=optimizer, loss=loss, **options)
    return model


def loss_gradients(model, inputs, variables):
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=True)["ctr"]
        loss = keras.losses.BinaryCrossentropy()(
            goldens.labels(len(outputs)), outputs
        )
        loss += sum(model.losses)
    return tape.gradient(loss, [variable.value for variable in variables])


def step(model, optimizer, inputs):
    """One eager training step."""
    variables = model.trainable_variables
    optimizer.apply(loss_gradients(model, inputs, variables), variables)


def test_every_backbone_meets_every_tower_with_and_without_norm():
    met = {
        (golden.backbone, golden.tower, golden.norm)
        for golden in goldens.MODELS.values()
    }
    assert met >= set(itertools.product(BACKBONES, TOWERS, goldens.NORMS))
    assert {norm for (_, _, norm) in met} == set(NORMS)


def test_the_covering_models_meet_each_of_them():
    covering = [goldens.MODELS[name] for name in goldens.COVERING]
    plain = [golden for golden in covering if golden.norm == "none"]
    assert {golden.backbone for golden in plain} == set(BACKBONES)
    normed = [golden for golden in covering if golden.norm == "partitioned"]
    assert {golden.tower for golden in plain} == set(TOWERS)
    assert {golden.tower for golden in normed} == set(goldens.NORMED)
    assert {golden.norm for golden in covering} == set(NORMS)


@every_model
def test_no_layer_bears_a_name_that_a_feature_can_have(name, models):
    # An operation such as `a + b` is a layer too, named "add".
    inputs = set(models[name].input)
    for operation in models[name].operations:
        assert operation.name in inputs or "." in operation.name


@every_model
def test_the_config_makes_the_same_model(name, models):
    text = json.dumps(models[name].get_config())
    twin = type(models[name]).from_config(json.loads(text))
    assert json.dumps(twin.get_config()) == text
    twin.set_weights(models[name].get_weights())
    inputs = goldens.rows_of()
    np.testing.assert_array_equal(ctr(twin, inputs), ctr(models[name], inputs))


@every_model
def test_outputs_are_probabilities_named_ctr(name, models):
    outputs = models[name](goldens.rows_of())
    assert list(outputs) == ["ctr"]
    assert outputs["ctr"].shape == (goldens.ROWS, 1)
    assert outputs["ctr"].dtype == "float32"
    values = outputs["ctr"].numpy()
    assert ((values > 0) & (values < 1)).all()
    assert np.ptp(values) > 1e-3


@every_model
def test_inputs_are_the_features_and_the_domain(name, models):
    assert list(models[name].input) == ["item", "shop", "domain"]
    for tensor in models[name].input.values():
        assert tensor.shape == (None,)
        assert tensor.dtype == "int32"


@every_model
def test_every_weight_matters(name, models):
    # All weights are random: whatever the outputs don't depend on is dead.
    model = models[name]
    variables = model.trainable_variables
    gradients = loss_gradients(model, goldens.rows_of(rows=24), variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient)
        assert np.abs(gradient).max() > 1e-6, variable.path


@every_model
def test_a_batch_of_one_row_is_that_row(name, models):
    inputs = goldens.rows_of()
    together = ctr(models[name], inputs)
    for row in range(3):
        one = {key: column[row : row + 1] for key, column in inputs.items()}
        close(ctr(models[name], one), together[row : row + 1])


@every_model
def test_a_batch_of_no_rows_has_no_output(name, models):
    # In a graph, as served: eagerly Keras takes a (0, n) summand for a bias.
    predictor = Predictor(models[name])
    none = {key: column[:0] for key, column in goldens.rows_of().items()}
    tensors = {key: tf.constant(column) for key, column in none.items()}
    assert predictor._forward(tensors).shape == (0,)


@per_domain_models
def test_domains_differ(name):
    # Not by the embedded domain: by weights of their own.
    model = goldens.MODELS[name].make(domain_field=False)
    first = ctr(model, goldens.rows_of(0))
    assert (np.abs(first - ctr(model, goldens.rows_of(2))) > 1e-4).all()


@every_model
def test_a_mixed_batch_is_each_domain_alone(name, models):
    inputs = goldens.rows_of()
    together = ctr(models[name], inputs)
    for d in range(goldens.NUM_DOMAINS):
        rows = inputs["domain"] == d
        assert 0 < rows.sum() < goldens.ROWS
        alone = {key: column[rows] for key, column in inputs.items()}
        close(ctr(models[name], alone), together[rows])


@per_domain_models
def test_absent_domains_have_no_gradient(name, models):
    variables = learned(models[name])
    assert variables
    for gradient in loss_gradients(
        models[name], goldens.rows_of([0, 2] * 6), variables
    ):
        gradient = tf.convert_to_tensor(gradient).numpy()
        nonzero = np.abs(gradient).reshape(len(gradient), -1).max(axis=1) > 0
        assert list(nonzero) == [True, False, True]


@per_domain_towers
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_on_one_domain_moves_no_other(name, optimizer):
    model = goldens.MODELS[name].make()
    before = [variable.numpy().copy() for variable in domain_variables(model)]
    step(model, OPTIMIZERS[optimizer](), goldens.rows_of(1))
    for old, variable in zip(before, domain_variables(model), strict=True):
        np.testing.assert_array_equal(old[[0, 2]], variable.numpy()[[0, 2]])
        assert (old[1] != variable.numpy()[1]).any()


@per_domain_towers
def test_plain_adam_moves_absent_domains_that_had_gradients_before(name):
    # Its moments outlive the step: this is the optimizer, not the model.
    model, adam = goldens.MODELS[name].make(), keras.optimizers.Adam(0.1)
    step(model, adam, goldens.rows_of(0))
    before = [variable.numpy().copy() for variable in learned(model)]
    step(model, adam, goldens.rows_of(1))
    for old, variable in zip(before, learned(model), strict=True):
        assert (old[0] != variable.numpy()[0]).any()
        np.testing.assert_array_equal(old[2], variable.numpy()[2])


@per_domain_towers
def test_lazy_adam_moves_no_absent_domain(name):
    model, lazy = goldens.MODELS[name].make(), LazyAdam(0.1)
    step(model, lazy, goldens.rows_of(0))
    before = [variable.numpy().copy() for variable in domain_variables(model)]
    step(model, lazy, goldens.rows_of(1))
    for old, variable in zip(before, domain_variables(model), strict=True):
        np.testing.assert_array_equal(old[[0, 2]], variable.numpy()[[0, 2]])
        assert (old[1] != variable.numpy()[1]).any()


def moved_by_fit(model):
    """The paths of the weights that an epoch changes."""
    before = goldens.arrays(model)
    batch = goldens.rows_of(rows=8), {"ctr": goldens.labels(8)}
    model.fit(*batch, batch_size=8, verbose=0)
    after = goldens.arrays(model)
    return {path for path in before if (before[path] != after[path]).any()}


@adapted_models
def test_frozen_only_domain_variables_train(name):
    model = goldens.MODELS[name].make()
    freeze_backbone(model)
    compiled(model, keras.optimizers.Adam(0.1), run_eagerly=True)
    moved = moved_by_fit(model)
    assert moved == adapters(model)
    assert moved == {variable.path for variable in model.trainable_variables}
    assert moved < set(goldens.arrays(model))


def test_compiled_again_a_model_trained_before_is_frozen_too():
    # In two phases: what was compiled for the first must not stay.
    model = goldens.MODELS["mlp-mlora"].make(hidden_units=(4,))
    compiled(model, keras.optimizers.Adam(0.1))
    assert moved_by_fit(model) == set(goldens.arrays(model))
    freeze_backbone(model)
    compiled(model, keras.optimizers.Adam(0.1))
    moved = moved_by_fit(model)
    assert moved == {variable.path for variable in domain_variables(model)}


@goldens.every_model(lambda golden: not golden.has_adapters)
def test_a_model_without_adapters_cannot_be_frozen(name, models):
    trainable = len(models[name].trainable_variables)
    with pytest.raises(ValueError, match="no per-domain weights"):
        freeze_backbone(models[name])
    assert len(models[name].trainable_variables) == trainable


@extending_models
def test_new_adapters_leave_the_shared_model_as_it_is(name):
    golden = goldens.MODELS[name]
    base = golden.base.make()
    adapted = golden.fresh()
    initialize_from(adapted, base)
    for inputs in (goldens.rows_of(), goldens.rows_of(1)):
        if golden.tower == "mlora":
            np.testing.assert_array_equal(
                ctr(adapted, inputs), ctr(base, inputs)
            )
        else:
            # Its products are of fewer rows, which round in another way.
            close(ctr(adapted, inputs), ctr(base, inputs))
    goldens.randomize(adapted)
    inputs = goldens.rows_of()
    assert (ctr(adapted, inputs) != ctr(base, inputs)).any()


@growing_models
def test_an_added_domain_changes_no_other(name, models):
    model = models[name]
    before = goldens.arrays(model)
    grown = add_domain(model, "new")
    after = goldens.arrays(grown)
    assert list(after) == list(before)
    for path, value in before.items():
        old = after[path][: len(value)]
        np.testing.assert_array_equal(old, value)
        np.testing.assert_array_equal(goldens.arrays(model)[path], value)
    inputs = goldens.rows_of()
    close(ctr(grown, inputs), ctr(model, inputs))
    inputs["domain"][3] = goldens.NUM_DOMAINS
    assert np.isfinite(ctr(grown, inputs)).all()


@goldens.every_model(lambda golden: golden.extends_shared and golden.per_domain)
def test_an_added_domain_starts_as_the_shared_model(name, models):
    golden, grown = goldens.MODELS[name], add_domain(models[name], "new")
    domains = (*goldens.SCHEMA.domains, "new")
    schema = dataclasses.replace(goldens.SCHEMA, domains=domains)
    base = golden.base.fresh(schema)
    places = {weight.path: weight for weight in grown.weights}
    for weight in base.weights:
        weight.assign(places[weight.path])
    inputs = goldens.rows_of(goldens.NUM_DOMAINS)
    close(ctr(grown, inputs), ctr(base, inputs))
    for variable in domain_variables(grown):
        assert variable.shape[0] == len(domains)
    # An old domain has left the shared model.
    inputs = goldens.rows_of(0)
    moved = np.abs(ctr(grown, inputs) - ctr(base, inputs)) > 1e-4
    assert moved.mean() > 0.5


@growing_models
def test_a_domain_that_is_removed_leaves_the_others_as_they_were(name, models):
    model = models[name]
    back = remove_domain(add_domain(model, "new"), "new")
    for path, value in goldens.arrays(back).items():
        np.testing.assert_array_equal(value, goldens.arrays(model)[path])
    fewer = remove_domain(model, "it")
    inputs = goldens.rows_of()
    inputs["domain"] = np.where(inputs["domain"] == 1, 2, inputs["domain"])
    expected = ctr(model, inputs)
    inputs["domain"] = inputs["domain"] // 2
    close(ctr(fewer, inputs), expected)


@goldens.every_model(lambda golden: not golden.can_grow)
def test_domains_that_pass_through_one_another_stay_as_many(name, models):
    for change in (
        lambda: add_domain(models[name], "new"),
        lambda: remove_domain(models[name], "it"),
    ):
        with pytest.raises(ValueError, match="is made for all 3 together"):
            change()


@extending_models
def test_without_its_adapters_it_is_the_shared_model(name, models):
    golden, model = goldens.MODELS[name], models[name]
    base = golden.base.fresh()
    initialize_from(base, model, partly=True)
    before = goldens.arrays(model)
    inputs = goldens.rows_of()
    with disable_adapters(model):
        close(ctr(model, inputs), ctr(base, inputs))
    for path, value in goldens.arrays(model).items():
        np.testing.assert_array_equal(value, before[path])
    assert (ctr(model, inputs) != ctr(base, inputs)).any()


@goldens.every_model(lambda golden: not golden.extends_shared)
def test_without_a_shared_model_no_adapter_is_disabled(name, models):
    before = goldens.arrays(models[name])
    with (
        pytest.raises(ValueError, match=r"no adapters|no shared model"),
        disable_adapters(models[name]),
    ):
        pass
    for path, value in goldens.arrays(models[name]).items():
        np.testing.assert_array_equal(value, before[path])


@every_tower
def test_a_forward_pass_in_a_graph_has_the_eager_ones_gradients(name):
    """In a loop of one's own: a function within a tape, or within another."""
    model, inputs = goldens.MODELS[name].make(), goldens.rows_of()
    variables = [one.value for one in model.trainable_variables]
    tensors = {key: tf.constant(column) for key, column in inputs.items()}
    forward = tf.function(lambda batch: model(batch, training=True)["ctr"])

    def gradients(call):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(call(tensors)))
        return tape.gradient(loss, variables)

    def dense(gradient):
        return None if gradient is None else tf.convert_to_tensor(gradient)

    expected = gradients(lambda batch: model(batch, training=True)["ctr"])
    for found in (
        gradients(forward),
        tf.function(lambda: gradients(forward))(),
    ):
        for one, other in zip(found, expected, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                close(dense(one), dense(other))


@every_tower
@pytest.mark.parametrize("wrong", [-1, goldens.NUM_DOMAINS])
def test_a_bad_domain_raises_eagerly_and_in_a_graph(name, wrong, models):
    inputs = goldens.rows_of()
    inputs["domain"][3] = wrong
    said = r"\[0, 3\)"
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        models[name](inputs)
    tensors = {key: tf.constant(column) for key, column in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        tf.function(lambda batch: models[name](batch)["ctr"])(tensors)


@pytest.mark.parametrize(
    "name", ["deepfm-mlora", "mlp-star-partitioned", "mlp-cross_stitch"]
)
def test_a_bad_domain_stops_fit(name):
    model = compiled(goldens.MODELS[name].make(), "sgd")
    inputs = goldens.rows_of(rows=4)
    inputs["domain"][3] = 3
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 3\)"):
        model.fit(inputs, {"ctr": goldens.labels(4)}, verbose=0)


@every_tower
def test_an_unknown_tower_option_is_named(name):
    with pytest.raises(TypeError, match="no_such_option"):
        goldens.MODELS[name].fresh(tower_options={"no_such_option": 1})
