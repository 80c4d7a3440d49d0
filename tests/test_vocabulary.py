import dataclasses

import keras
import numpy as np
import pytest

from mlora_tf.domains import add_domain
from mlora_tf.models import build_model
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from mlora_tf.transform import domain_names
from mlora_tf.transform import unfreeze
from mlora_tf.vocabulary import extend_vocabulary
from mlora_tf.vocabulary import grow_vocabulary
from tests import goldens

DIM = 3
ITEMS, SHOPS = (5, 3, 8), ("a", "b")

SCHEMA = Schema(
    features=(
        SparseFeature("item", ITEMS),
        SparseFeature("shop", SHOPS),
        SequenceFeature("seen", ITEMS, 4, "din", target="item", table="item"),
        DenseFeature("price"),
        DenseFeature("rank", boundaries=(0.1, 1.0)),
        SparseFeature("brand", ("x", "y"), vectors=5),
    ),
    domain_name="country",
    domains=("fr", "it"),
)
LONGER = extend_vocabulary(SCHEMA, "item", [9, 4])
VECTORS = {"brand": np.arange(15, dtype="float32").reshape(3, 5)}
ITEM_TABLES = ("embedding.item", "first_order.item", "first_order.seen")


def model_of(schema=SCHEMA, **options):
    model = build_model(
        schema,
        "deepfm",
        "mlora",
        hidden_units=(4,),
        embedding_dim=DIM,
        vectors=VECTORS,
        **options,
    )
    brand = model.get_layer("embedding.brand")
    goldens.randomize(model)
    brand.set_vectors(VECTORS["brand"])
    return model


def rows_of(rows=8, items=4):
    rng = np.random.default_rng(0)
    return {
        "item": rng.integers(0, items, rows, "int32"),
        "shop": rng.integers(0, 3, rows, "int32"),
        "seen": rng.integers(-1, items, (rows, 4), "int32"),
        "price": rng.normal(size=rows).astype("float32"),
        "rank": rng.normal(size=rows).astype("float32"),
        "brand": rng.integers(0, 3, rows, "int32"),
        "domain": rng.integers(0, 2, rows, "int32"),
    }


# --- Longer vocabularies -----------------------------------------------------


@pytest.mark.parametrize(
    "values", [[9, 5, 4, 9], np.array([9, 4]), (one for one in (9, 4))]
)
def test_new_values_come_behind_the_old_ones(values):
    schema = extend_vocabulary(SCHEMA, "item", values)
    assert schema.feature("item").vocabulary == (5, 3, 8, 9, 4)
    # A feature that shares the table shares its vocabulary.
    assert schema.feature("seen").vocabulary == (5, 3, 8, 9, 4)
    assert schema.feature("shop") == SCHEMA.feature("shop")
    assert SCHEMA.feature("item").vocabulary == ITEMS
    assert extend_vocabulary(SCHEMA, "seen", [9, 4]) == schema


def test_known_values_alone_change_nothing():
    assert extend_vocabulary(SCHEMA, "item", [3, 5]) == SCHEMA
    assert extend_vocabulary(SCHEMA, "shop", []) == SCHEMA


@pytest.mark.parametrize("values", [["9"], [9, "a"], [None], [1.5]])
def test_values_of_another_kind_are_named(values):
    with pytest.raises(SchemaError, match="all integers or all strings"):
        extend_vocabulary(SCHEMA, "item", values)


@pytest.mark.parametrize("values", ["nib", "", b"nib"])
def test_a_single_string_is_no_list_of_values(values):
    with pytest.raises(SchemaError, match=r"of 'shop' must be a list.*nib|''"):
        extend_vocabulary(SCHEMA, "shop", values)


def test_a_feature_that_is_not_there_or_of_numbers_is_named():
    with pytest.raises(SchemaError, match=r"one of.*Received: 'colour'"):
        extend_vocabulary(SCHEMA, "colour", ["red"])
    with pytest.raises(SchemaError, match="'price' is a feature of numbers"):
        extend_vocabulary(SCHEMA, "price", [1])


# --- Larger tables -----------------------------------------------------------


def test_old_rows_are_copied_and_new_ones_drawn():
    model = model_of()
    before = goldens.arrays(model)
    after = goldens.arrays(grow_vocabulary(model, LONGER))
    assert list(before) == list(after)
    for path, value in before.items():
        np.testing.assert_array_equal(after[path][: len(value)], value)
        np.testing.assert_array_equal(goldens.arrays(model)[path], value)
        if path.partition("/")[0] in ITEM_TABLES:
            assert after[path].shape == (6, *value.shape[1:])
        else:
            assert after[path].shape == value.shape
    # N(0, 1e-4), as the table was; a linear weight starts at zero.
    new = after["embedding.item/embeddings"][4:]
    assert (new != 0).all()
    assert np.abs(new).max() < 1e-3
    assert not after["first_order.item/embeddings"][4:].any()


def test_rows_of_old_ids_keep_their_outputs_to_the_bit():
    model = model_of()
    grown = grow_vocabulary(model, LONGER)
    inputs = rows_of()
    expected = model(inputs)["ctr"].numpy()
    np.testing.assert_array_equal(grown(inputs)["ctr"], expected)
    inputs = rows_of(items=6)
    assert max(inputs["item"].max(), inputs["seen"].max()) == 5
    assert np.isfinite(grown(inputs)["ctr"]).all()
    with pytest.raises(Exception, match="ids must be in"):
        model(inputs)


def test_of_tables_that_grew_the_new_rows_train(tmp_path):
    grown = grow_vocabulary(model_of(), LONGER)
    grown.save(tmp_path / "model.keras")
    for model in (grown, keras.models.load_model(tmp_path / "model.keras")):
        for layer in model.layers:
            rows = (4, 6) if layer.name in ITEM_TABLES else None
            assert getattr(layer, "trainable_rows", None) == rows
    unfreeze(grown)
    assert grown.get_layer("embedding.item").trainable_rows is None


def test_rows_of_an_earlier_growth_count_as_old():
    once = grow_vocabulary(model_of(), LONGER)
    twice = grow_vocabulary(once, extend_vocabulary(LONGER, "item", [1]))
    assert twice.get_layer("embedding.item").trainable_rows == (6, 7)
    shops = grow_vocabulary(once, extend_vocabulary(LONGER, "shop", ["c"]))
    assert shops.get_layer("embedding.shop").trainable_rows == (3, 4)
    assert shops.get_layer("embedding.item").trainable_rows is None


def test_vocabularies_that_did_not_grow_give_the_model_again():
    model = model_of()
    again = grow_vocabulary(model, SCHEMA)
    assert again is not model
    for path, value in goldens.arrays(model).items():
        np.testing.assert_array_equal(goldens.arrays(again)[path], value)
    assert again.get_layer("embedding.item").trainable_rows is None


def test_domains_added_after_the_growth_let_all_rows_train():
    grown = add_domain(grow_vocabulary(model_of(), LONGER), "es")
    assert grown.get_layer("embedding.item").num_ids == 6
    assert grown.get_layer("embedding.item").trainable_rows is None


def test_pretrained_vectors_come_with_the_schema():
    model = model_of()
    longer = extend_vocabulary(SCHEMA, "brand", ["z"])
    vectors = np.vstack([VECTORS["brand"], np.full((1, 5), 7.0)])
    grown = grow_vocabulary(model, longer, vectors={"brand": vectors})
    table = goldens.arrays(grown)["embedding.brand/vectors"]
    np.testing.assert_array_equal(table, vectors)
    assert grown.get_layer("first_order.brand").num_ids == 4
    # Of tables that don't grow none is needed.
    grow_vocabulary(model, LONGER)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"brand": np.ones((3, 5))},
        {"brand": np.ones((4, 5))},
        {"brand": np.arange(16.0).reshape(4, 4)},
    ],
)
def test_vectors_that_are_not_the_old_ones_and_more_are_named(wrong):
    longer = extend_vocabulary(SCHEMA, "brand", ["z"])
    said = r"vectors\['brand'\] must be of shape \(4, 5\), the first 3 rows"
    with pytest.raises(ValueError, match=said):
        grow_vocabulary(model_of(), longer, vectors=wrong)


def test_a_model_within_a_model_grows_too():
    inner = model_of()
    inputs = {
        name: keras.Input(value.shape[1:], dtype=value.dtype, name=name)
        for name, value in rows_of().items()
    }
    model = keras.Model(inputs, inner(inputs)["ctr"])
    grown = grow_vocabulary(model, LONGER)
    np.testing.assert_array_equal(grown(rows_of()), model(rows_of()))
    assert np.isfinite(grown(rows_of(items=6))).all()


# --- Errors ------------------------------------------------------------------


def test_a_shorter_vocabulary_is_named():
    grown = grow_vocabulary(model_of(), LONGER)
    with pytest.raises(ValueError, match=r"has 6 ids.*Received: 4 ids"):
        grow_vocabulary(grown, SCHEMA)
    one_less = extend_vocabulary(SCHEMA, "item", [9])
    with pytest.raises(ValueError, match=r"has 6 ids.*Received: 5 ids"):
        grow_vocabulary(grown, one_less)


def test_other_domains_are_named():
    schema = dataclasses.replace(LONGER, domains=("fr", "it", "es"))
    with pytest.raises(ValueError, match=r"use add_domain first.*'es'"):
        grow_vocabulary(model_of(), schema)
    added = add_domain(model_of(), "es")
    assert domain_names(grow_vocabulary(added, schema)) == ("fr", "it", "es")


def test_other_features_are_named():
    schema = dataclasses.replace(LONGER, features=LONGER.features[1:2])
    with pytest.raises(ValueError, match=r"features with ids.*\['shop'\]"):
        grow_vocabulary(model_of(), schema)
    # As many, of which one has another name.
    (item, shop, *others) = LONGER.features
    store = dataclasses.replace(shop, name="store")
    schema = dataclasses.replace(LONGER, features=(item, store, *others))
    with pytest.raises(ValueError, match=r"'shop'.*Received: .*'store'"):
        grow_vocabulary(model_of(), schema)
