import json

import pytest

from data_prep import table
from data_prep import table_config
from data_prep.layout import PreparationError
from data_prep.table_columns import Categorical
from data_prep.table_columns import Columns
from data_prep.table_columns import History
from data_prep.table_columns import Numeric
from data_prep.table_config import Defaults

FLAGS = {"label": "click", "domain": "shop", "categorical": ["user"]}
GOOD = {"label": "click", "domain": "shop", "categorical": {"user": {}}}


def from_flags(defaults=None, **flags):
    return table_config.from_flags({**FLAGS, **flags}, defaults or Defaults())


def from_json(tmp_path, content, defaults=None):
    path = tmp_path / "c.json"
    path.write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    return table_config.from_json(path, defaults or Defaults())


def test_flags():
    columns = from_flags(
        Defaults(3, 10, ";", "fill"),
        categorical=["user", "item"],
        numeric=["price"],
        sequence=["seen:7", "bought"],
        strings=["item", "shop"],
        domain_values=["b", "a"],
    )
    assert columns == Columns(
        "click",
        "shop",
        (
            Categorical("user", "user", 3, "fill"),
            Categorical("item", "item", 3, "fill"),
            Numeric("price", 10, "fill"),
            History("seen", "seen", 3, "fill", 7, ";", None, None),
            History("bought", "bought", 3, "fill", 50, ";", None, None),
        ),
        frozenset({"item", "shop"}),
        ("b", "a"),
    )


def test_a_json_says_the_same(tmp_path):
    content = {
        "label": "click",
        "domain": "shop",
        "domain_values": ["b", "a"],
        "categorical": ["user", "item"],
        "numeric": {"price": {"buckets": 10}},
        "sequence": {"seen": {"max_length": 7}, "bought": {}},
        "strings": ["item", "shop"],
    }
    columns = from_json(tmp_path, content, Defaults(3, 0, ";", "fill"))
    flags = from_flags(
        Defaults(3, 10, ";", "fill"),
        categorical=["user", "item"],
        numeric=["price"],
        sequence=["seen:7", "bought"],
        strings=["item", "shop"],
        domain_values=["b", "a"],
    )
    assert columns == flags
    # And so does what the manifest states.
    again = table_config.options(columns)
    assert from_json(tmp_path, again) == columns


def test_each_column_may_have_options_of_its_own(tmp_path):
    content = {
        **GOOD,
        "categorical": {
            "user": {"min_count": 9, "missing": "fill"},
            "item": {"min_count": 4, "table": "goods"},
        },
        "numeric": {"price": {"buckets": 5, "missing": "fill"}, "age": {}},
        "sequence": {
            "seen": {"target": "item", "separator": " "},
            "other": {"table": "user", "pooling": "sum"},
            "bought": {"table": "goods", "target": "item", "pooling": "dien"},
        },
    }
    columns = from_json(tmp_path, content)
    assert columns.features == (
        Categorical("user", "user", 9, "fill"),
        Categorical("item", "goods", 4, "error"),
        Numeric("price", 5, "fill"),
        Numeric("age", 0, "error"),
        # With the table and the cut-off of what they share.
        History("seen", "goods", 4, "error", 50, " ", "din", "item"),
        History("other", "user", 9, "error", 50, "|", "sum", None),
        History("bought", "goods", 4, "error", 50, "|", "dien", "item"),
    )
    assert columns.min_counts == {"user": 9, "goods": 4}


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"label": None}, "--label is missing; name the column of the label."),
        ({"domain": ""}, "--domain is missing; name the column of the dom"),
        ({"categorical": []}, "--categorical, --numeric or --sequence: name "),
        ({"categorical": ["a", "a"]}, "--categorical names 'a' twice; name i"),
        ({"numeric": ["a", "a"]}, "--numeric names 'a' twice; name it once."),
        ({"sequence": ["a:3", "a"]}, "--sequence names 'a' twice; name it on"),
        ({"strings": ["user", "user"]}, "--strings names 'user' twice; name "),
        ({"domain_values": ["a", "a"]}, "--domain_values names 'a' twice; na"),
        ({"numeric": ["user"]}, "'user' is named twice among the features, "),
        ({"numeric": ["User"]}, "or differs from another in capitals alone"),
        ({"numeric": ["click"]}, "'click' is the label, and would tell the "),
        ({"numeric": ["domain"]}, "a feature can't be named 'domain': the pr"),
        ({"numeric": ["label"]}, "a feature can't be named 'label': the prep"),
        ({"numeric": ["Domain"]}, "a feature can't be named 'Domain': the pr"),
        ({"numeric": ["a-b"]}, "'a-b' can't name an input of a model: that m"),
        ({"numeric": [""]}, "'' can't name an input of a model: that must be"),
        ({"domain": "my shop"}, "the domain's column, 'my shop', must be let"),
        ({"domain": "click"}, "label and domain are the same column, 'click'"),
        ({"sequence": ["a:x"]}, "--sequence=a:x: a length must be a number, "),
        ({"sequence": ["a:-1"]}, "--sequence=a:-1: a length must be a number"),
        ({"sequence": ["a:0"]}, "--sequence: 'a': 'max_length' must be an in"),
        ({"strings": ["price"]}, "strings: 'price' is neither a categorical "),
        ({"defaults": Defaults(min_count=0)}, "--min_count must be 1 or more"),
        (
            {"defaults": Defaults(buckets=1), "numeric": ["a"]},
            "--numeric: 'a': one bucket would make all numbers alike; choose",
        ),
        (
            {"defaults": Defaults(buckets=-1), "numeric": ["a"]},
            "--numeric: 'a': 'buckets' must be an integer, 0 or more; it is ",
        ),
        (
            {"defaults": Defaults(separator=""), "sequence": ["a"]},
            "--sequence: 'a': 'separator' must be a text; it is ''.",
        ),
        (
            {"defaults": Defaults(missing="drop")},
            "--categorical: 'user': 'missing' must be one of error, fill; it",
        ),
    ],
)
def test_wrong_flags(flags, problem):
    with pytest.raises(PreparationError) as error:
        from_flags(**flags)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def sequence(**options):
    return {**GOOD, "sequence": {"seen": options}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "c.json can't be read as JSON (Expecting value: line 1 column"),
        ("{", "c.json can't be read as JSON (Expecting property name"),
        ("[" * 100_000, "c.json can't be read as JSON (maximum recursion"),
        ("[]", "c.json: must hold an object, as in {...}."),
        ('{"label": "a", "label": "b"}', "c.json names 'label' twice; name "),
        (
            '{"label": "a", "domain": "b", "numeric": {"p": {}, "p": {}}}',
            "c.json names 'p' twice; name it once.",
        ),
        ({**GOOD, "dense": []}, "c.json: 'dense' is unknown; choose from lab"),
        ({**GOOD, "label": 3}, "c.json: label is missing; name the column of"),
        ({**GOOD, "numeric": "a"}, "c.json: 'numeric' must be a list of colu"),
        ({**GOOD, "numeric": ["a", "a"]}, "c.json names 'a' twice; name it o"),
        ({**GOOD, "numeric": {"a": 3}}, "c.json: numeric: 'a': its options m"),
        (
            {**GOOD, "numeric": {"a": {"min_count": 3}}},
            "numeric: 'a': 'min_count' is unknown; choose from buckets, miss",
        ),
        (
            {**GOOD, "numeric": {"a": {"buckets": 1}}},
            "one bucket would make all numbers alike; choose 0 for none, or",
        ),
        ({**GOOD, "numeric": {"a": {"buckets": True}}}, "it is True."),
        ({**GOOD, "numeric": {"a": {"buckets": 2.0}}}, "it is 2.0."),
        (
            {**GOOD, "numeric": {"a": {"missing": "drop"}}},
            "'missing' must be one of error, fill; it is 'drop'.",
        ),
        ({**GOOD, "strings": "user"}, "c.json: strings must be a list of nam"),
        ({**GOOD, "strings": [3]}, "c.json: strings must be a list of names;"),
        (sequence(max_length=0), "'max_length' must be an integer, 1 or more"),
        (sequence(separator=""), "'separator' must be a text; it is ''."),
        (sequence(pooling="avg"), "'pooling' must be one of sum, mean, max, "),
        (sequence(pooling="din"), "the poolings din and dien need a 'target'"),
        (
            sequence(pooling="sum", target="user"),
            "the poolings din and dien need a 'target', a categorical colum",
        ),
        (
            sequence(target="item"),
            "'seen': the target must be a categorical column of the table 's",
        ),
        (
            sequence(target="user", table="seen"),
            "'seen': the target must be a categorical column of the table 's",
        ),
        (sequence(table="a b"), "'seen': the table 'a b' can't name an input"),
        (sequence(table="domain"), "a table can't be named 'domain': that is"),
        (
            {**sequence(table="price"), "numeric": ["price"]},
            "a table can't be named 'price': that is another column's name.",
        ),
        (
            {
                **sequence(table="user", min_count=3),
                "categorical": {"user": {"min_count": 2}},
            },
            "the table 'user' must have one min_count; they state two.",
        ),
    ],
)
def test_a_wrong_json(content, problem, tmp_path):
    with pytest.raises(PreparationError) as error:
        from_json(tmp_path, content)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_a_json_that_is_not_utf8(tmp_path):
    (tmp_path / "c.json").write_bytes(b'{"label": "\xff"}')
    message = "c.json can't be read as JSON"
    with pytest.raises(PreparationError, match=message):
        table_config.from_json(tmp_path / "c.json", Defaults())
    with pytest.raises(PreparationError, match="can't be read as JSON"):
        table_config.from_json(tmp_path / "none.json", Defaults())


def test_flags_and_a_json(tmp_path):
    with pytest.raises(PreparationError) as error:
        table.prepare("log.csv", tmp_path / "out", "click", config="c.json")
    assert str(error.value) == (
        "--label and --config both name columns; choose one."
    )
