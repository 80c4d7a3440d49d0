import pytest

from mlora_tf import strict_json
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature


def test_it_reads_what_json_reads():
    assert strict_json.loads('{"a": [1, {"b": null}]}') == {
        "a": [1, {"b": None}]
    }
    assert strict_json.loads(b"[]") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "key 'a' is there twice"),
        ('[{"x": {"b": 1, "c": 2, "b": 3}}]', "key 'b' is there twice"),
        ("[" * 10_000 + "]" * 10_000, "nests too deep"),
        ("9" * 5_000, "limit"),
        ("{", "Expecting"),
    ],
)
def test_what_it_refuses(text, said):
    with pytest.raises(ValueError, match=said):
        strict_json.loads(text)


def test_a_long_key_is_cut():
    key = "k" * 10_000
    with pytest.raises(ValueError, match="is there twice") as raised:
        strict_json.loads(f'{{"{key}": 1, "{key}": 2}}')
    assert len(str(raised.value)) < 200


def test_a_schema_has_no_key_twice():
    schema = Schema((SparseFeature("item", (1, 2)),), "shop", ("a", "b"))
    text = schema.to_json().replace('"label":', '"label": "other", "label":')
    with pytest.raises(SchemaError, match="'label' is there twice"):
        Schema.from_json(text)


# --- What a hostile schema asks for ------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: SequenceFeature("seen", (1, 2), (1 << 16) + 1),
            "max_length of 'seen' must be at most 65,536",
        ),
        (
            lambda: SparseFeature("item", (1,), vectors=(1 << 14) + 1),
            "dimension of 'item' must be at most 16,384",
        ),
        (
            lambda: SparseFeature(
                "item", tuple(range(1 << 22)), vectors=1 << 14
            ),
            "vectors of 'item' must take at most",
        ),
        (lambda: SparseFeature("item", (1, 2**63)), "integers of 64 bits"),
        (lambda: SparseFeature("item", (1, -(2**63) - 1)), "of 64 bits"),
        (lambda: SparseFeature("item", ("a", "\ud800")), "that UTF-8 can wr"),
    ],
)
def test_a_feature_is_bounded(make, said):
    with pytest.raises(SchemaError, match=said):
        make()


def test_the_bounds_themselves_are_allowed():
    SequenceFeature("seen", (-(2**63), 2**63 - 1), 1 << 16)
    SparseFeature("item", ("é", "\U0001f600"), vectors=1 << 14)
