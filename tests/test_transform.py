import keras
import numpy as np
import pytest

from mlora_tf.layers import MLoRADense
from mlora_tf.transform import domain_index
from mlora_tf.transform import domain_layers
from mlora_tf.transform import domain_names
from mlora_tf.transform import domain_variables
from mlora_tf.transform import freeze_backbone
from mlora_tf.transform import initialize_from
from mlora_tf.transform import unfreeze
from tests import goldens


def model_of(backbone="mlp", tower="mlora", **changes):
    golden = goldens.ModelGolden(backbone, tower)
    return golden.make(**{"hidden_units": (8, 4), **changes})


def two_layers(**config):
    """An adapted layer of any config, and a default one behind it."""
    x = keras.Input((6,), name="x")
    domain = keras.Input((), dtype="int32", name="domain")
    y = MLoRADense(5, 3, name="first", **config)(x, domain)
    y = MLoRADense(4, 3, name="second", rank=1)(y, domain)
    return keras.Model({"x": x, "domain": domain}, y)


def trainable(model):
    return {variable.path for variable in model.trainable_variables}


ADAPTERS = {"lora_kernel_a", "lora_kernel_b", "lora_bias"}


# --- Domain variables --------------------------------------------------------


def test_the_domain_variables_are_those_of_all_domain_layers_in_order():
    model = model_of()
    assert [layer.name for layer in domain_layers(model)] == [
        "hidden.0",
        "hidden.1",
    ]
    assert [variable.path for variable in domain_variables(model)] == [
        f"{layer}/{name}"
        for layer in ("hidden.0", "hidden.1")
        for name in ("lora_kernel_a", "lora_kernel_b", "lora_bias")
    ]


def test_domain_layers_are_found_in_a_model_within_a_model():
    inner = model_of()
    outer = keras.Model(inner.input, inner(inner.input))
    assert set(domain_layers(outer)) == set(domain_layers(inner))
    assert len(list(domain_layers(outer))) == 2
    freeze_backbone(outer)
    assert len(outer.trainable_variables) == 6


def test_a_shared_model_has_no_domain_variables():
    model = model_of(tower="shared")
    assert list(domain_layers(model)) == []
    assert domain_variables(model) == []


# --- Freezing ----------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["mlp", "deepfm"])
def test_frozen_the_domain_variables_alone_are_trainable(backbone):
    model = model_of(backbone)
    freeze_backbone(model)
    assert trainable(model) == {v.path for v in domain_variables(model)}
    freeze_backbone(model)
    assert trainable(model) == {v.path for v in domain_variables(model)}


def test_freezing_keeps_all_values():
    model = model_of()
    before = goldens.arrays(model)
    freeze_backbone(model)
    for path, value in goldens.arrays(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_a_layer_without_adapters_is_frozen_whole():
    model = two_layers(rank=0, use_lora_bias=False)
    freeze_backbone(model)
    assert trainable(model) == {f"second/{name}" for name in ADAPTERS}


def test_a_layer_of_layers_is_frozen_with_weights_of_its_own():
    class Scaled(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(name="scale", shape=())
            self.dense = keras.layers.Dense(6, name="inner")
            self.dense.build(shape)

        def call(self, x):
            return self.scale * self.dense(x)

    inner = two_layers()
    outputs = inner(
        {**inner.input, "x": Scaled(name="scaled")(inner.input["x"])}
    )
    model = keras.Model(inner.input, outputs)
    freeze_backbone(model)
    assert len(model.trainable_variables) == 6
    assert {v.name for v in model.trainable_variables} == ADAPTERS


def test_a_model_that_only_its_embedding_knows_the_domain_of_is_not_frozen():
    model = model_of(tower="shared")
    before = trainable(model)
    with pytest.raises(ValueError, match="'mlp_shared' has no per-domain"):
        freeze_backbone(model)
    assert trainable(model) == before


@pytest.mark.parametrize("tower", ["mlora", "star"])
@pytest.mark.parametrize("norm", ["batch", "layer", "partitioned"])
def test_a_norm_is_frozen_whole_with_its_statistics(tower, norm):
    model = model_of(tower=tower, norm=norm)
    freeze_backbone(model)
    assert not model.get_layer("norm.deep").trainable
    assert not [path for path in trainable(model) if "norm" in path]
    before = goldens.arrays(model)
    model.compile("sgd", {"ctr": "binary_crossentropy"}, run_eagerly=True)
    batch = goldens.rows_of(), {"ctr": goldens.labels()}
    model.fit(*batch, verbose=0)
    after = goldens.arrays(model)
    moved = {path for path in before if (before[path] != after[path]).any()}
    assert moved == trainable(model)
    # In training too it normalizes as in inference.
    inputs = goldens.rows_of(seed=5)
    np.testing.assert_array_equal(
        model(inputs, training=True)["ctr"], model(inputs)["ctr"]
    )


def test_a_norms_weights_per_domain_are_none_to_train_alone():
    model = model_of(tower="shared", norm="partitioned")
    assert len(domain_variables(model)) == 5
    before = trainable(model)
    with pytest.raises(ValueError, match="'mlp_shared' has no per-domain"):
        freeze_backbone(model)
    assert trainable(model) == before


@pytest.mark.parametrize("norm", ["none", "batch", "partitioned"])
def test_unfrozen_all_trains_again_but_for_statistics(norm):
    model = model_of(tower="star", norm=norm)
    before = trainable(model)
    freeze_backbone(model)
    assert trainable(model) < before
    unfreeze(model)
    assert trainable(model) == before


# --- Initializing from another model -----------------------------------------


@pytest.mark.parametrize("backbone", ["mlp", "deepfm"])
def test_weights_find_their_places_by_path(backbone):
    base, adapted = model_of(backbone, "shared"), model_of(backbone, seed=1)
    before = goldens.arrays(adapted)
    initialize_from(adapted, base)
    after, source = goldens.arrays(adapted), goldens.arrays(base)
    for path, value in source.items():
        np.testing.assert_array_equal(after[path], value)
        assert (before[path] != value).any()
    for path in set(after) - set(source):
        assert path.rpartition("/")[2] in ADAPTERS
        np.testing.assert_array_equal(after[path], before[path])


def test_the_source_stays_as_it_is_and_shares_nothing():
    base, adapted = model_of(tower="shared"), model_of(seed=1)
    before = goldens.arrays(base)
    initialize_from(adapted, base)
    goldens.randomize(adapted, seed=2)
    for path, value in goldens.arrays(base).items():
        np.testing.assert_array_equal(value, before[path])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        # Its last weights have no place, or not the shape: none is copied.
        (
            {"hidden_units": (8, 5)},
            r"'mlp_shared' can't initialize 'mlp_mlora': its weight "
            r"'hidden.1/kernel' of shape \(8, 5\).*Received: \(8, 4\)",
        ),
        (
            {"hidden_units": (8, 4, 3)},
            r"its weight 'hidden.2/kernel' of shape \(4, 3\) has no place "
            r"there. Received: None",
        ),
        (
            {"embedding_dim": 3},
            r"its weight 'embedding.item/embeddings' of shape \(8, 3\).*"
            r"Received: \(8, 4\)",
        ),
    ],
)
def test_a_weight_without_a_place_is_named_and_nothing_is_copied(source, said):
    golden = goldens.ModelGolden("mlp", "shared")
    base = golden.make(**{"hidden_units": (8, 4), **source})
    adapted = model_of(seed=1)
    before = goldens.arrays(adapted)
    with pytest.raises(ValueError, match=said):
        initialize_from(adapted, base)
    for path, value in goldens.arrays(adapted).items():
        np.testing.assert_array_equal(value, before[path])


def test_an_adapted_model_cannot_initialize_a_shared_one():
    with pytest.raises(ValueError, match=r"'hidden\.0/lora_kernel_a'"):
        initialize_from(model_of(tower="shared"), model_of())


@pytest.mark.parametrize(
    "tower", ["shared_bottom", "mmoe", "ple", "cross_stitch"]
)
def test_partly_a_model_takes_what_it_has_a_place_for(tower):
    changes = {"norm": "partitioned", "auxiliary": True}
    base = model_of("deepfm", "shared", **changes)
    model = model_of("deepfm", tower, seed=1, **changes)
    before, source = goldens.arrays(model), goldens.arrays(base)
    with pytest.raises(ValueError, match=r"'hidden\.0/kernel'.*None"):
        initialize_from(model, base)
    initialize_from(model, base, partly=True)
    after = goldens.arrays(model)
    copied = set(source) & set(before)
    assert {path.partition("/")[0] for path in copied} == {
        *(f"embedding.{name}" for name in ("item", "shop", "domain")),
        *(f"first_order.{name}" for name in ("item", "shop", "domain")),
        *("norm.deep", "auxiliary.0", "logit.auxiliary"),
    }
    for path, value in after.items():
        expected = source if path in copied else before
        np.testing.assert_array_equal(value, expected[path])


def test_partly_is_no_leave_for_another_shape():
    base = model_of(tower="shared", embedding_dim=3)
    model = model_of(tower="mmoe", seed=1)
    before = goldens.arrays(model)
    said = r"'embedding.item/embeddings' of shape \(8, 3\).*\(8, 4\)"
    with pytest.raises(ValueError, match=said):
        initialize_from(model, base, partly=True)
    for path, value in goldens.arrays(model).items():
        np.testing.assert_array_equal(value, before[path])


# --- The domains' names ------------------------------------------------------


def test_a_model_knows_its_domains_by_name():
    model = model_of(tower="shared")
    assert domain_names(model) == ("fr", "it", "pl")
    assert [domain_index(model, name) for name in ("fr", "pl")] == [0, 2]


def test_they_are_found_in_a_model_within_a_model():
    inner = model_of()
    outer = keras.Model(inner.input, inner(inner.input))
    assert domain_names(outer) == ("fr", "it", "pl")


@pytest.mark.parametrize("wrong", ["de", "", None, 1])
def test_an_unknown_domain_is_named_beside_those_there_are(wrong):
    with pytest.raises(ValueError, match=r"\['fr', 'it', 'pl'\].*Received:"):
        domain_index(model_of(), wrong)


def test_a_model_that_does_not_say_its_domains_is_named():
    with pytest.raises(ValueError, match=r"one layer DomainIds.*Received: 0"):
        domain_names(two_layers())
