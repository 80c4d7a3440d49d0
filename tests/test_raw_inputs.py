import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.raw_inputs import RawInputs
from mlora_tf.raw_inputs import padding
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature

SCHEMA = Schema(
    features=(
        SparseFeature("item", (7, -3, 2**40)),
        SparseFeature("shop", ("süß", "b\nc", " b", "")),
        DenseFeature("price", mean=3.0, stddev=2.0),
        SequenceFeature("seen", (7, -3, 2**40), 3, table="item"),
        SequenceFeature("tags", ("x", "y"), 2),
    ),
    domain_name="country",
    domains=("fr", "it", "p l"),
)

RAW = {
    "item": [2**40, 7, -3, 8],
    "shop": ["süß", "b\nc", "b", ""],
    "price": [1.5, -2.0, 0.0, 1e6],
    "seen": [
        [-3, 7, 5, 2**40],
        [7, -1, -1, -1],
        [-1, -1, -1, -1],
        [-1, 7, -1, -1],
    ],
    "tags": [["y"], ["x"], [""], ["z"]],
    "domain": ["it", "fr", "p l", "it"],
}

IDS = {
    "item": [3, 1, 2, 0],
    "shop": [1, 2, 0, 4],
    "price": [1.5, -2.0, 0.0, 1e6],
    # The last three of four; -1 before a value is a value that is unknown.
    "seen": [[1, 0, 3], [1, -1, -1], [-1, -1, -1], [0, 1, -1]],
    "tags": [[2, -1], [1, -1], [-1, -1], [0, -1]],
    "domain": [1, 0, 2, 1],
}


@pytest.fixture(scope="module")
def raw_inputs():
    return RawInputs(SCHEMA)


def tensors(raw, schema=SCHEMA):
    specs = RawInputs(schema).signature
    return {
        name: tf.constant(values, specs[name].dtype)
        for name, values in raw.items()
    }


def check(inputs, expected=IDS):
    assert list(inputs) == list(SCHEMA.input_names)
    for name, values in expected.items():
        array = inputs[name].numpy()
        assert array.dtype == ("float32" if name == "price" else "int32")
        np.testing.assert_array_equal(array, np.float32(values), err_msg=name)


def example(**values):
    """One `tf.Example`; a value of None is left out."""
    result = tf.train.Example()
    for name, items in values.items():
        if items is None:
            continue
        items = items if isinstance(items, list) else [items]
        feature = result.features.feature[name]
        if name == "price":
            feature.float_list.value.extend(items)
        elif name in ("item", "seen"):
            feature.int64_list.value.extend(items)
        else:
            feature.bytes_list.value.extend(item.encode() for item in items)
    return result.SerializeToString()


def row(i, **changes):
    """The i-th of the rows above as a `tf.Example`."""
    values = {name: column[i] for name, column in RAW.items()}
    values["seen"] = [[-3, 7, 5, 2**40], [7], [], [-1, 7]][i]
    values["tags"] = [tag for tag in values["tags"] if tag]
    return example(**{**values, **changes})


def test_raw_values_become_their_ids(raw_inputs):
    check(raw_inputs(tensors(RAW)))


def test_examples_become_the_same_ids(raw_inputs):
    check(raw_inputs.parse(tf.constant([row(i) for i in range(4)])))


def test_a_graph_takes_any_number_of_rows_and_any_length(raw_inputs):
    signature = raw_inputs.signature
    call = tf.function(
        raw_inputs, input_signature=[signature], autograph=False
    ).get_concrete_function()
    for rows in (0, 1, 4):
        for length in (0, 1, 2, 6):
            raw = tensors({k: v[:1] * rows for k, v in RAW.items()})
            raw["seen"] = tf.fill([rows, length], tf.constant(7, tf.int64))
            raw["tags"] = tf.fill([rows, length], "x")
            for name, spec in signature.items():
                if name not in ("seen", "tags"):
                    raw[name] = tf.reshape(raw[name], [rows])
                    raw[name] = tf.cast(raw[name], spec.dtype)
            inputs = call(raw)
            assert inputs["seen"].shape == (rows, 3)
            assert inputs["tags"].shape == (rows, 2)
            places = np.arange(3) < length
            expected = np.broadcast_to(np.where(places, 1, -1), (rows, 3))
            np.testing.assert_array_equal(inputs["seen"], expected)


def test_the_signature_has_the_schemas_kinds(raw_inputs):
    dtypes = {
        k: (v.dtype, v.shape.rank) for k, v in raw_inputs.signature.items()
    }
    assert dtypes == {
        "item": (tf.int64, 1),
        "shop": (tf.string, 1),
        "price": (tf.float32, 1),
        "seen": (tf.int64, 2),
        "tags": (tf.string, 2),
        "domain": (tf.string, 1),
    }


def test_padding_after_the_last_value_of_an_example_is_none(raw_inputs):
    changes = [
        {"seen": RAW["seen"][i], "tags": [*RAW["tags"][i], ""]}
        for i in range(4)
    ]
    examples = [row(i, **change) for i, change in enumerate(changes)]
    check(raw_inputs.parse(tf.constant(examples)))


@pytest.mark.parametrize("wrong", ["FR", "", "nowhere"])
def test_an_unknown_domain_raises(wrong, raw_inputs):
    raw = {**RAW, "domain": ["fr", "it", wrong, "fr"]}
    match = rf"(?s)domain must be one of \['fr', 'it', 'p l'\].*'{wrong}'"
    with pytest.raises(tf.errors.InvalidArgumentError, match=match):
        raw_inputs(tensors(raw))
    with pytest.raises(tf.errors.InvalidArgumentError, match=match):
        raw_inputs.parse(tf.constant([row(0, domain=wrong)]))


def test_what_an_example_lacks_is_unknown_or_empty(raw_inputs):
    lacking = row(0, item=None, shop=None, seen=None, tags=None)
    inputs = raw_inputs.parse(tf.constant([lacking]))
    expected = {
        "item": [0],
        "shop": [0],
        "seen": [[-1] * 3],
        "tags": [[-1] * 2],
    }
    check(inputs, expected)


@pytest.mark.parametrize("name", ["price", "domain"])
def test_an_example_must_have_numbers_and_a_domain(name, raw_inputs):
    with pytest.raises(tf.errors.InvalidArgumentError, match=name):
        raw_inputs.parse(tf.constant([row(0, **{name: None})]))


def test_padding_is_no_value_of_the_vocabulary():
    assert padding(SequenceFeature("a", ("x",), 2)) == ""
    assert padding(SequenceFeature("a", ("x", ""), 2)) == "\0"
    assert padding(SequenceFeature("a", (3, 0), 2)) == -1
    assert padding(SequenceFeature("a", (3, -1), 2)) == -(2**63)
    with pytest.raises(ValueError, match="'a' has no value left to pad"):
        padding(SequenceFeature("a", ("", "\0"), 2))


def test_a_missing_sparse_value_is_unknown_though_empty_text_is_known():
    # In "shop" the empty text is a value, with an id of its own.
    schema = Schema((SparseFeature("shop", ("", "x")),), "country", ("fr",))
    inputs = RawInputs(schema).parse(
        tf.constant([example(domain="fr"), example(domain="fr", shop="")])
    )
    np.testing.assert_array_equal(inputs["shop"], [0, 1])


def test_padding_that_is_a_known_value_is_another():
    schema = Schema((SequenceFeature("seen", (5, -1), 2),), "country", ("fr",))
    raw = {"seen": [[5, -1], [-1, -(2**63)]], "domain": ["fr", "fr"]}
    inputs = RawInputs(schema)(tensors(raw, schema))
    np.testing.assert_array_equal(inputs["seen"], [[1, 2], [2, -1]])


def test_a_table_that_features_share_is_looked_up_once(raw_inputs):
    assert set(raw_inputs._tables) == {"item", "shop", "tags", "domain"}


def test_of_many_domains_the_message_names_some():
    schema = Schema(
        (SparseFeature("item", (1,)),),
        "country",
        tuple(f"d{i}" for i in range(20)),
    )
    raw = tensors({"item": [1], "domain": ["x"]}, schema)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        RawInputs(schema)(raw)
    assert "'d15'] and others" in str(error.value)
    assert "d16" not in str(error.value)


FILLED = Schema(
    features=(
        SparseFeature("item", (7,)),
        DenseFeature("price", mean=3.0, stddev=2.0, missing=3.5),
        DenseFeature("age", boundaries=(1.0, 2.0), missing=1.25),
    ),
    domain_name="country",
    domains=("fr",),
)


def test_a_missing_number_is_filled_as_it_was_in_training():
    raw = {
        "item": [7, 7],
        "price": [np.nan, 9.0],
        "age": [0.5, np.nan],
        "domain": ["fr", "fr"],
    }
    inputs = RawInputs(FILLED)(tensors(raw, FILLED))
    np.testing.assert_array_equal(inputs["price"], np.float32([3.5, 9]))
    np.testing.assert_array_equal(inputs["age"], np.float32([0.5, 1.25]))


def test_an_example_without_a_number_is_filled_too():
    given = example(item=7, price=9.0, domain="fr")
    lacking = example(item=7, domain="fr")
    inputs = RawInputs(FILLED).parse(tf.constant([given, lacking]))
    np.testing.assert_array_equal(inputs["price"], np.float32([9, 3.5]))
    np.testing.assert_array_equal(inputs["age"], np.float32([1.25, 1.25]))
