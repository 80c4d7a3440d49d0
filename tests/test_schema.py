import dataclasses
import json

import pytest

from mlora_tf.schema import FORMAT
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.schema import SparseFeature

SCHEMA = Schema(
    features=(
        SparseFeature("user", (3, -1, 2**60)),
        SparseFeature("mot_clé", ("stylo", "", "钢笔", '"\\\n')),
    ),
    domain_name="country",
    domains=("fr", "it", "2"),
    label="click",
)


def content(**changes):
    """The schema's JSON as a dict, with changes."""
    return {**json.loads(SCHEMA.to_json()), **changes}


def feature(**changes):
    """The JSON of a schema, whose one feature has changes."""
    (one, *_) = content()["features"]
    one = {**one, **changes}
    return content(features=[{k: v for k, v in one.items() if v is not None}])


# --- Round trips and sizes ---------------------------------------------------


def test_json_brings_the_schema_back():
    twin = Schema.from_json(SCHEMA.to_json())
    assert twin == SCHEMA
    assert twin.to_json() == SCHEMA.to_json()
    assert hash(twin) == hash(SCHEMA)


def test_a_file_brings_the_schema_back(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(SCHEMA.to_json(), "utf-8")
    assert Schema.load(path) == SCHEMA
    assert Schema.load(str(path)) == SCHEMA


def test_the_json_says_its_format():
    assert content() == {
        "format": FORMAT,
        "features": [
            {"kind": "sparse", "name": "user", "vocabulary": [3, -1, 2**60]},
            {
                "kind": "sparse",
                "name": "mot_clé",
                "vocabulary": ["stylo", "", "钢笔", '"\\\n'],
            },
        ],
        "domain": {"name": "country", "values": ["fr", "it", "2"]},
        "label": "click",
    }


def test_the_order_of_features_and_domains_is_part_of_a_schema():
    turned = dataclasses.replace(SCHEMA, features=SCHEMA.features[::-1])
    assert turned != SCHEMA
    assert Schema.from_json(turned.to_json()) == turned
    turned = dataclasses.replace(SCHEMA, domains=SCHEMA.domains[::-1])
    assert turned != SCHEMA
    assert Schema.from_json(turned.to_json()) == turned


def test_every_vocabulary_has_one_id_more_for_the_unknown():
    assert SCHEMA.features[0].num_ids == 4
    assert SCHEMA.num_ids == {"user": 4, "mot_clé": 5, "domain": 3}
    assert list(SCHEMA.num_ids)[-1] == "domain"
    assert SCHEMA.num_domains == 3


def test_a_schema_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCHEMA.label = "other"


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "two words", "a-b", "1st", None, 7, "a/b"]
)
def test_a_name_that_is_no_identifier_raises(name):
    with pytest.raises(SchemaError, match="a feature's name must be an ident"):
        SparseFeature(name, (1,))
    with pytest.raises(SchemaError, match="the domain's name must be an ident"):
        dataclasses.replace(SCHEMA, domain_name=name)
    with pytest.raises(SchemaError, match="the label's name must be an ident"):
        dataclasses.replace(SCHEMA, label=name)


@pytest.mark.parametrize(
    ("vocabulary", "said"),
    [
        ((), "the vocabulary of 'item' is empty"),
        ((1, "a"), r"all integers or all strings. Received: \['int', 'str'\]"),
        ((1.0,), r"Received: \['float'\]"),
        ((True, False), r"Received: \['bool'\]"),
        ((1, True), r"Received: \['bool', 'int'\]"),
        ((None,), r"Received: \['NoneType'\]"),
        (([1],), r"Received: \['list'\]"),
        ((1, 2, 1), "the vocabulary of 'item' has a value twice"),
        (("a", "b", "a"), "the vocabulary of 'item' has a value twice"),
    ],
)
def test_a_vocabulary_is_checked(vocabulary, said):
    with pytest.raises(SchemaError, match=said):
        SparseFeature("item", vocabulary)


@pytest.mark.parametrize(
    ("domains", "said"),
    [
        ((), "the list of domains is empty"),
        ((1, 2), "domain names must be strings"),
        (("fr", 1), "all integers or all strings"),
        (("fr", "it", "fr"), "the list of domains has a value twice"),
    ],
)
def test_domains_are_checked(domains, said):
    with pytest.raises(SchemaError, match=said):
        dataclasses.replace(SCHEMA, domains=domains)


def test_no_feature_is_named_domain():
    with pytest.raises(SchemaError, match='can\'t be named "domain"'):
        SparseFeature("domain", (1,))


def test_features_have_names_of_their_own():
    twice = (SparseFeature("item", (1,)), SparseFeature("item", (2,)))
    with pytest.raises(SchemaError, match="feature names must differ"):
        dataclasses.replace(SCHEMA, features=twice)


def test_a_schema_has_a_feature():
    with pytest.raises(SchemaError, match="at least one feature"):
        dataclasses.replace(SCHEMA, features=())


@pytest.mark.parametrize("label", ["user", "domain"])
def test_the_label_has_a_column_of_its_own(label):
    with pytest.raises(SchemaError, match=f"own. Received: label='{label}'"):
        dataclasses.replace(SCHEMA, label=label)


# --- Hostile JSON ------------------------------------------------------------

HOSTILE = {
    "nothing": ("", "not JSON"),
    "cut short": (SCHEMA.to_json()[:-9], "not JSON"),
    "a list": ("[1, 2]", "'format' is missing"),
    "null": ("null", "'format' is missing"),
    "a string": ('"format"', "'format' is missing"),
    "a lone surrogate": ('"\\ud800"', "'format' is missing"),
    "no number": ("NaN", "'format' is missing"),
    "no format": ("{}", "'format' is missing"),
    "another format": (
        content(format="mlora_tf.schema/2"),
        "this version reads the format.*schema/1.*Received: 'mlora_tf.sch",
    ),
    "a format of another kind": (content(format=1), "'format' must be a str"),
    "features in a dict": (content(features={}), "'features' must be a list"),
    "no features": (content(features=[]), "at least one feature"),
    "features without names": (feature(name=None), "'name' is missing"),
    "a feature that is none": (content(features=[3]), "'kind' is missing"),
    "a null feature": (content(features=[None]), "'kind' is missing"),
    "a kind to come": (feature(kind="dense"), "kind is \"sparse\".*'dense'"),
    "a kind of another kind": (feature(kind=[]), "'kind' must be a str"),
    "a number for a name": (feature(name=5), "'name' must be a str"),
    "a path for a name": (feature(name="../../etc"), "must be an identifier"),
    "a text vocabulary": (feature(vocabulary="abc"), "must be a list"),
    "no vocabulary": (feature(vocabulary=None), "'vocabulary' is missing"),
    "lists in a vocabulary": (feature(vocabulary=[[1]]), r"\['list'\]"),
    "null in a vocabulary": (feature(vocabulary=[1, None]), "NoneType"),
    "no domain": (content(domain=None), "'domain' must be a dict"),
    "a domain's list": (content(domain=[]), "'domain' must be a dict"),
    "a domain without values": (
        content(domain={"name": "country"}),
        "'values' is missing",
    ),
    "dicts for domains": (
        content(domain={"name": "country", "values": [{}]}),
        "all integers or all strings",
    ),
    "no label": (content(label=None), "'label' must be a str"),
    "an endless nest": ("[" * 100_000, "not JSON"),
    "a long number": ('{"format": ' + "1" * 5000 + "}", "not JSON"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_json_is_a_schema_error_that_says_what_is_wrong(case, tmp_path):
    text, said = HOSTILE[case]
    if not isinstance(text, str):
        text = json.dumps(text)
    with pytest.raises(SchemaError, match=said):
        Schema.from_json(text)
    path = tmp_path / "schema.json"
    path.write_text(text, "utf-8")
    with pytest.raises(SchemaError, match=rf"schema\.json: .*{said}"):
        Schema.load(path)


def test_a_nest_of_any_depth_is_a_schema_error():
    # Some are shallow enough to read and too deep to show.
    for depth in [*range(1, 1100, 7), *range(850, 1000)]:
        nest = "[" * depth + "]" * depth
        for text in (nest, f'{{"format": {nest}}}'):
            with pytest.raises(SchemaError):
                Schema.from_json(text)


def test_an_error_does_not_repeat_a_whole_file():
    with pytest.raises(SchemaError) as error:
        Schema.from_json(json.dumps(content(label=["x" * 100_000])))
    assert len(str(error.value)) < 200


def test_a_file_that_is_no_text_is_a_schema_error(tmp_path):
    path = tmp_path / "schema.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(SchemaError, match=r"schema\.json: "):
        Schema.load(path)
