"""One domain of a model as a model of its own."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mlora_tf.adapting import adapt
from mlora_tf.layers import DomainIds
from mlora_tf.layers import DomainLayer
from mlora_tf.layers import EmbeddingTable
from mlora_tf.layers import MLoRADense
from mlora_tf.layers import PartitionedNormalization
from mlora_tf.layers import SideBySideDense
from mlora_tf.merge import merge_domain
from mlora_tf.models import build_model
from mlora_tf.models import with_domain_output
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from tests import goldens

DOMAINS = goldens.SCHEMA.domains

OUR_OWN = {
    "nfm": {"BiInteraction"},
    "autoint": {"FieldAttention"},
    "pnn": {"InnerProduct", "OuterProduct"},
    "dcn": {"CrossNetwork"},
    "fibinet": {"BilinearInteraction", "SqueezeExcitation"},
    "deepfm": {"FactorizationMachine"},
    "xdeepfm": {"CompressedInteraction"},
    "mmoe": {"SideBySideDense"},
    "ple": {"ExtractionLevel"},
    "cross_stitch": {"CrossStitch", "SideBySideDense"},
}
"""By backbone or tower, the layers that have no stock counterpart."""


def trained(name, steps=2):
    """A golden model after a few steps, so that nothing is at its start."""
    model = goldens.MODELS[name].make()
    optimizer = keras.optimizers.SGD(0.1)
    variables = model.trainable_variables
    for seed in range(steps):
        with tf.GradientTape() as tape:
            outputs = model(goldens.rows_of(rows=24, seed=seed), training=True)
            loss = keras.losses.BinaryCrossentropy()(
                goldens.labels(24, seed), outputs["ctr"]
            )
            loss += sum(model.losses)
        gradients = tape.gradient(loss, [one.value for one in variables])
        optimizer.apply(gradients, variables)
    return model


def logits(model):
    """The model with its logits, which tell more than probabilities."""
    return keras.Model(model.input, model.get_layer("sigmoid.ctr").input)


def features(inputs):
    return {key: value for key, value in inputs.items() if key != "domain"}


def close(actual, expected, rtol=3e-6):
    # Not tighter: oneDNN's products round otherwise than Eigen's.
    np.testing.assert_allclose(actual, expected, atol=3e-6, rtol=rtol)


def same_at(model, merged, domain, rows=goldens.ROWS):
    inputs = goldens.rows_of(domain, rows)
    expected, actual = model(inputs), merged(features(inputs))
    assert list(actual) == list(expected)
    for key, value in expected.items():
        close(actual[key], value)


def kinds(model):
    return collections.Counter(type(layer).__name__ for layer in model.layers)


def names(model):
    return {layer.name for layer in model.layers}


# --- The law -----------------------------------------------------------------


@goldens.every_model(fast=goldens.covering_tower)
def test_merged_a_domain_is_the_model_at_that_domain(name):
    golden, model = goldens.MODELS[name], trained(name)
    allowed = {"CheckedIds", *OUR_OWN.get(golden.backbone, ())}
    for index, domain in enumerate(DOMAINS):
        merged = merge_domain(model, domain)
        same_at(model, merged, index, rows=1)
        inputs = goldens.rows_of(index, rows=40, seed=7)
        close(logits(merged)(features(inputs)), logits(model)(inputs))
        own = {
            type(layer).__name__
            for layer in merged._flatten_layers(include_self=False)
            if not type(layer).__module__.startswith("keras.")
        }
        assert own - {"SideBySideDense"} <= (
            allowed | OUR_OWN.get(golden.tower, set())
        )
        assert list(merged.input) == ["item", "shop"]


# --- What folds into what ----------------------------------------------------


def test_a_low_rank_adapter_folds_into_the_kernel():
    model = trained("mlp-mlora")
    layer, merged = model.get_layer("hidden.1"), merge_domain(model, "it")
    dense = merged.get_layer("hidden.1")
    kernel = layer.kernel + layer.lora_kernel_a[1] @ layer.lora_kernel_b[1]
    close(dense.kernel, kernel)
    close(dense.bias, layer.bias + layer.lora_bias[1])


def test_the_domains_embedding_folds_into_the_first_bias():
    model = trained("mlp-mlora")
    layer, merged = model.get_layer("hidden.0"), merge_domain(model, "it")
    dense = merged.get_layer("hidden.0")
    kernel = layer.kernel + layer.lora_kernel_a[1] @ layer.lora_kernel_b[1]
    row = model.get_layer("embedding.domain").embeddings[1:2]
    close(dense.kernel, kernel[:8])
    close(dense.bias, layer.bias + layer.lora_bias[1] + (row @ kernel[8:])[0])
    assert not any("domain" in name for name in names(merged))


def test_star_with_its_norm_and_auxiliary_network_is_plain_layers():
    model = trained("mlp-star-partitioned-auxiliary")
    merged = merge_domain(model, "pl")
    assert set(kinds(merged)) == {
        *("InputLayer", "CheckedIds", "Embedding", "Concatenate", "Dense"),
        *("Activation", "Add"),
    }
    assert kinds(merged)["Dense"] == 5
    # One concatenation serves the tower and the auxiliary network.
    assert kinds(merged)["Concatenate"] == 1


def test_a_normalization_folds_into_the_kernel_behind_it():
    model = trained("mlp-shared-partitioned")
    merged = merge_domain(model, "fr")
    norm = model.get_layer("norm.deep").specialize(0)
    scale = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
    kernel = model.get_layer("hidden.0").kernel * scale[:, None]
    close(merged.get_layer("hidden.0").kernel, kernel[:8])
    assert "norm.deep" not in names(merged)


def test_a_normalization_that_only_scales_folds_too():
    x, domain, ids = domain_and_x()
    norm = layers.BatchNormalization(center=False, name="norm")
    y = layers.Dense(4, name="read")(norm(x))
    model = keras.Model([x, domain], [y, MLoRADense(4, 3)(x, ids)])
    goldens.randomize(model)
    norm.moving_mean.assign(np.zeros(6))
    norm.moving_variance.assign(np.full(6, 4.0))
    assert "norm" not in names(same_in_list(model))


def test_a_normalization_that_others_read_too_stays_for_them():
    x = keras.Input((6,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    ids = DomainIds(["fr", "it"])(domain)
    norm = PartitionedNormalization(2, name="norm")(x, ids)
    y = layers.Dense(3, name="read")(norm)
    model = keras.Model([x, domain], [y, layers.Softmax()(norm)])
    goldens.randomize(model)
    merged = merge_domain(model, "it")
    assert kinds(merged)["BatchNormalization"] == 1
    rows = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    for actual, expected in zip(
        merged([rows]), model([rows, np.ones(5, "int32")]), strict=True
    ):
        close(actual, expected)


def test_a_layer_normalization_keeps_the_domains_field_as_a_table_of_one():
    merged = merge_domain(trained("mlp-shared-layer-auxiliary"), "it")
    assert merged.get_layer("embedding.domain").embeddings.shape == (1, 4)
    assert isinstance(merged.get_layer("embedding.domain"), layers.Embedding)
    # The auxiliary network, which reads the fields as they are, folds it.
    assert merged.get_layer("auxiliary.0").kernel.shape == (8, 8)


def test_first_order_weights_of_the_domain_fold_into_the_logits_bias():
    model = trained("deepfm-mlora")
    merged = merge_domain(model, "it")
    assert "embedding.domain" in names(merged)
    assert "first_order.domain" not in names(merged)
    weight = model.get_layer("first_order.domain").embeddings[1]
    bias = model.get_layer("logit.deep").bias
    close(merged.get_layer("logit.deep").bias, bias + weight)


def test_a_sum_without_a_bias_gets_a_row_of_its_own():
    x = keras.Input((1,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    ids = DomainIds(["fr", "it"])(domain)
    weight = EmbeddingTable(2, 1, name="weight")(ids)
    inner = layers.Add(name="inner")([x, weight])
    model = keras.Model(
        {"x": x, "domain": domain},
        layers.Add(name="outer")([layers.ReLU()(x), inner]),
    )
    goldens.randomize(model)
    merged = merge_domain(model, "it")
    rows = np.array([[1.0], [-2.0]], "float32")
    close(merged({"x": rows}), model({"x": rows, "domain": np.array([1, 1])}))
    assert merged.get_layer("outer.constant").embeddings.shape == (1, 1)


def test_what_is_added_behind_an_activation_stays_behind_it():
    x, domain, ids = domain_and_x()
    row = layers.Embedding(3, 4)(ids)
    one = layers.Dense(4, activation="relu", name="one")
    two = layers.Dense(4, activation="relu", name="two")
    y = layers.Add()([one(x), row])
    model = keras.Model([x, domain], [y, layers.Add()([one(x), two(x)])])
    goldens.randomize(model)
    same_in_list(model)


def test_a_dense_layer_that_others_read_too_takes_nothing():
    x, domain, ids = domain_and_x()
    row, other = layers.Embedding(3, 4)(ids), layers.Dense(4)(x)
    y = layers.Dense(4, name="read")(x)
    outputs = [layers.Add()([y, row]), y, layers.Add()([y, other])]
    model = keras.Model([x, domain], outputs)
    goldens.randomize(model)
    same_in_list(model)


def test_dense_layers_on_different_rows_do_not_fold_into_one():
    x, domain, ids = domain_and_x()
    z = layers.ReLU()(x)
    y = layers.Add()([layers.Dense(4)(x), layers.Dense(4)(z)])
    model = keras.Model([x, domain], [y, MLoRADense(4, 3)(x, ids)])
    goldens.randomize(model)
    same_in_list(model)


def test_two_dense_layers_that_are_added_fold_into_one():
    merged = merge_domain(trained("mlp-star-parallel"), "fr")
    assert kinds(merged)["Dense"] == 3
    assert kinds(merged)["Add"] == 0


def test_experts_side_by_side_take_in_what_they_read():
    merged = merge_domain(trained("mlp-mmoe-partitioned"), "fr")
    assert merged.get_layer("experts.0").kernel.shape == (8, 3 * 48)
    assert merged.get_layer("gate.experts").kernel.shape == (8, 3)
    assert "norm.deep" not in names(merged)


def test_a_discriminator_is_left_out():
    merged = merge_domain(trained("mlp-mulann"), "fr")
    assert not any("discriminator" in name for name in names(merged))
    assert not any("reversal" in name for name in names(merged))


def test_all_kinds_of_features_merge():
    items = ("pen", "ink", "cap")
    schema = Schema(
        features=(
            SparseFeature("item", items, table="items"),
            SparseFeature("shop", ("mall",), vectors=3),
            DenseFeature("age", mean=30.0, stddev=10.0),
            DenseFeature("price", boundaries=(1.0, 5.0)),
            SequenceFeature(
                "seen", items, 3, pooling="din", target="item", table="items"
            ),
        ),
        domain_name="country",
        domains=("fr", "it"),
    )
    vectors = {"shop": np.array([[1, 2, 3], [4, 5, 6]], "float32")}
    model = build_model(
        schema,
        "deepfm",
        "mlora",
        hidden_units=[8],
        embedding_dim=4,
        vectors=vectors,
    )
    goldens.randomize(model)
    inputs = {
        "item": np.array([1, 2, 3]),
        "shop": np.array([0, 1, 1]),
        "age": np.array([20.0, 35.0, 61.0], "float32"),
        "price": np.array([0.5, 1.0, 9.0], "float32"),
        "seen": np.array([[1, 2, -1], [-1, -1, -1], [3, 3, 1]]),
    }
    for index, domain in enumerate(schema.domains):
        rows = {**inputs, "domain": np.full(3, index)}
        merged = merge_domain(model, domain)
        close(merged(inputs)["ctr"], model(rows)["ctr"])
    # A feature may have any name without a dot.
    dotless = {one.name for one in merged.operations if "." not in one.name}
    assert dotless == set(inputs)
    assert not kinds(merged)["EmbeddingTable"]
    assert not kinds(merged)["PretrainedEmbedding"]
    assert not merged.get_layer("embedding.shop").trainable_weights


def test_normalizations_of_other_axes_and_joins_of_others_are_not_folded():
    x, domain, ids = domain_and_x()
    row = layers.Embedding(3, 6)(ids)
    norm = layers.BatchNormalization(center=False, scale=False)
    y = layers.Dense(4)(norm(layers.Add()([x, row])))
    sequence = layers.RepeatVector(2)(row)
    rows = layers.Concatenate(axis=1)([sequence, layers.RepeatVector(3)(x)])
    rows = layers.BatchNormalization(axis=1)(rows)
    rows = layers.Dense(2)(rows)
    model = keras.Model([x, domain], [y, rows])
    goldens.randomize(model)
    merged = same_in_list(model)
    assert kinds(merged)["BatchNormalization"] == 1


def test_sums_that_are_broadcast_stay_sums():
    x, domain, ids = domain_and_x()
    bias = layers.Embedding(3, 1)(ids)
    y = layers.Add()([bias, layers.Dense(4)(x)])
    model = keras.Model([x, domain], [y, layers.Dense(2)(y)])
    goldens.randomize(model)
    same_in_list(model)


def test_a_normalization_called_as_in_training_stays_so():
    x, domain, ids = domain_and_x()
    norm = layers.BatchNormalization()
    y = MLoRADense(4, 3)(norm(x, training=True), ids)
    model = keras.Model([x, domain], y)
    goldens.randomize(model)
    same_in_list(model)


def test_per_domain_layers_called_as_in_training_are_refused():
    x, domain, ids = domain_and_x()
    y = PartitionedNormalization(3, name="norm")(x, ids, training=True)
    model = keras.Model([x, domain], y)
    with pytest.raises(ValueError, match=r"'norm' can't be .*in training"):
        merge_domain(model, "it")


# --- What it leaves alone ----------------------------------------------------


def test_the_model_stays_as_it_is_and_shares_nothing():
    model = trained("deepfm-mlora", steps=1)
    before, inputs = goldens.arrays(model), goldens.rows_of(1)
    config = model.get_config()
    merged = merge_domain(model, "it")
    expected = merged(features(inputs))["ctr"].numpy()
    after = goldens.arrays(model)
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value)
    assert model.get_config() == config
    goldens.randomize(model, seed=5)
    np.testing.assert_array_equal(merged(features(inputs))["ctr"], expected)


def test_shared_layers_are_the_models_own():
    model = trained("deepfm-mlora", steps=1)
    config = model.get_config()
    one, other = (
        merge_domain(model, domain, share_layers=True)
        for domain in ("fr", "pl")
    )
    for name in ("embedding.item", "fm.pairs", "ids.shop"):
        assert one.get_layer(name) is model.get_layer(name)
        assert other.get_layer(name) is model.get_layer(name)
    folded = {"hidden.0", "hidden.1", "logit.deep", "embedding.domain"}
    for name in folded:
        assert one.get_layer(name) is not other.get_layer(name)
    same_at(model, one, 0)
    same_at(model, other, 2)
    assert model.get_config() == config


def test_it_can_be_saved_and_loaded(tmp_path):
    model = trained("deepfm-star", steps=1)
    merged = merge_domain(model, "it")
    merged.save(tmp_path / "it.keras")
    loaded = keras.models.load_model(tmp_path / "it.keras")
    inputs = features(goldens.rows_of(1))
    np.testing.assert_array_equal(loaded(inputs)["ctr"], merged(inputs)["ctr"])


def test_a_loaded_model_merges(tmp_path):
    model = trained("mlp-star-partitioned-auxiliary", steps=1)
    model.save(tmp_path / "all.keras")
    loaded = keras.models.load_model(tmp_path / "all.keras")
    same_at(model, merge_domain(loaded, "it"), 1)


def test_it_predicts_batches_of_any_size_in_a_graph():
    model = trained("deepfm-mlora-partitioned", steps=1)
    merged = merge_domain(model, "it")
    inputs = goldens.rows_of(1, rows=9)
    predicted = merged.predict(features(inputs), batch_size=4, verbose=0)
    close(predicted["ctr"], model(inputs)["ctr"])
    none = {key: value[:0] for key, value in features(inputs).items()}
    assert merged(none)["ctr"].shape == (0, 1)


def test_a_number_that_is_none_leaves_the_domains_field_alone():
    x = keras.Input((2,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    row = EmbeddingTable(2, 3, name="row")(DomainIds(["fr", "it"])(domain))
    model = keras.Model({"x": x, "domain": domain}, [x, layers.ReLU()(row)])
    goldens.randomize(model)
    rows = np.array([[np.nan, 1.0], [np.inf, 2.0]], "float32")
    outputs = merge_domain(model, "fr")({"x": rows})
    expected = model({"x": rows, "domain": np.zeros(2, "int32")})
    np.testing.assert_array_equal(outputs[0], rows)
    close(outputs[1], expected[1])


def test_half_precision_merges_into_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = goldens.ModelGolden(
            "deepfm", "mlora", {"temperature": 4}
        ).make()
    finally:
        keras.config.set_dtype_policy("float32")
    merged = merge_domain(model, "it")
    assert merged.get_layer("hidden.0").compute_dtype == "bfloat16"
    assert merged.get_layer("hidden.0").kernel.dtype == "float32"
    inputs = goldens.rows_of(1)
    expected, actual = model(inputs)["ctr"], merged(features(inputs))["ctr"]
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(
        keras.ops.cast(actual, "float32"),
        keras.ops.cast(expected, "float32"),
        atol=0.02,
    )


# --- Numbers that are none ---------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("mlp-mlora", "mlp-star", "mlp-star-factorized", "mlp-mmoe"),
        *("mlp-shared_bottom", "mlp-star-partitioned-auxiliary"),
        *("deepfm-mlora", "mlp-ple"),
    ],
)
def test_other_domains_may_be_broken(name):
    model = goldens.MODELS[name].make()
    same_at(model, (sound := merge_domain(model, "it")), 1)
    inputs = features(goldens.rows_of(1))
    expected = sound(inputs)["ctr"].numpy()
    slices = [
        variable
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, DomainLayer)
        for variable in layer.domain_variables
    ]
    tables = ("embedding.domain", "first_order.domain")
    slices += [
        model.get_layer(name).embeddings
        for name in tables
        if name in names(model)
    ]
    for variable in slices:
        broken = variable.numpy()
        broken[[0, 2]] = np.nan
        variable.assign(broken)
    merged = merge_domain(model, "it")
    np.testing.assert_array_equal(merged(inputs)["ctr"], expected)


@pytest.mark.parametrize(
    ("name", "layer", "weight", "said"),
    [
        ("mlp-mlora", "hidden.1", "lora_kernel_a", "slice of 'hidden.1/lora_k"),
        ("mlp-mlora", "hidden.0", "lora_bias", "slice of 'hidden.0/lora_bias'"),
        (
            "mlp-star",
            "logit.deep",
            "domain_kernel",
            "'logit.deep/domain_kernel'",
        ),
        (
            "mlp-star-partitioned",
            "norm.deep",
            "moving_mean",
            "slice of 'norm.deep/moving_mean' must be finite",
        ),
        (
            "deepfm-mlora",
            "embedding.domain",
            "embeddings",
            "what 'embedding.domain' gives.*'embedding.domain/embeddings'",
        ),
    ],
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_weight_of_the_domain_is_named(name, layer, weight, said, bad):
    model = goldens.MODELS[name].make()
    variable = getattr(model.get_layer(layer), weight)
    broken = variable.numpy()
    broken[(1,) + (0,) * (broken.ndim - 1)] = bad
    variable.assign(broken)
    with pytest.raises(ValueError, match=said):
        merge_domain(model, "it")
    merge_domain(model, "fr")


def test_a_shared_weight_that_would_spread_is_named():
    model = goldens.MODELS["mlp-mlora"].make()
    kernel = model.get_layer("hidden.0").kernel
    broken = kernel.numpy()
    broken[-1, 0] = np.nan
    kernel.assign(broken)
    said = "'hidden.0' can't be folded with what it reads.*finite"
    with pytest.raises(ValueError, match=said):
        merge_domain(model, "it")


# --- Graphs that build_model doesn't make ------------------------------------


def domain_and_x(width=6):
    x = keras.Input((width,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    return x, domain, DomainIds(["fr", "it", "pl"])(domain)


def same_in_list(model, index=1, width=6):
    """That a model of `[x, domain]` merges."""
    merged = merge_domain(model, ("fr", "it", "pl")[index])
    x = np.random.default_rng(0).normal(size=(5, width)).astype("float32")
    domain = np.full(5, index, "int32")
    actual, expected = merged([x]), model([x, domain])
    for one, other in zip(
        keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True
    ):
        # Logits of up to 50, of terms that are larger.
        close(one, other, rtol=1e-5)
    return merged


def gelu(x):
    """A user's own, of the name of one of Keras's."""
    return 3.0 * x


def test_a_function_of_ones_own_is_not_taken_for_keras_one():
    x, domain, ids = domain_and_x()
    y = layers.Concatenate()([x, layers.Embedding(3, 4)(ids)])
    y = layers.Dense(4, activation=gelu, name="folded")(y)
    y = layers.Concatenate()([y, layers.Embedding(3, 2)(ids)])
    y = SideBySideDense(2, 3, activation=gelu)(y)
    y = layers.Dense(1, activation=gelu)(layers.Flatten()(y))
    model = keras.Model([x, domain], y)
    goldens.randomize(model)
    merged = same_in_list(model)
    assert merged.get_layer("folded").kernel.shape == (6, 4)


def test_a_dense_layer_whose_activation_has_weights_is_kept_whole():
    x, domain, ids = domain_and_x()
    y = layers.Concatenate()([x, layers.Embedding(3, 4)(ids)])
    dense = layers.Dense(4, activation=layers.PReLU(), name="dense")
    model = keras.Model([x, domain], dense(y))
    goldens.randomize(model)
    merged = same_in_list(model)
    assert merged.get_layer("dense").kernel.shape == (10, 4)
    before = goldens.arrays(model)
    goldens.randomize(merged, seed=3)
    for path, value in goldens.arrays(model).items():
        np.testing.assert_array_equal(value, before[path])


@pytest.mark.parametrize("kind", [layers.Add, layers.Concatenate])
def test_tensors_of_any_width_are_not_folded(kind):
    x = keras.Input((None,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    ids = DomainIds(["fr", "it", "pl"])(domain)
    y = kind()([x, layers.ReLU()(x)])
    row = layers.Embedding(3, 2)(ids)
    model = keras.Model([x, domain], [y, row])
    goldens.randomize(model)
    same_in_list(model)


def test_a_list_of_inputs_stays_one():
    x, domain, ids = domain_and_x()
    model = keras.Model([x, domain], MLoRADense(4, 3)(x, ids))
    goldens.randomize(model)
    merged = same_in_list(model)
    assert isinstance(merged.input, list)
    assert len(merged.input) == 1


@pytest.mark.parametrize("as_a_whole", [True, False])
def test_a_nested_model_is_merged_inside(as_a_whole):
    inner = goldens.MODELS["deepfm-mlora"].make()
    inputs = {
        key: keras.Input((), dtype="int32", name=key) for key in inner.input
    }
    y = inner(inputs)["ctr"]
    if not as_a_whole:
        y = layers.Dense(2, name="hidden.0")(y)
    outer = keras.Model(inputs, y)
    rows = goldens.rows_of(2)
    merged = merge_domain(outer, "pl")
    assert not any(isinstance(one, DomainLayer) for one in merged.layers)
    close(merged(features(rows)), outer(rows))


def test_a_nested_model_without_the_domain_stays_one():
    x, domain, ids = domain_and_x()
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(5)], name="inner")
    model = keras.Model([x, domain], MLoRADense(4, 3)(inner(x), ids))
    goldens.randomize(model)
    assert same_in_list(model).get_layer("inner").count_params() == 35


def test_a_layer_that_is_called_twice_folds_each_time_its_own_way():
    x, domain, ids = domain_and_x(2)
    row = layers.Embedding(3, 2)(ids)
    shared = layers.Dense(4, name="shared")
    plain = shared(layers.Concatenate()([x, x]))
    other = shared(layers.Concatenate()([x, row]))
    model = keras.Model([x, domain], [plain, other, shared(plain)])
    goldens.randomize(model)
    merged = same_in_list(model, width=2)
    assert kinds(merged)["Dense"] == 2
    assert merged.get_layer("shared_1").kernel.shape == (2, 4)


def test_a_shared_dense_layer_with_adapters_merges():
    x, domain, ids = domain_and_x()
    shared = MLoRADense(6, 3, name="shared", activation="tanh")
    model = keras.Model([x, domain], shared(shared(x, ids), domain=ids))
    goldens.randomize(model)
    same_in_list(model)


def test_operations_on_the_domain_are_constants():
    x, domain, ids = domain_and_x()
    row = layers.Embedding(3, 6)(ids)
    y = x * keras.ops.sigmoid(row) + keras.ops.cast(ids[:, None], "float32")
    model = keras.Model([x, domain], [y, keras.ops.concatenate([x, row], 1)])
    goldens.randomize(model)
    merged = same_in_list(model)
    assert "sigmoid" not in " ".join(names(merged))


def test_a_constant_output_is_a_row_for_each_of_the_batch():
    x, domain, ids = domain_and_x()
    row = layers.Embedding(3, 4, name="row")(ids)
    both = layers.Reshape((2, 2))(row)
    model = keras.Model([x, domain], [ids, row, both, layers.ReLU()(x)])
    goldens.randomize(model)
    merged = same_in_list(model)
    assert merged.output[0].dtype == "int32"


def test_constants_of_any_type_are_exact():
    x, domain, ids = domain_and_x()
    large = keras.ops.cast(ids, "int32") + 2**30
    precise = keras.ops.cast(ids, "float64") / 3.0
    model = keras.Model([x, domain], [large, precise, ids > 0, x])
    rows = np.zeros((2, 6), "float32")
    outputs = merge_domain(model, "it")([rows])
    expected = model([rows, np.ones(2, "int32")])
    for actual, wanted in zip(outputs, expected, strict=True):
        assert actual.dtype == wanted.dtype
        np.testing.assert_array_equal(actual, wanted)


def test_what_depends_on_the_whole_batch_is_no_constant():
    x, domain, ids = domain_and_x()
    row = layers.Embedding(3, 6)(ids)
    total = keras.ops.sum(row, axis=0, keepdims=True)
    model = keras.Model([x, domain], x + total)
    goldens.randomize(model)
    same_in_list(model)


def test_a_model_with_the_domain_as_an_output_merges():
    model = with_domain_output(goldens.MODELS["mlp-star"].make())
    same_at(model, merge_domain(model, "pl"), 2)


def test_an_adapted_model_merges_into_the_kinds_of_layers_that_it_came_from():
    x = keras.Input((6,), name="x")
    y = layers.Dense(
        8, "relu", name="first", kernel_constraint="non_neg", use_bias=False
    )(x)
    y = keras.Sequential(
        [keras.Input((8,)), layers.BatchNormalization(), layers.Dense(5)],
        name="inner",
    )(y)
    plain = keras.Model(x, layers.Dense(1, name="last")(y))
    model = adapt(plain, ["fr", "it"], rank=2)
    goldens.randomize(model)
    merged = merge_domain(model, "it")
    rows = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    inputs = {"x": rows, "domain": np.ones(5, "int32")}
    close(merged({"x": rows}), model(inputs))
    assert kinds(merged) == {"InputLayer": 1, "Dense": 3, "Activation": 1}


# --- Errors ------------------------------------------------------------------


def test_an_unknown_domain_is_named():
    model = goldens.MODELS["mlp-mlora"].make()
    with pytest.raises(ValueError, match=r"\['fr', 'it', 'pl'\]. .*'de'"):
        merge_domain(model, "de")


def test_a_model_without_domains_is_refused():
    x = keras.Input((6,))
    with pytest.raises(ValueError, match="must have one layer DomainIds"):
        merge_domain(keras.Model(x, layers.Dense(1)(x)), "fr")


def test_a_subclassed_model_is_refused():
    class Mine(keras.Model):
        pass

    with pytest.raises(ValueError, match=r"functional or sequential.*Mine"):
        merge_domain(Mine(), "fr")


def test_domains_that_are_computed_are_refused():
    x = keras.Input((6,), name="x")
    ids = DomainIds(["fr", "it"])(keras.ops.cast(x[:, 0] > 0, "int32"))
    model = keras.Model(x, MLoRADense(4, 2)(x, ids))
    with pytest.raises(ValueError, match="must have its domains as an input"):
        merge_domain(model, "fr")


def test_another_domain_than_the_rows_is_refused():
    x, domain, ids = domain_and_x()
    other = keras.ops.cast(x[:, 0] > 0, "int32")
    y = MLoRADense(4, 3, name="odd")(x, other)
    model = keras.Model([x, domain], [y, ids])
    said = "'odd' can't be folded for one domain: its rows' domains follow"
    with pytest.raises(ValueError, match=said):
        merge_domain(model, "it")


def test_a_model_of_the_domain_alone_is_refused():
    domain = keras.Input((), dtype="int32", name="domain")
    model = keras.Model(domain, DomainIds(["fr", "it"])(domain))
    with pytest.raises(ValueError, match="as one of several inputs"):
        merge_domain(model, "it")


def test_per_domain_weights_within_a_layer_are_refused():
    @keras.saving.register_keras_serializable("tests")
    class Hiding(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = MLoRADense(4, 3)

        def build(self, x_shape, domain_shape):
            self.inner.build(x_shape, domain_shape)

        def call(self, x, domain):
            return self.inner(x, domain)

    x, domain, ids = domain_and_x()
    model = keras.Model([x, domain], Hiding(name="hiding")(x, ids))
    with pytest.raises(ValueError, match=r"'hiding' can't be folded.*Hiding"):
        merge_domain(model, "it")
