import numpy as np
import pyarrow as pa
import pytest

from data_prep import features


def test_a_feature_says_only_what_it_is_told():
    assert features.sparse("item", ("a", "b")) == {
        "kind": "sparse",
        "name": "item",
        "vocabulary": ["a", "b"],
    }
    assert features.dense("price") == {"kind": "dense", "name": "price"}
    assert features.sequence("tags", range(2), 3) == {
        "kind": "sequence",
        "name": "tags",
        "vocabulary": [0, 1],
        "max_length": 3,
    }


def test_numbers_of_numpy_become_plain_ones():
    feature = features.dense("price", boundaries=np.float32([1, 2.5]))
    assert feature["boundaries"] == [1.0, 2.5]
    assert {type(edge) for edge in feature["boundaries"]} == {float}
    feature = features.dense("price", mean=np.float32(0), stddev=np.int64(2))
    assert (feature["mean"], feature["stddev"]) == (0.0, 2.0)
    assert type(feature["mean"]) is type(feature["stddev"]) is float


def test_lists_by_hand():
    column = features.lists(np.array([5, 6, 7]), np.array([0, 2, 0, 1, 0]))
    assert column.type == pa.list_(pa.int32())
    assert column.to_pylist() == [[], [5, 6], [], [7], []]
    none = features.lists(np.array([], np.int64), np.array([], np.int64))
    assert none.to_pylist() == []


def test_tables_of_vectors_have_a_row_for_every_id():
    described = [
        features.sparse("item", "abc", vectors=4),
        features.sequence("history", "abc", 9, table="item", vectors=4),
        features.sparse("shop", "ab", table="place", vectors=2),
        features.sparse("user", "ab"),
        features.dense("price"),
    ]
    assert features.vector_shapes(described) == {
        "item": (4, 4),
        "place": (3, 2),
    }


def test_a_features_table_is_its_own_unless_it_shares():
    assert features.table_of(features.sparse("item", "ab")) == "item"
    shared = features.sparse("shop", "ab", table="place")
    assert features.table_of(shared) == "place"


@pytest.mark.parametrize(
    ("vocabulary", "kind"), [([2, 1], pa.int64()), (["2", "b"], pa.string())]
)
def test_a_vocabulary_as_an_array(vocabulary, kind):
    array = features.array(vocabulary)
    assert array.type == kind
    assert array.to_pylist() == vocabulary


def test_quantiles_by_hand():
    assert features.quantiles(np.array([4, 1, 3, 2]), 2) == [2.0]
    assert features.quantiles(np.arange(1, 101), 4) == [25.0, 50.0, 75.0]
    # One value fills most buckets: its edge is there once.
    assert features.quantiles(np.array([1] * 8 + [2, 3]), 5) == [1.0]
    assert features.quantiles(np.array([7.5]), 10) == [7.5]


@pytest.mark.parametrize("kind", ["int64", "float32"])
def test_quantiles_are_values_that_rise(kind):
    values = np.random.default_rng(0).normal(0, 100, 999).astype(kind)
    edges = features.quantiles(values, 10)
    assert len(edges) == 9
    assert set(edges) <= set(values.astype(float))
    assert (np.diff(edges) > 0).all()
    counts = np.bincount(np.digitize(values, edges))
    assert counts.min() > 80
    assert counts.max() < 120
