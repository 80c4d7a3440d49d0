import keras
import numpy as np
import pytest

from mlora_tf import fields
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from tests import goldens

# Two tables of one size, to see that they draw numbers of their own.
SCHEMA = Schema(
    features=(
        SparseFeature("item", (1, 2, 3, 4)),
        SparseFeature("shop", ("a", "b", "c", "d")),
    ),
    domain_name="country",
    domains=("fr", "it", "pl"),
)
INPUTS = {
    "item": np.array([0, 4, 2]),
    "shop": np.array([1, 3, 0]),
    "domain": np.array([2, 0, 1]),
}


def make(**changes):
    arguments = {
        "embedding_dim": 3,
        "embedding_initializer": keras.initializers.RandomNormal(stddev=0.5),
        "embedding_l2": 0.0,
        "domain_field": True,
        **changes,
    }
    return fields.make_fields(SCHEMA, **arguments)


def model_of(made, output):
    model = keras.Model(made.inputs, output)
    goldens.randomize(model)
    return model


def table(model, name):
    return goldens.arrays(model)[f"{name}/embeddings"]


@pytest.mark.parametrize("domain_field", [True, False])
def test_embeddings_are_the_tables_rows_in_the_schemas_order(domain_field):
    made = make(domain_field=domain_field)
    names = ["item", "shop", "domain"][: 3 if domain_field else 2]
    assert made.num_ids == {name: SCHEMA.num_ids[name] for name in names}
    assert made.embeddings.shape == (None, len(names), 3)
    model = model_of(made, made.embeddings)
    expected = [table(model, f"embedding.{n}")[INPUTS[n]] for n in names]
    np.testing.assert_array_equal(model(INPUTS), np.stack(expected, axis=1))
    assert len(model.weights) == len(names)


def test_every_input_is_there_even_if_it_is_no_field():
    assert list(make(domain_field=False).inputs) == ["item", "shop", "domain"]
    made = make(domain_field=False)
    assert made.domain is made.ids["domain"]


@pytest.mark.parametrize("domain_field", [True, False])
def test_first_order_is_one_number_per_id(domain_field):
    made = make(domain_field=domain_field)
    model = model_of(made, fields.first_order(made))
    names = ["item", "shop", "domain"][: 3 if domain_field else 2]
    expected = sum(table(model, f"first_order.{n}")[INPUTS[n]] for n in names)
    np.testing.assert_allclose(model(INPUTS), expected, atol=1e-6)
    assert expected.shape == (3, 1)
    assert len(model.weights) == len(names)


def test_first_order_starts_at_zero():
    made = make()
    model = keras.Model(made.inputs, fields.first_order(made))
    assert not model(INPUTS).numpy().any()


def test_flattened_the_fields_are_side_by_side():
    made = make()
    model = model_of(made, [made.embeddings, fields.flatten(made)])
    embeddings, flat = model(INPUTS)
    np.testing.assert_array_equal(flat, np.reshape(embeddings, (3, 9)))


def test_tables_draw_numbers_of_their_own():
    made = make()
    model = keras.Model(made.inputs, made.embeddings)
    item, shop = table(model, "embedding.item"), table(model, "embedding.shop")
    assert item.shape == shop.shape
    assert (item != shop).all()
    assert 0.2 < item.std() < 0.9


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
    assert make(embedding_l2=0.0).l2 == 0
    made = make(embedding_l2=0.0)
    assert model_of(made, fields.first_order(made)).losses == []


def test_logit_is_one_dense_unit():
    x = keras.Input((4,))
    model = keras.Model(x, fields.logit(x))
    goldens.randomize(model)
    kernel, bias = (weight.numpy() for weight in model.weights)
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(model(rows), rows @ kernel + bias, atol=1e-6)
