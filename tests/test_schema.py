import dataclasses
import json

import pytest

from mlora_tf.schema import FORMAT
from mlora_tf.schema import PADDING
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature

SCHEMA = Schema(
    features=(
        SparseFeature("user", (3, -1, 2**60)),
        SparseFeature("mot_cle", ("stylo", "", "钢笔", '"\\\n')),
    ),
    domain_name="country",
    domains=("fr", "it", "2"),
    label="click",
)

ITEMS = (10, 20, 30)
WORDS = ("pen", "ink")
KINDS = Schema(
    features=(
        SparseFeature("item", ITEMS, vectors=4),
        DenseFeature("price", boundaries=(-1.5, 0, 0.1, 1e30)),
        DenseFeature("age", mean=40.25, stddev=1 / 3),
        DenseFeature("raw"),
        SequenceFeature(
            "history",
            ITEMS,
            20,
            pooling="din",
            target="item",
            table="item",
            vectors=4,
        ),
        SequenceFeature("words", WORDS, 3),
        SparseFeature("title_word", WORDS, table="text"),
        SequenceFeature("text_words", WORDS, 5, pooling="max", table="text"),
        SparseFeature("user", ("a",), vectors=2),
    ),
    domain_name="shop",
    domains=("north", "south"),
)
"""Every kind of feature, and every way to share a table."""


def content(**changes):
    """The schema's JSON as a dict, with changes."""
    return {**json.loads(SCHEMA.to_json()), **changes}


def feature(**changes):
    """The JSON of a schema, whose one feature has changes."""
    (one, *_) = content()["features"]
    one = {**one, **changes}
    return content(features=[{k: v for k, v in one.items() if v is not None}])


# --- Round trips and sizes ---------------------------------------------------


@pytest.mark.parametrize("schema", [SCHEMA, KINDS])
def test_json_brings_the_schema_back(schema):
    twin = Schema.from_json(schema.to_json())
    assert twin == schema
    assert twin.to_json() == schema.to_json()
    assert hash(twin) == hash(schema)


@pytest.mark.parametrize("features", [SCHEMA.features[0], None])
def test_features_that_are_no_tuple_raise(features):
    said = "features must be a tuple, of one as in"
    with pytest.raises(SchemaError, match=said):
        Schema(features, "country", ("fr",))


def test_values_stand_in_the_file_as_people_write_them():
    item = SparseFeature("item", ("ペン", "墨"))
    schema = Schema((item,), "country", ("日本", "Österreich"))
    text = schema.to_json()
    assert all(name in text for name in ("ペン", "日本", "Österreich"))
    assert Schema.from_json(text) == schema


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
                "name": "mot_cle",
                "vocabulary": ["stylo", "", "钢笔", '"\\\n'],
            },
        ],
        "domain": {"name": "country", "values": ["fr", "it", "2"]},
        "label": "click",
    }


def test_the_json_leaves_out_what_is_left_to_its_default():
    features = json.loads(KINDS.to_json())["features"]
    assert features[:6] == [
        {
            "kind": "sparse",
            "name": "item",
            "vocabulary": [*ITEMS],
            "vectors": 4,
        },
        {
            "kind": "dense",
            "name": "price",
            "boundaries": [-1.5, 0, 0.1, 1e30],
        },
        {"kind": "dense", "name": "age", "mean": 40.25, "stddev": 1 / 3},
        {"kind": "dense", "name": "raw"},
        {
            "kind": "sequence",
            "name": "history",
            "vocabulary": [*ITEMS],
            "max_length": 20,
            "pooling": "din",
            "target": "item",
            "table": "item",
            "vectors": 4,
        },
        {
            "kind": "sequence",
            "name": "words",
            "vocabulary": [*WORDS],
            "max_length": 3,
        },
    ]


def test_defaults_may_be_said_and_null_is_none():
    said = {
        "kind": "sequence",
        "name": "words",
        "vocabulary": [*WORDS],
        "max_length": 3,
        "pooling": "mean",
        "target": None,
        "table": None,
        "vectors": None,
    }
    scaled = {
        "kind": "dense",
        "name": "raw",
        "boundaries": None,
        "mean": 0,
        "stddev": 1,
    }
    schema = Schema.from_json(json.dumps(content(features=[said, scaled])))
    assert schema.features == (
        SequenceFeature("words", WORDS, 3),
        DenseFeature("raw"),
    )


def test_the_text_of_a_plain_schema_is_what_it_ever_was():
    text = (
        '{"format": "mlora_tf.schema/1", "features": [{"kind": "sparse", '
        '"name": "user", "vocabulary": [1, 2, 3]}, {"kind": "sparse", '
        '"name": "item", "vocabulary": ["pen", "ink"]}], "domain": {"name": '
        '"gender", "values": ["F", "M"]}, "label": "label"}'
    )
    schema = Schema.from_json(text)
    assert schema == Schema(
        features=(
            SparseFeature("user", (1, 2, 3)),
            SparseFeature("item", ("pen", "ink")),
        ),
        domain_name="gender",
        domains=("F", "M"),
    )
    # Its bytes are part of the fingerprint of prepared data.
    assert schema.to_json() == text


def test_the_order_of_features_and_domains_is_part_of_a_schema():
    turned = dataclasses.replace(SCHEMA, features=SCHEMA.features[::-1])
    assert turned != SCHEMA
    assert Schema.from_json(turned.to_json()) == turned
    turned = dataclasses.replace(SCHEMA, domains=SCHEMA.domains[::-1])
    assert turned != SCHEMA
    assert Schema.from_json(turned.to_json()) == turned


def test_every_vocabulary_has_one_id_more_for_the_unknown():
    assert SCHEMA.features[0].num_ids == 4
    assert SCHEMA.num_ids == {"user": 4, "mot_cle": 5, "domain": 3}
    assert list(SCHEMA.num_ids)[-1] == "domain"
    assert SCHEMA.num_domains == 3


def test_inputs_are_the_features_in_order_and_then_the_domain():
    names = [feature.name for feature in KINDS.features]
    assert KINDS.input_names == (*names, "domain")
    assert SCHEMA.input_names == ("user", "mot_cle", "domain")


def test_only_sparse_features_and_the_domain_have_one_id_a_row():
    assert KINDS.num_ids == {
        "item": 4,
        "title_word": 3,
        "user": 2,
        "domain": 2,
    }


def test_shared_tables_count_once():
    assert KINDS.tables == {"item": 4, "words": 3, "text": 3, "user": 2}
    assert KINDS.vectors == {"item": 4, "user": 2}
    assert SCHEMA.tables == {"user": 4, "mot_cle": 5}
    assert SCHEMA.vectors == {}


def test_a_feature_is_looked_up_by_its_name():
    assert KINDS.feature("age") == DenseFeature("age", None, 40.25, 1 / 3)
    with pytest.raises(SchemaError, match=r"'raw'.*Received: 'domain'"):
        KINDS.feature("domain")


@pytest.mark.parametrize(
    ("name", "kind", "shape", "dtype"),
    [
        ("item", "sparse", (), "int32"),
        ("price", "dense", (), "float32"),
        ("history", "sequence", (20,), "int32"),
    ],
)
def test_a_feature_says_what_its_input_is(name, kind, shape, dtype):
    feature = KINDS.feature(name)
    assert (feature.kind, feature.shape, feature.dtype) == (kind, shape, dtype)
    assert feature.to_dict()["kind"] == kind


def test_features_with_ids_name_their_table():
    names = {
        feature.name: (feature.table_name, feature.num_ids)
        for feature in KINDS.features
        if feature.kind != "dense"
    }
    assert names == {
        "item": ("item", 4),
        "history": ("item", 4),
        "words": ("words", 3),
        "title_word": ("text", 3),
        "text_words": ("text", 3),
        "user": ("user", 2),
    }


def test_padding_is_no_id():
    assert PADDING == -1


def test_a_schema_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCHEMA.label = "other"
    for feature in KINDS.features:
        with pytest.raises(dataclasses.FrozenInstanceError):
            feature.name = "other"


# --- Errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "two words", "a-b", "1st", None, 7, "a/b"]
)
def test_a_name_that_no_input_can_have_raises(name):
    for make in (
        lambda: SparseFeature(name, (1,)),
        lambda: DenseFeature(name),
        lambda: SequenceFeature(name, (1,), 2),
    ):
        with pytest.raises(
            SchemaError, match="a feature's name must be an ASC"
        ):
            make()
    if name is not None:
        for make in (
            lambda: SparseFeature("item", (1,), table=name),
            lambda: SequenceFeature("item", (1,), 2, table=name),
        ):
            said = "the table of 'item' must be an ASCII letter"
            with pytest.raises(SchemaError, match=said):
                make()
    with pytest.raises(SchemaError, match="the domain's name must be an ident"):
        dataclasses.replace(SCHEMA, domain_name=name)
    with pytest.raises(SchemaError, match="the label's name must be an ident"):
        dataclasses.replace(SCHEMA, label=name)


@pytest.mark.parametrize("name", ["größe", "_item", "é"])
def test_what_tensorflow_cannot_name_is_no_feature(name):
    # Its scopes refuse the first, its signatures the second.
    with pytest.raises(SchemaError, match="must be an ASCII letter"):
        SparseFeature(name, (1,))
    assert dataclasses.replace(SCHEMA, domain_name=name).domain_name == name


@pytest.mark.parametrize("name", ["class", "from", "self", "None"])
def test_what_no_export_could_have_for_an_input_is_no_feature(name):
    with pytest.raises(SchemaError, match=r"a word of Python's own.*Received"):
        SparseFeature(name, (1,))
    # Those that are words in some places alone are names like others.
    assert SparseFeature("match", (1,)).name == "match"


def test_names_that_differ_in_capitals_alone_are_one_name():
    twice = (SparseFeature("Item", (1,)), SparseFeature("item", (2,)))
    with pytest.raises(SchemaError, match="not in capitals alone"):
        dataclasses.replace(SCHEMA, features=twice)


def test_a_table_is_not_named_as_a_dense_feature():
    features = (
        DenseFeature("age", boundaries=(18.0,)),
        SparseFeature("item", (1,), table="age"),
    )
    with pytest.raises(SchemaError, match=r"as a dense feature.*age"):
        dataclasses.replace(SCHEMA, features=features)


@pytest.mark.parametrize(
    ("vocabulary", "said"),
    [
        ((), "the vocabulary of 'item' must not be empty"),
        ((1, "a"), r"all integers or all strings. Received: \['int', 'str'\]"),
        ((1.0,), r"Received: \['float'\]"),
        ((True, False), r"Received: \['bool'\]"),
        ((1, True), r"Received: \['bool', 'int'\]"),
        ((None,), r"Received: \['NoneType'\]"),
        (([1],), r"Received: \['list'\]"),
        ((1, 2, 1), "the vocabulary of 'item' has a value twice"),
        (("a", "b", "a"), "the vocabulary of 'item' has a value twice"),
        ([1, 2], r"must be a tuple \(in JSON: a list\). Received: \[1, 2\]"),
        ("abc", "the vocabulary of 'item' must be a tuple"),
    ],
)
def test_a_vocabulary_is_checked(vocabulary, said):
    with pytest.raises(SchemaError, match=said):
        SparseFeature("item", vocabulary)
    with pytest.raises(SchemaError, match=said):
        SequenceFeature("item", vocabulary, 3)


NO_COUNTS = (0, -1, 1.0, True, "3", None, [1])


@pytest.mark.parametrize("count", NO_COUNTS)
def test_a_count_is_a_positive_integer(count):
    said = "the max_length of 'item' must be a positive integer. Received: "
    with pytest.raises(SchemaError, match=said):
        SequenceFeature("item", (1,), count)
    if count is not None:
        said = "the vectors' dimension of 'item' must be a positive integer"
        with pytest.raises(SchemaError, match=said):
            SparseFeature("item", (1,), vectors=count)
        with pytest.raises(SchemaError, match=said):
            SequenceFeature("item", (1,), 2, vectors=count)


NO_NUMBERS = (
    float("nan"),
    float("inf"),
    float("-inf"),
    3.5e38,
    -(10**400),
    True,
    "1",
    None,
    [1.0],
)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_numbers_are_finite_in_float32(number):
    said = "of 'price' must be a finite float32 number. Received: "
    for changes in (
        {"mean": number},
        {"stddev": number},
        {"boundaries": (number,)},
        {"boundaries": (0.0, number, 1.0)},
    ):
        with pytest.raises(SchemaError, match=said):
            DenseFeature("price", **changes)


@pytest.mark.parametrize("stddev", [0, 0.0, -0.0, -1.0, 1e-40])
def test_a_stddev_is_positive(stddev):
    said = "the stddev of 'price' must be positive. Received: "
    with pytest.raises(SchemaError, match=said):
        DenseFeature("price", stddev=stddev)


@pytest.mark.parametrize(
    ("boundaries", "said"),
    [
        ((), "the boundaries of 'price' must not be empty"),
        ((1.0, 1.0), "must rise strictly. Received: 1.0 before 1.0"),
        ((0.0, 2.0, 1.0), "must rise strictly. Received: 2.0 before 1.0"),
        ([1.0], "the boundaries of 'price' must be a tuple"),
        (1.0, "the boundaries of 'price' must be a tuple"),
    ],
)
def test_boundaries_are_checked(boundaries, said):
    with pytest.raises(SchemaError, match=said):
        DenseFeature("price", boundaries)


@pytest.mark.parametrize("changes", [{"mean": 1.0}, {"stddev": 2.0}])
def test_a_number_is_bucketed_or_scaled_but_not_both(changes):
    with pytest.raises(SchemaError, match=r"'price' is either.*not both\. Rec"):
        DenseFeature("price", (1.0, 2.0), **changes)
    assert DenseFeature("price", (1.0,)).boundaries == (1.0,)


@pytest.mark.parametrize("pooling", ["average", "", None, ["mean"], 1])
def test_a_pooling_is_one_of_those_there_are(pooling):
    said = r"the pooling of 'words' must be one of \('sum', .*Received: "
    with pytest.raises(SchemaError, match=said):
        SequenceFeature("words", (1,), 2, pooling=pooling)


@pytest.mark.parametrize("pooling", ["sum", "mean", "max"])
def test_a_plain_pooling_has_no_target(pooling):
    assert SequenceFeature("words", (1,), 2, pooling).target is None
    said = f"pooling of 'words' is '{pooling}', which has no target"
    with pytest.raises(SchemaError, match=said):
        SequenceFeature("words", (1,), 2, pooling, target="item")


@pytest.mark.parametrize("pooling", ["din", "dien"])
@pytest.mark.parametrize("target", [None, "two words", 1])
def test_din_and_dien_have_a_target(pooling, target):
    said = "the target of 'words' must be an ASCII letter"
    with pytest.raises(SchemaError, match=said):
        SequenceFeature("words", (1,), 2, pooling, target=target)


def history(target="item", vocabulary=(1, 2), table="item", vectors=None):
    return SequenceFeature(
        "history", vocabulary, 5, "dien", target, table, vectors
    )


@pytest.mark.parametrize(
    "target", ["other", "history", "words", "price", "domain", "label"]
)
def test_a_target_is_a_sparse_feature_of_the_same_table(target):
    features = (
        SparseFeature("other", (1, 2)),
        SequenceFeature("words", (1, 2), 5, table="item"),
        DenseFeature("price"),
        SparseFeature("item", (1, 2)),
        SparseFeature("twin", (1, 2), table="item"),
    )
    for right in ("item", "twin"):
        Schema((history(right), *features), "shop", ("a",))
    said = (
        "the target of 'history' must be a sparse feature of the table 'item', "
        rf"one of \['item', 'twin'\]. Received: '{target}'"
    )
    with pytest.raises(SchemaError, match=said):
        Schema((*features, history(target)), "shop", ("a",))


def test_a_target_must_share_its_table():
    features = (SparseFeature("item", (1, 2)), history(table=None))
    with pytest.raises(SchemaError, match=r"table 'history', one of \[\]"):
        Schema(features, "shop", ("a",))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (history(vocabulary=(2, 1)), "but not its vocabulary"),
        (history(vocabulary=("1", "2")), "but not its vocabulary"),
        (history(), "but not its vectors' dimension. Received: 3 and None"),
        (
            history(vectors=4),
            "but not its vectors' dimension. Received: 3 and 4",
        ),
    ],
)
def test_features_that_share_a_table_agree_on_it(other, said):
    item = SparseFeature("item", (1, 2), vectors=3)
    Schema((item, history(vectors=3)), "shop", ("a",))
    said = f"'item' and 'history' share the table 'item', {said}"
    with pytest.raises(SchemaError, match=said):
        Schema((item, other), "shop", ("a",))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SparseFeature("item", (1,), table="domain"),
        lambda: SequenceFeature("item", (1,), 2, table="domain"),
    ],
)
def test_no_table_is_named_domain(make):
    with pytest.raises(SchemaError, match="of 'item' can't be named \"domain"):
        make()


@pytest.mark.parametrize(
    ("domains", "said"),
    [
        ((), "the list of domains must not be empty"),
        ((1, 2), "domain names must be strings"),
        (("fr", 1), "all integers or all strings"),
        (("fr", "it", "fr"), "the list of domains has a value twice"),
    ],
)
def test_domains_are_checked(domains, said):
    with pytest.raises(SchemaError, match=said):
        dataclasses.replace(SCHEMA, domains=domains)


def test_no_feature_is_named_domain():
    for make in (
        lambda: SparseFeature("domain", (1,)),
        lambda: DenseFeature("domain"),
        lambda: SequenceFeature("domain", (1,), 2),
    ):
        with pytest.raises(
            SchemaError, match="feature can't be named \"domain"
        ):
            make()


def test_features_have_names_of_their_own():
    twice = (SparseFeature("item", (1,)), DenseFeature("item"))
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

DENSE = {"kind": "dense", "name": "price"}
SEQUENCE = {
    "kind": "sequence",
    "name": "words",
    "vocabulary": ["pen"],
    "max_length": 3,
}


def one_feature(one, **changes):
    """The JSON of a schema with that feature alone, with changes."""
    return content(features=[{**one, **changes}])


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
        content(format="mlora_tf.schema/3"),
        "this version reads the format .*schema/1'. Received: .*schema/3'",
    ),
    "a format of another kind": (content(format=1), "'format' must be a str"),
    "features in a dict": (content(features={}), "'features' must be a list"),
    "no features": (content(features=[]), "at least one feature"),
    "features without names": (feature(name=None), "'name' is missing"),
    "a feature that is none": (content(features=[3]), "'kind' is missing"),
    "a null feature": (content(features=[None]), "'kind' is missing"),
    "a kind to come": (feature(kind="image"), "must be one of.*'image'"),
    "what a kind has no use for": (
        feature(max_length=3),
        "a sparse feature has no 'max_length'. Received: {",
    ),
    "a misspelt boundary": (
        one_feature(DENSE, bondaries=[1]),
        "a dense feature has no 'bondaries'",
    ),
    "no length": (
        one_feature({**DENSE, "kind": "sequence", "vocabulary": [1]}),
        "'max_length' is missing",
    ),
    "a text for a length": (one_feature(SEQUENCE, max_length="3"), "positive"),
    "true for a length": (one_feature(SEQUENCE, max_length=True), "positive"),
    "a fraction for a length": (one_feature(SEQUENCE, max_length=3.0), "posit"),
    "a dict for a pooling": (one_feature(SEQUENCE, pooling={}), "pooling of"),
    "a number for a table": (
        one_feature(SEQUENCE, table=3),
        "table of 'words'",
    ),
    "a path for a table": (one_feature(SEQUENCE, table="../x"), "ASCII letter"),
    "an empty table": (one_feature(SEQUENCE, table=""), "ASCII letter"),
    "false for a dimension": (one_feature(SEQUENCE, vectors=False), "positive"),
    "a target from nowhere": (
        one_feature(SEQUENCE, pooling="din", target="x"),
        "the target of 'words' must be a sparse feature",
    ),
    "no number for a boundary": (
        one_feature(DENSE, boundaries=[float("nan")]),
        "each of the boundaries of 'price' must be a finite.*nan",
    ),
    "an infinite boundary": (
        one_feature(DENSE, boundaries=[1, float("inf")]),
        "each of the boundaries of 'price' must be a finite.*inf",
    ),
    "a mean beyond all floats": (
        json.dumps(one_feature(DENSE, mean="#")).replace('"#"', "1e999"),
        "must be a finite.*inf",
    ),
    "no boundaries": (one_feature(DENSE, boundaries=[]), "not be empty"),
    "boundaries in a nest": (one_feature(DENSE, boundaries=[[1]]), r"\[1\]"),
    "true for a mean": (one_feature(DENSE, mean=True), "mean of 'price'"),
    "null for a stddev": (one_feature(DENSE, stddev=None), "Received: None"),
    "a kind of another kind": (feature(kind=[]), "'kind' must be a str"),
    "a number for a name": (feature(name=5), "'name' must be a str"),
    "a path for a name": (feature(name="../../etc"), "must be an ASCII letter"),
    "a text vocabulary": (feature(vocabulary="abc"), "in JSON: a list"),
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
        for text in (
            nest,
            f'{{"format": {nest}}}',
            f'{{"format": "{FORMAT}", "features": {nest}}}',
            f'{{"format": "{FORMAT}", "features": [{{"kind": {nest}}}]}}',
        ):
            with pytest.raises(SchemaError):
                Schema.from_json(text)


def test_an_error_does_not_repeat_a_whole_file():
    with pytest.raises(SchemaError) as error:
        Schema.from_json(json.dumps(content(label=["x" * 100_000])))
    assert len(str(error.value)) < 200
    for changes in ({"vocabulary": [["x" * 100_000]] * 9}, {"x" * 10_000: 1}):
        with pytest.raises(SchemaError) as error:
            Schema.from_json(json.dumps(feature(**changes)))
        assert len(str(error.value)) < 300


def test_an_error_says_which_feature_it_is_about():
    features = [*json.loads(KINDS.to_json())["features"], SEQUENCE]
    features[3] = {**DENSE, "stddev": 0}
    with pytest.raises(SchemaError, match=r"^features\[3\]: the stddev of 'p"):
        Schema.from_json(json.dumps(content(features=features)))


def test_a_file_that_is_no_text_is_a_schema_error(tmp_path):
    path = tmp_path / "schema.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(SchemaError, match=r"schema\.json: "):
        Schema.load(path)
