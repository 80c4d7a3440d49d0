import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import build_model
from mlora_tf import fields
from mlora_tf import serving
from mlora_tf.domains import add_domain
from mlora_tf.layers import EmbeddingTable
from mlora_tf.predictor import Predictor
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from mlora_tf.transform import freeze_backbone
from mlora_tf.transform import unfreeze
from tests import goldens

DIM = 3
PARTS = ("embedding", "first_order")
ITEMS, SHOPS, BRANDS = (1, 2, 3, 4), ("a", "b", "c", "d"), ("x", "y", "z")

# Two tables of one size, to see that they draw numbers of their own.
SCHEMA = Schema(
    features=(SparseFeature("item", ITEMS), SparseFeature("shop", SHOPS)),
    domain_name="country",
    domains=("fr", "it", "pl"),
)
INPUTS = {
    "item": np.array([0, 4, 2]),
    "shop": np.array([1, 3, 0]),
    "domain": np.array([2, 0, 1]),
}

KINDS = Schema(
    features=(
        SparseFeature("item", ITEMS),
        DenseFeature("price"),
        SparseFeature("shop", SHOPS),
        SequenceFeature("tags", ("u", "v"), 3, pooling="sum"),
        SparseFeature("seller", SHOPS, table="shop"),
        SparseFeature("brand", BRANDS, vectors=DIM),
        SparseFeature("maker", BRANDS, vectors=5),
        DenseFeature("age", mean=30.0, stddev=10.0),
        SequenceFeature("seen", ITEMS, 4, "din", target="item", table="item"),
        DenseFeature("rank", boundaries=(0.1, 1.0, 2.5)),
        SequenceFeature("shops", SHOPS, 2, pooling="max", table="shop"),
        SequenceFeature("makers", BRANDS, 3, table="maker", vectors=5),
        SequenceFeature("bought", ITEMS, 4, "dien", "item", table="item"),
    ),
    domain_name="country",
    domains=("fr", "it", "pl"),
)
VECTORS = {
    "brand": np.random.default_rng(0).normal(size=(4, 3)).astype("float32"),
    "maker": np.random.default_rng(1).normal(size=(4, 5)).astype("float32"),
}


def make(schema=SCHEMA, **changes):
    arguments = {
        "embedding_dim": DIM,
        "embedding_initializer": keras.initializers.RandomNormal(stddev=0.5),
        "embedding_l2": 0.0,
        "domain_field": True,
        "vectors": VECTORS if schema.vectors else None,
        **changes,
    }
    return fields.make_fields(schema, **arguments)


def model_of(made, output):
    model = keras.Model(made.inputs, output)
    goldens.randomize(model)
    return model


def table(model, name):
    return goldens.arrays(model)[f"{name}/embeddings"]


def rows_of(schema, rows=6, seed=0):
    """Inputs of any kinds: the first row's sequences are empty."""
    rng = np.random.default_rng(seed)
    inputs = {"domain": goldens.spread(rows, schema.num_domains)}
    for feature in schema.features:
        if isinstance(feature, DenseFeature):
            column = rng.uniform(-1, 4, rows).astype("float32")
        else:
            shape = (rows, *feature.shape)
            column = rng.integers(1, feature.num_ids, shape, "int32")
        if isinstance(feature, SequenceFeature):
            lengths = np.arange(rows) % (feature.max_length + 1)
            column[np.arange(feature.max_length) >= lengths[:, None]] = -1
        inputs[feature.name] = column
    return inputs


def field(name, inputs, schema=KINDS, change=lambda model: None):
    """One field's embedding and the model that gives it."""
    made = make(schema)
    model = model_of(made, made.embeddings)
    change(model)
    index = list(made.columns).index(name)
    return model(inputs).numpy()[:, index], model


# --- Tables and their order --------------------------------------------------


@pytest.mark.parametrize("domain_field", [True, False])
def test_embeddings_are_the_tables_rows_in_the_schemas_order(domain_field):
    made = make(domain_field=domain_field)
    names = ["item", "shop", "domain"][: 3 if domain_field else 2]
    assert {name: column.num_ids for name, column in made.columns.items()} == {
        name: SCHEMA.num_ids[name] for name in names
    }
    assert made.embeddings.shape == (None, len(names), DIM)
    model = model_of(made, made.embeddings)
    expected = [table(model, f"embedding.{n}")[INPUTS[n]] for n in names]
    np.testing.assert_array_equal(model(INPUTS), np.stack(expected, axis=1))
    assert len(model.weights) == len(names)


def test_every_input_is_there_even_if_it_is_no_field():
    made = make(domain_field=False)
    assert list(made.inputs) == ["item", "shop", "domain"]
    assert list(made.columns) == ["item", "shop"]
    model = model_of(made, made.domain)
    np.testing.assert_array_equal(model(INPUTS), INPUTS["domain"])
    # Checked like any id, wherever it is needed.
    with pytest.raises(tf.errors.InvalidArgumentError, match="domain"):
        model({**INPUTS, "domain": np.array([0, 1, 3])})


def test_the_fields_of_all_kinds_are_in_the_schemas_order():
    made = make(KINDS)
    names = [feature.name for feature in KINDS.features]
    assert list(made.columns) == [*names, "domain"]
    assert list(made.inputs) == [*names, "domain"]
    assert made.embeddings.shape == (None, len(names) + 1, DIM)
    for feature in KINDS.features:
        assert made.inputs[feature.name].shape == (None, *feature.shape)
        assert made.inputs[feature.name].dtype == feature.dtype


def test_flattened_the_fields_are_side_by_side():
    made = make()
    model = model_of(made, [made.embeddings, made.flat])
    embeddings, flat = model(INPUTS)
    np.testing.assert_array_equal(flat, np.reshape(embeddings, (3, 9)))


def test_tables_draw_numbers_of_their_own():
    made = make()
    model = keras.Model(made.inputs, made.embeddings)
    item, shop = table(model, "embedding.item"), table(model, "embedding.shop")
    assert item.shape == shop.shape
    assert (item != shop).all()
    assert 0.2 < item.std() < 0.9


# --- Each kind of feature ----------------------------------------------------


def test_features_of_one_table_share_it():
    inputs = rows_of(KINDS)
    seller, model = field("seller", inputs)
    rows = table(model, "embedding.shop")[inputs["seller"]]
    np.testing.assert_array_equal(seller, rows)
    paths = [path for path in goldens.arrays(model) if "embedding." in path]
    assert [path.partition("/")[0] for path in paths].count(
        "embedding.shop"
    ) == 1
    assert not [path for path in paths if "seller" in path]


def test_pretrained_vectors_of_the_fields_width_are_its_embeddings():
    inputs = rows_of(KINDS)
    made = make(KINDS)
    index = list(made.columns).index("brand")
    model = keras.Model(made.inputs, made.embeddings)
    np.testing.assert_array_equal(
        model(inputs)[:, index], VECTORS["brand"][inputs["brand"]]
    )
    assert "projection.brand/kernel" not in goldens.arrays(model)


def test_pretrained_vectors_of_another_width_are_projected():
    inputs = rows_of(KINDS)
    made = make(KINDS)
    index = list(made.columns).index("maker")
    model = keras.Model(made.inputs, made.embeddings)
    kernel = goldens.arrays(model)["projection.maker/kernel"]
    assert kernel.shape == (5, DIM)
    assert "projection.maker/bias" not in goldens.arrays(model)
    np.testing.assert_allclose(
        model(inputs)[:, index],
        VECTORS["maker"][inputs["maker"]] @ kernel,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("name", "mean", "stddev"), [("price", 0, 1), ("age", 30, 10)]
)
def test_a_number_scales_a_vector(name, mean, stddev):
    inputs = rows_of(KINDS)
    inputs[name] = np.float32([0, -3, 1.5, 30, 47, 100])
    embedding, model = field(name, inputs)
    (vector,) = goldens.arrays(model)[f"embedding.{name}/kernel"]
    scaled = (inputs[name] - mean) / stddev
    expected = scaled[:, None] * vector
    np.testing.assert_allclose(embedding, expected, rtol=1e-5, atol=1e-6)


def test_a_vector_of_a_number_is_drawn_as_tables_are():
    made = make(
        Schema((DenseFeature("price"), DenseFeature("age")), "x", ("a",)),
        embedding_dim=200,
    )
    weights = goldens.arrays(keras.Model(made.inputs, made.embeddings))
    price, age = (weights[f"embedding.{n}/kernel"] for n in ("price", "age"))
    assert price.std() == pytest.approx(0.5, rel=0.2)
    assert (price != age).all()


def test_a_number_at_an_edge_is_in_the_bucket_that_begins_there():
    inputs = rows_of(KINDS)
    inputs["rank"] = np.float32([-9, 0.1, 0.99, 1, 2.5, 99])
    embedding, model = field("rank", inputs)
    rows = table(model, "embedding.rank")
    assert len(rows) == 4
    np.testing.assert_array_equal(embedding, rows[[0, 1, 1, 2, 3, 3]])


@pytest.mark.parametrize("name", ["price", "age", "rank"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_not_finite_raises(name, wrong):
    inputs = rows_of(KINDS)
    inputs[name][2] = wrong
    with pytest.raises(tf.errors.InvalidArgumentError, match=name):
        field(name, inputs)


def expected_pooled(pooling, model, keys, mask):
    """Pooled embeddings from the definition, row by row."""
    expected = []
    for row, valid in zip(keys, mask, strict=True):
        items = row[valid]
        if not len(items):
            expected.append(np.zeros(DIM))
        elif pooling == "sum":
            expected.append(items.sum(axis=0))
        elif pooling == "mean":
            expected.append(items.mean(axis=0))
        else:
            expected.append(items.max(axis=0))
    return np.array(expected)


@pytest.mark.parametrize("pooling", ["sum", "mean", "max"])
def test_a_sequence_is_pooled(pooling):
    feature = SequenceFeature("tags", ITEMS, 3, pooling=pooling)
    schema = dataclasses.replace(KINDS, features=(feature,))
    inputs = rows_of(schema)
    pooled, model = field("tags", inputs, schema)
    ids, mask = inputs["tags"], inputs["tags"] >= 0
    assert sorted({*mask.sum(axis=1)}) == [0, 1, 2, 3]
    keys = table(model, "embedding.tags")[ids]
    expected = expected_pooled(pooling, model, keys, mask)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_a_sequence_of_pretrained_ids_pools_their_projections():
    inputs = rows_of(KINDS)
    pooled, model = field("makers", inputs)
    weights = goldens.arrays(model)
    keys = weights["embedding.maker/vectors"][inputs["makers"]]
    keys = keys @ weights["projection.maker/kernel"]
    mask = inputs["makers"] >= 0
    expected = expected_pooled("mean", model, keys, mask)
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


def unit(w, x):
    """DIN's activation unit: two layers of sigmoids and a score."""
    for i in range(2):
        x = x @ w[f"hidden_{i}/kernel"] + w[f"hidden_{i}/bias"]
        x = 1 / (1 + np.exp(-x))
    return x @ w["score/kernel"] + w["score/bias"]


def test_din_weighs_a_sequence_against_its_target():
    inputs = rows_of(KINDS)
    pooled, model = field("seen", inputs)
    rows = table(model, "embedding.item").astype("float64")
    w = {
        path.removeprefix("pooled.seen/"): value
        for path, value in goldens.arrays(model).items()
    }
    for row in range(6):
        q = rows[inputs["item"][row]]
        expected = np.zeros(DIM)
        for i in inputs["seen"][row]:
            if i >= 0:
                k = rows[i]
                expected += k * unit(w, np.concatenate([q, k, q - k, q * k]))
        np.testing.assert_allclose(pooled[row], expected, atol=1e-5)


def test_dien_reads_a_sequence_with_its_target():
    inputs = rows_of(KINDS)
    pooled, model = field("bought", inputs)
    rows = table(model, "embedding.item")
    layer, ids = model.get_layer("pooled.bought"), inputs["bought"]
    expected = layer(rows[inputs["item"]], rows[np.maximum(ids, 0)], ids >= 0)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)
    assert not pooled[0].any()
    assert pooled[1:].any()


@pytest.mark.parametrize("name", ["tags", "seen", "shops", "bought"])
def test_padding_reads_no_row_of_the_table(name):
    inputs = rows_of(KINDS)  # no id of them is 0

    def change(model):
        for layer in model.layers:
            if isinstance(layer, EmbeddingTable):
                rows = layer.embeddings.numpy()
                rows[0] = 1e3
                layer.embeddings.assign(rows)

    before, after = field(name, inputs)[0], field(name, inputs, change=change)
    np.testing.assert_array_equal(before, after[0])


@pytest.mark.parametrize(("name", "wrong"), [("seen", 5), ("tags", -2)])
def test_an_id_of_a_sequence_that_is_none_raises(name, wrong):
    inputs = rows_of(KINDS)
    inputs[name][2, 0] = wrong
    with pytest.raises(tf.errors.InvalidArgumentError, match=name):
        field(name, inputs)


# --- The linear part ---------------------------------------------------------


@pytest.mark.parametrize("domain_field", [True, False])
def test_first_order_is_one_number_per_id(domain_field):
    made = make(domain_field=domain_field)
    model = model_of(made, fields.first_order(made))
    names = ["item", "shop", "domain"][: 3 if domain_field else 2]
    expected = sum(table(model, f"first_order.{n}")[INPUTS[n]] for n in names)
    np.testing.assert_allclose(model(INPUTS), expected, atol=1e-6)
    assert expected.shape == (3, 1)
    assert len(model.weights) == len(names)


def test_first_order_of_every_kind():
    made = make(KINDS)
    model = model_of(made, fields.first_order(made))
    inputs = rows_of(KINDS)
    inputs["rank"] = np.float32([-9, 0.1, 0.99, 1, 2.5, 99])
    w = goldens.arrays(model)
    # Of each field its own, also where embeddings are of one table.
    assert len(w) == len(KINDS.features) + 1
    total = w["first_order.domain/embeddings"][inputs["domain"], 0]
    total += w["first_order.rank/embeddings"][[0, 1, 1, 2, 3, 3], 0]
    total += inputs["price"] * w["first_order.price/kernel"][0, 0]
    total += (inputs["age"] - 30) / 10 * w["first_order.age/kernel"][0, 0]
    for name in ("item", "shop", "seller", "brand", "maker"):
        total += w[f"first_order.{name}/embeddings"][inputs[name], 0]
    for name in ("tags", "seen", "shops", "makers", "bought"):
        for row in range(6):
            ids = [i for i in inputs[name][row] if i >= 0]
            weights = w[f"first_order.{name}/embeddings"][ids, 0]
            total[row] += weights.mean() if ids else 0.0
    np.testing.assert_allclose(model(inputs)[:, 0], total, atol=1e-5)


@pytest.mark.parametrize("schema", [SCHEMA, KINDS])
def test_first_order_starts_at_zero(schema):
    made = make(schema)
    model = keras.Model(made.inputs, fields.first_order(made))
    assert not model(rows_of(schema)).numpy().any()


# --- Penalties and vectors ---------------------------------------------------


@pytest.mark.parametrize("first_order", [True, False])
def test_the_penalty_is_on_every_whole_table(first_order):
    made = make(embedding_l2=0.5)
    output = made.embeddings
    if first_order:
        output = [output, fields.first_order(made)]
    model = model_of(made, output)
    expected = [0.5 * np.sum(w.numpy() ** 2) for w in model.weights]
    assert len(expected) == (6 if first_order else 3)
    np.testing.assert_allclose(
        sorted(model.losses), sorted(expected), rtol=1e-5
    )
    made = make(embedding_l2=0.0)
    assert model_of(made, fields.first_order(made)).losses == []


def test_the_penalty_is_on_all_that_is_learned_for_ids_and_numbers():
    made = make(KINDS, embedding_l2=0.5)
    model = model_of(made, [made.embeddings, fields.first_order(made)])
    penalized = {
        path: value
        for path, value in goldens.arrays(model).items()
        # Not what pools, nor vectors that never train and their projection.
        if path.startswith(("embedding.", "first_order."))
        and not path.endswith("vectors")
    }
    # Of 6 embeddings: 2 numbers', 3 tables' and the domain's; tags', rank's.
    assert len(penalized) == 7 + len(made.columns)
    expected = [0.5 * np.sum(value**2) for value in penalized.values()]
    np.testing.assert_allclose(
        sorted(model.losses), sorted(expected), rtol=1e-5
    )
    made = make(KINDS)
    assert model_of(made, made.embeddings).losses == []


def test_the_penalty_may_be_on_the_batchs_rows_of_every_table():
    made = make(KINDS, embedding_l2=0.5, embedding_l2_rows="batch")
    model = model_of(made, [made.embeddings, fields.first_order(made)])
    inputs = rows_of(KINDS)
    model(inputs)
    # A number's vector is of every batch.
    numbers = [f"{f}.{n}/kernel" for n in ("price", "age") for f in PARTS]
    weights = goldens.arrays(model)
    of_numbers = [0.5 * np.sum(weights[path] ** 2) for path in numbers]
    np.testing.assert_allclose(
        sorted(model.losses), sorted(of_numbers), rtol=1e-5
    )
    model(inputs, training=True)
    expected = of_numbers
    for name, column in made.columns.items():
        if not column.num_ids:
            continue
        if name == "rank":
            ids = np.digitize(inputs[name], (0.1, 1.0, 2.5))
        else:
            ids = np.maximum(inputs[name], 0)
        for table, of in (("embedding", column.table), ("first_order", name)):
            rows = weights.get(f"{table}.{of}/embeddings")
            if rows is not None:  # but vectors that never train
                expected.append(0.5 * np.sum(rows[np.unique(ids)] ** 2))
    np.testing.assert_allclose(
        sorted(model.losses), sorted(expected), rtol=1e-5
    )


def test_rows_of_no_kind_cannot_be_penalized():
    said = r"one of \('all', 'batch'\). Received: 'table'"
    with pytest.raises(ValueError, match=said):
        build_model(SCHEMA, embedding_l2_rows="table")


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (None, r"declares, \['brand', 'maker'\].*Received: \[\]"),
        ({"brand": VECTORS["brand"]}, r"Received: \['brand'\]"),
        ({**VECTORS, "shop": VECTORS["brand"]}, r"Received: .*'shop'\]"),
        (
            {**VECTORS, "maker": VECTORS["maker"][1:]},
            r"of table 'maker' must be of shape \(4, 5\). Received: \(3, 5\)",
        ),
        (
            {**VECTORS, "maker": VECTORS["maker"] * np.nan},
            "'embedding.maker' must be finite",
        ),
    ],
)
def test_vectors_that_the_schema_does_not_declare_raise(vectors, said):
    with pytest.raises(ValueError, match=said):
        make(KINDS, vectors=vectors)


def test_vectors_where_there_are_none_raise():
    with pytest.raises(ValueError, match=r"declares, \[\].*\['brand'\]"):
        make(SCHEMA, vectors={"brand": VECTORS["brand"]})


# --- Whole models ------------------------------------------------------------


@pytest.mark.parametrize("domain_field", [True, False])
@pytest.mark.parametrize(
    "feature",
    [
        SparseFeature("x", ITEMS),
        SparseFeature("x", BRANDS, vectors=5),
        DenseFeature("x", mean=1.0, stddev=2.0),
        DenseFeature("x", boundaries=(1.0,)),
        SequenceFeature("x", ITEMS, 2),
    ],
)
def test_one_feature_is_enough(feature, domain_field):
    schema = Schema((feature,), "country", ("fr", "it"))
    vectors = {name: VECTORS["maker"] for name in schema.vectors}
    model = build_model(
        schema,
        "deepfm",
        "mlora",
        hidden_units=(4,),
        auxiliary=True,
        norm="partitioned",
        domain_field=domain_field,
        vectors={"x": vectors["x"]} if vectors else None,
    )
    goldens.randomize(model)
    ctr = model(rows_of(schema))["ctr"].numpy()
    assert ctr.shape == (6, 1)
    assert np.ptp(ctr) > 0


def kinds_model(backbone="deepfm", tower="mlora", **changes):
    arguments = {
        "hidden_units": (8, 4),
        "embedding_dim": DIM,
        "vectors": VECTORS,
        **changes,
    }
    return build_model(KINDS, backbone, tower, **arguments)


def batches(rows=48):
    labels = {"ctr": goldens.labels(rows)}
    dataset = tf.data.Dataset.from_tensor_slices((rows_of(KINDS, rows), labels))
    return dataset.batch(16)


def compiled(model):
    loss = {"ctr": "binary_crossentropy"}
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss)
    return model


def test_pretrained_vectors_never_train():
    model = kinds_model()
    freeze_backbone(model)
    unfreeze(model)
    model.compile(
        optimizer=keras.optimizers.Adam(0.05),
        loss={"ctr": "binary_crossentropy"},
        run_eagerly=True,
    )
    before = goldens.arrays(model)
    model.fit(batches(), shuffle=False, verbose=0)
    after = goldens.arrays(model)
    for name, vectors in VECTORS.items():
        path = f"embedding.{name}/vectors"
        np.testing.assert_array_equal(after[path], vectors)
        del before[path]
    unmoved = [p for p in before if (before[p] == after[p]).all()]
    assert unmoved == []
    assert "projection.maker/kernel" in before


def test_a_domain_is_added_to_a_model_of_all_kinds():
    model = kinds_model("deepfm", "star", norm="partitioned")
    goldens.randomize(model)
    inputs = rows_of(KINDS)
    np.testing.assert_allclose(
        add_domain(model, "new")(inputs)["ctr"], model(inputs)["ctr"], atol=1e-6
    )


@pytest.mark.slow
def test_a_model_of_all_kinds_trains_travels_and_serves(tmp_path, two_replicas):
    with two_replicas.scope():
        model = compiled(kinds_model("mlp"))
    before = goldens.arrays(model)
    fit = model.fit(batches(), epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(fit.history["loss"]).all()
    after = goldens.arrays(model)
    unmoved = {path for path in before if (before[path] == after[path]).all()}
    assert unmoved == {f"embedding.{name}/vectors" for name in VECTORS}
    inputs = rows_of(KINDS, 40, seed=1)
    expected = Predictor(model)(inputs)
    assert np.ptp(expected) > 0

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for path, value in goldens.arrays(loaded).items():
        np.testing.assert_array_equal(value, after[path])
    np.testing.assert_array_equal(Predictor(loaded)(inputs), expected)

    version = serving.export(loaded, KINDS, tmp_path / "serving")
    served = tf.saved_model.load(version).signatures["serving_default"]
    answer = served(
        **{name: tf.constant(column) for name, column in inputs.items()}
    )
    np.testing.assert_allclose(answer["ctr"][:, 0], expected, atol=1e-6)
