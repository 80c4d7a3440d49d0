import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from data_prep import table
from data_prep import table_job
from data_prep import table_survey
from data_prep.layout import PreparationError
from mlora_tf import data
from mlora_tf.schema import Schema

OPTIONS = {
    "label": "click",
    "domain": "shop",
    "categorical": {"user": {"min_count": 2}, "item": {}},
    "numeric": {
        "price": {"missing": "fill"},
        "age": {"buckets": 4, "missing": "fill"},
    },
    "sequence": {"seen": {"max_length": 2, "target": "item"}},
}


def rows(count=60, seed=0, **columns):
    """A log of as many rows, some columns of which may be given."""
    rng = np.random.default_rng(seed)
    made = {
        "click": rng.integers(0, 2, count),
        "shop": rng.choice([3, 1, 20], count),
        "user": rng.integers(0, 12, count),
        "item": rng.choice(["pen", "ink", "nib"], count),
        "price": rng.normal(5, 1, count),
        "age": rng.normal(40, 9, count),
        "seen": [["pen", "ink"][: row % 3] for row in range(count)],
    }
    return pa.table({**made, **columns})


def written(path, log):
    pq.write_table(log, path)
    return path


def config(path, **changes):
    path.write_text(json.dumps({**OPTIONS, **changes}))
    return path


@pytest.fixture
def earlier(tmp_path):
    """A prepared folder, and the log that it is of."""
    log = written(tmp_path / "a.parquet", rows())
    table.prepare(log, tmp_path / "a", config=config(tmp_path / "c.json"))
    return tmp_path / "a"


def later(earlier, log, **options):
    """Prepares a log like a folder, and reads it: its schema is the same."""
    path = written(earlier.with_name("b.parquet"), log)
    output = earlier.with_name("b")
    table.prepare(path, output, like=earlier, **options)
    name = "schema.json"
    assert (output / name).read_bytes() == (earlier / name).read_bytes()
    return data.load(output)


def column(log, name):
    parts = (log.train, log.valid, log.test)
    return np.concatenate([part.inputs[name] for part in parts])


def test_the_same_log_gives_the_same_rows(earlier):
    path = earlier.with_name("a.parquet")
    table.prepare(path, earlier.with_name("b"), like=earlier)
    for file in sorted(earlier.iterdir()):
        if file.name not in ("manifest.json", "README.md"):
            other = earlier.with_name("b") / file.name
            assert other.read_bytes() == file.read_bytes()


def test_it_is_as_the_schema_says(earlier):
    users = [0, 999, 3, 0, 1, 2] * 10
    schema = Schema.load(earlier / "schema.json")
    log = later(
        earlier,
        rows(user=users, age=[None, 30.0] * 30, price=[None, 7.0, 8.0] * 20),
    )
    vocabulary = schema.feature("user").vocabulary
    ids = [
        vocabulary.index(user) + 1 if user in vocabulary else 0
        for user in users
    ]
    assert 999 not in vocabulary
    assert sorted(column(log, "user")) == sorted(ids)
    # The earlier rows' means, not those of the later ones, whose mean is 30.
    for name, known in (("age", [30.0]), ("price", [7.0, 8.0])):
        mean = schema.feature(name).missing
        found = set(column(log, name).tolist())
        assert found == {float(np.float32(mean)), *known}
        assert mean != pytest.approx(np.mean(known), abs=0.5)


def test_rows_of_other_domains_are_left_out(earlier, warnings):
    shops = [3] * 20 + [1] * 28 + [77] * 10 + [78] * 2
    log = later(earlier, rows(shop=shops))
    assert sum(map(len, (log.train, log.valid, log.test))) == 48
    (line,) = warnings
    assert line == f"12 rows are left out: {earlier} has no domain '77', '78'."
    # The third domain has no rows this time, and keeps its place.
    assert log.schema.domains == ("1", "3", "20")
    counts = np.bincount(column(log, "domain"), minlength=3)
    assert counts.tolist() == [28, 20, 0]


@pytest.mark.parametrize("new", [None, "79"])
def test_of_many_other_domains_some_are_told_apart(
    earlier, warnings, monkeypatch, new
):
    monkeypatch.setattr(table_survey, "MAX_DOMAINS", 4)
    shops = [70, 71, 70, 72, *range(73, 80), *[1] * 20, 3, *[79] * 28]
    path = written(earlier.with_name("b.parquet"), rows(shop=shops))
    output = earlier.with_name("b")
    table.prepare(path, output, like=earlier, new_domain=new)
    log = data.load(output)
    known = 21 + (0 if new is None else 29)
    assert sum(map(len, (log.train, log.valid, log.test))) == known
    assert (
        f"{60 - known} rows are left out: {earlier} has no domain '70', '71', "
        "'72', '73' and more."
    ) in (line.replace(str(output), str(earlier)) for line in warnings)


def test_one_like_one_that_is_like_another(earlier):
    second = later(earlier, rows(seed=1))
    again = earlier.with_name("c")
    table.prepare(
        written(earlier.with_name("c.parquet"), rows(seed=2)),
        again,
        like=earlier.with_name("b"),
    )
    assert data.load(again).schema == second.schema


def test_vectors_come_from_the_folder(tmp_path):
    vectors = written(
        tmp_path / "v.parquet",
        pa.table({"item": ["pen", "ink"], "vector": [[1.0, 2.0], [3.0, 4.0]]}),
    )
    categorical = {"item": {"vectors": str(vectors)}}
    table.prepare(
        written(tmp_path / "a.parquet", rows()),
        tmp_path / "a",
        config=config(tmp_path / "c.json", categorical=categorical),
    )
    vectors.unlink()
    log = later(tmp_path / "a", rows(seed=3))
    first = data.load(tmp_path / "a").vectors
    assert set(first) == set(log.vectors) == {"item"}
    np.testing.assert_array_equal(log.vectors["item"], first["item"])


@pytest.mark.parametrize(
    ("log", "options", "advice"),
    [
        (rows(2), {}, "prepare a larger log, or choose other --fractions"),
        (
            # The other splits have rows, but of an unknown domain alone.
            rows(shop=[1, 77, 78] * 20, part=["test", "train", "valid"] * 20),
            {"split": "given", "split_column": "part"},
            "see that the column of --split_column names all three",
        ),
        (
            rows(time=[7] * 60),
            {"split": "time", "split_column": "time"},
            "too many rows have the same time, or choose other --fractions",
        ),
    ],
)
def test_a_log_without_rows_for_a_split_is_refused_before_it_is_written(
    earlier, monkeypatch, log, options, advice
):
    monkeypatch.delattr(table_job.Job, "writer")
    refused(earlier, log, rf"no row .* the \w+ split: {advice}\.$", **options)


def refused(earlier, log, match, **options):
    with pytest.raises(PreparationError, match=match):
        later(earlier, log, **options)
    assert not earlier.with_name("b").exists()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shop": [5] * 60}, "no row of a domain of .*'1'.* holds '5'"),
        ({"user": ["x"] * 60}, "'user' holds the text 'x', but .* integers; "),
        ({"item": [1] * 60}, "'item' holds the integer 1, but .* text; "),
        ({"item": [None] * 60}, "'item' .*empty"),
    ],
)
def test_a_log_that_is_not_like_it(earlier, changes, match):
    refused(earlier, rows(**changes), match)


TEXTS = {
    "label": "click",
    "domain": "shop",
    "categorical": ["brand", "user"],
    "sequence": ["seen"],
}


def csv(path, shop="ab", brand=("acme", "lego"), user=(7, 8), seen=("x|y",)):
    """A csv file of 60 rows, whose columns go through these values."""
    lines = ["click,shop,brand,user,seen"]
    for row in range(60):
        cells = [each[row % len(each)] for each in (shop, brand, user, seen)]
        lines.append(",".join(map(str, [row // 2 % 2, *cells])))
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "unknown", [("360", "acme"), ("acme", "360"), ("360",), ("9" * 19, "acme")]
)
def test_what_looks_like_an_integer_is_a_text_that_is_unknown(
    tmp_path, unknown
):
    """A csv has no types: the folder knows that its column is text."""
    table.prepare(csv(tmp_path / "a.csv"), tmp_path / "a", **TEXTS)
    lists = ["|".join(unknown), "x"]
    second = csv(tmp_path / "b.csv", brand=unknown, seen=lists)
    table.prepare(second, tmp_path / "b", like=tmp_path / "a")
    log = data.load(tmp_path / "b")
    brands = log.schema.feature("brand").vocabulary
    ids = {brands.index(one) + 1 if one in brands else 0 for one in unknown}
    assert set(column(log, "brand").tolist()) == ids
    assert 0 in ids


@pytest.mark.parametrize("shops", [("1688", "a"), ("a", "1688", "9" * 19)])
def test_a_domain_that_looks_like_an_integer_is_another(
    tmp_path, shops, warnings
):
    table.prepare(csv(tmp_path / "a.csv"), tmp_path / "a", **TEXTS)
    table.prepare(
        csv(tmp_path / "b.csv", shops), tmp_path / "b", like=tmp_path / "a"
    )
    log = data.load(tmp_path / "b")
    assert set(column(log, "domain").tolist()) == {
        log.schema.domains.index("a")
    }
    assert "has no domain '1688'" in warnings[0]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_new_domain_may_look_like_an_integer_where_others_are_text(
    tmp_path, kind
):
    table.prepare(csv(tmp_path / "a.csv"), tmp_path / "a", **TEXTS)
    path = csv(tmp_path / "b.csv", shop=[1688])
    if kind == "parquet":
        options = pa_csv.ConvertOptions(column_types={"shop": pa.int64()})
        log = pa_csv.read_csv(path, convert_options=options)
        path = written(tmp_path / "b.parquet", log)
    output = tmp_path / "b"
    table.prepare(path, output, like=tmp_path / "a", new_domain="1688")
    log = data.load(output)
    assert log.schema.domains == ("a", "b", "1688")
    assert set(column(log, "domain").tolist()) == {2}


@pytest.mark.parametrize("shop", [1, "1"])
def test_domains_of_text_that_look_like_integers_are_known_by_name(
    tmp_path, shop
):
    log = written(tmp_path / "a.parquet", rows(shop=["1", "us"] * 30))
    table.prepare(log, tmp_path / "a", config=config(tmp_path / "c.json"))
    found = later(tmp_path / "a", rows(shop=[shop] * 60))
    assert set(column(found, "domain").tolist()) == {0}


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (("x", 7), "line 2: column 'user' holds the text 'x', but in "),
        ((7, "x"), "line 3: column 'user' holds the text 'x', but in "),
        (("9" * 20,), "column 'user' holds an integer beyond 64 bits; mend it"),
    ],
)
def test_text_among_a_folders_integers_is_to_be_mended(tmp_path, user, said):
    """--like takes no --strings, so it isn't what to do."""
    table.prepare(csv(tmp_path / "a.csv"), tmp_path / "a", **TEXTS)
    path = csv(tmp_path / "b.csv", user=user)
    with pytest.raises(PreparationError, match=said) as error:
        table.prepare(path, tmp_path / "b", like=tmp_path / "a")
    assert "--strings" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"label": "click"}, "label"),
        ({"numeric": ["price"]}, "numeric"),
        ({"config": "c.json"}, "config"),
        ({"min_count": 5}, "min_count"),
        ({"missing": "fill"}, "missing"),
        ({"drop_one_class_domains": True}, "drop_one_class_domains"),
        ({"runner": "DirectRunner"}, "runner"),
        ({"max_vocabulary": 9}, "max_vocabulary"),
    ],
)
def test_what_the_folder_says_is_no_flag(earlier, options, flag):
    refused(earlier, rows(), f"--like .*: leave out --{flag}", **options)


def test_the_folder_itself_is_not_overwritten(earlier):
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}
    path = earlier.with_name("a.parquet")
    with pytest.raises(PreparationError, match="is --output too"):
        table.prepare(path, earlier, like=earlier, overwrite=True)
    after = {path.name: path.read_bytes() for path in earlier.iterdir()}
    assert after == before


def test_many_unknown_values_are_warned_of(earlier, warnings):
    later(earlier, rows(item=["cap"] * 31 + ["pen"] * 29))
    (line,) = warnings
    assert line.startswith("column 'item': 51.7% of the rows have a value")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("", "is empty; mend it, or "),
        ("NULL", "must be a number; it is 'NULL'. Leave the cell empty, and "),
    ],
)
def test_an_empty_cell_has_an_advice_that_can_be_followed(tmp_path, cell, said):
    def log(name, price):
        lines = [f"{row % 2},a,{row}.5" for row in range(60)]
        lines[30] = f"1,a,{price}"
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["click,shop,price", *lines]))
        return path

    options = {"label": "click", "domain": "shop", "numeric": ["price"]}
    first, second = log("first", 7), log("second", cell)
    table.prepare(first, tmp_path / "a", **options)
    with pytest.raises(PreparationError) as error:
        table.prepare(second, tmp_path / "b", like=tmp_path / "a")
    assert str(error.value) == (
        f"{second}, line 32: column 'price' {said}prepare {tmp_path / 'a'} "
        "anew with --missing=fill, and train on that."
    )
    # A later folder can't be prepared so: the one that it is like can.
    table.prepare(first, tmp_path / "c", like=tmp_path / "a")
    with pytest.raises(PreparationError) as error:
        table.prepare(second, tmp_path / "b", like=tmp_path / "c")
    assert str(error.value) == (
        f"{second}, line 32: column 'price' {said}prepare the folder that "
        f"{tmp_path / 'c'} was prepared like anew with --missing=fill, and "
        "train on that."
    )
    # As it says: "NULL" is then a cell to be left empty, and nothing more.
    options["missing"] = "fill"
    table.prepare(first, tmp_path / "a", **options, overwrite=True)
    if not cell:
        table.prepare(second, tmp_path / "b", like=tmp_path / "a")
        return
    with pytest.raises(PreparationError, match=r"Leave the cell empty\.$"):
        table.prepare(second, tmp_path / "b", like=tmp_path / "a")


def test_an_empty_place_in_a_list_has_it_too(tmp_path):
    columns = {"sequence": {"seen": {}}}
    log = written(tmp_path / "a.parquet", rows())
    path = config(tmp_path / "c.json", **columns)
    table.prepare(log, tmp_path / "a", config=path)
    seen = [["pen", None]] * 60
    match = "place in its list; mend it, or prepare .*a anew with --missing"
    refused(tmp_path / "a", rows(seen=seen), match)


def test_a_log_without_clicks_is_for_the_scores(earlier):
    log = rows().drop_columns("click")
    refused(
        earlier,
        log,
        r"no column 'click'; it has 'shop', .*'seen'\. Rows without clicks are "
        r"scored by experiments\.score\.$",
    )
    # Of another column, and of a log of its own, this is no advice.
    refused(earlier, rows().drop_columns("user"), r"column 'user'; .*'seen'\.$")
    path = written(earlier.with_name("c.parquet"), log)
    with pytest.raises(PreparationError, match=r"column 'click'; .*'seen'\.$"):
        table.prepare(
            path,
            earlier.with_name("c"),
            config=earlier.with_name("c.json"),
        )


def change(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def test_what_is_no_folder_of_a_table(earlier):
    refused(earlier / "nothing", rows(), "is no prepared folder")
    change(earlier / "manifest.json", dataset="movielens")
    refused(earlier, rows(), "prepared from 'movielens'")
    (earlier / "manifest.json").write_text("[]")
    refused(earlier, rows(), "is no prepared folder")


def test_a_schema_that_was_changed(earlier):
    change(earlier / "schema.json", label="other")
    refused(earlier, rows(), r"schema\.json has changed since")


def test_a_folder_of_before_says_no_fill(earlier):
    schema = json.loads((earlier / "schema.json").read_text())
    for feature in schema["features"]:
        feature.pop("missing", None)
    text = json.dumps(schema)
    (earlier / "schema.json").write_text(text)
    manifest = json.loads((earlier / "manifest.json").read_text())
    manifest["files"]["schema.json"]["sha256"] = hashlib.sha256(
        text.encode()
    ).hexdigest()
    (earlier / "manifest.json").write_text(json.dumps(manifest))
    refused(earlier, rows(), "'price' is filled with; prepare it once more")


# --- A domain more -----------------------------------------------------------


def with_new_domain(earlier, log, name="7", **options):
    path = written(earlier.with_name("b.parquet"), log)
    output = earlier.with_name("b")
    table.prepare(path, output, like=earlier, new_domain=name, **options)
    return data.load(output)


def new_shop(count=90, seed=1):
    """A log of the shops 1, 3 and 7: the last one has items of its own."""
    rng = np.random.default_rng(seed)
    shop = rng.choice([1, 3, 7], count)
    names = np.where(
        shop == 7,
        rng.choice(["cap", "ink", "cap"], count),
        rng.choice(["pen", "lid"], count),
    )
    return rows(
        count,
        seed,
        shop=shop,
        item=names,
        user=rng.integers(50, 53, count),
        seen=[["pen", "wax"][: 1 + (one == 7)] for one in shop],
    )


def test_a_new_domain_is_the_last_and_old_ids_stay(earlier):
    before = Schema.load(earlier / "schema.json")
    log = with_new_domain(earlier, new_shop())
    after = log.schema
    assert after.domains == (*before.domains, "7")
    for old, new in zip(before.features, after.features, strict=True):
        if old.name in ("price", "age"):
            assert new == old
        else:
            assert new.vocabulary[: len(old.vocabulary)] == old.vocabulary
    # "lid" is another shop's, and no value of the new one's; what it has seen
    # is in the same table.
    item = after.feature("item").vocabulary
    old_items = before.feature("item").vocabulary
    assert {"pen", "ink"} <= set(old_items)
    assert set(item[len(old_items) :]) == {"cap", "wax"}
    assert set(after.feature("user").vocabulary[-3:]) == {50, 51, 52}
    parts = (log.train, log.valid, log.test)
    domains = np.concatenate([part.domain for part in parts])
    names = np.array(after.domains)[domains]
    assert sorted(set(names.tolist())) == ["1", "3", "7"]
    ids = column(log, "item")[names == "7"]
    values = {item[one - 1] for one in ids if one}
    assert values == {"cap", "ink"}


def test_a_new_domains_values_may_be_too_many(earlier):
    with pytest.raises(PreparationError, match="--max_vocabulary is 1;"):
        with_new_domain(earlier, new_shop(), max_vocabulary=1)


def test_values_of_validation_and_test_rows_are_not_learned(earlier):
    log = new_shop().to_pydict()
    split = ["train", "valid", "test"]
    log["part"] = [split[row % 3] for row in range(90)]
    log["item"] = [f"of {part}" for part in log["part"]]
    found = with_new_domain(
        earlier, pa.table(log), split="given", split_column="part"
    )
    item = found.schema.feature("item").vocabulary
    assert "of train" in item
    assert not {"of valid", "of test"} & set(item)


def test_a_rare_value_has_no_id(earlier):
    log = new_shop().to_pydict()
    seven = log["shop"].index(7)
    log["user"][seven] = 99  # The folder's min_count of users is 2.
    found = with_new_domain(earlier, pa.table(log))
    assert 99 not in found.schema.feature("user").vocabulary


def test_a_new_domain_may_have_an_empty_column(tmp_path):
    """A shop that opened yesterday has no histories, or no row that counts."""
    log = written(tmp_path / "a.parquet", rows())
    path = config(tmp_path / "c.json")
    table.prepare(log, tmp_path / "a", config=path)
    later_log = new_shop().to_pydict()
    later_log["seen"] = [[] for _ in later_log["seen"]]
    # One user of each row: fewer than the folder's min_count of 2.
    later_log["user"] = [*range(100, 190)]
    found = with_new_domain(tmp_path / "a", pa.table(later_log))
    before = Schema.load(tmp_path / "a" / "schema.json")
    assert found.schema.domains == (*before.domains, "7")
    assert found.schema.feature("user") == before.feature("user")


def test_a_new_domain_that_looks_like_an_old_one_is_warned_of(
    tmp_path, warnings
):
    log = written(tmp_path / "a.parquet", rows(shop=["corner", "mall"] * 30))
    path = config(tmp_path / "c.json")
    table.prepare(log, tmp_path / "a", config=path)
    later_log = rows(shop=["Corner", "mall"] * 30)
    found = with_new_domain(tmp_path / "a", later_log, "Corner")
    assert found.schema.domains == ("corner", "mall", "Corner")
    assert [line for line in warnings if "are 2 domains" in line] == [
        "column 'shop': 'corner' and 'Corner' are 2 domains. If they are one, "
        "mend the log."
    ]


def test_the_page_says_what_to_do_next_with_it(earlier):
    manifest = json.loads((earlier / "manifest.json").read_text())
    page = (earlier / "README.md").read_text()
    assert "experiments.train --data=FOLDER" in page
    assert "from 'a.parquet'" in page
    table.prepare(
        earlier.with_name("a.parquet"), earlier.with_name("l"), like=earlier
    )
    with_new_domain(earlier, new_shop())
    for name, command in (("l", "evaluate"), ("b", "add_domain")):
        page = (earlier.with_name(name) / "README.md").read_text()
        assert f"experiments.{command} --run=RUN --data=FOLDER" in page
        assert "experiments.train" not in page
        assert f"`{manifest['fingerprint']}`" in page


def test_a_folder_with_a_new_domain_takes_another_one(earlier):
    with_new_domain(earlier, new_shop())
    log = new_shop(seed=2).to_pydict()
    log["shop"] = [8 if one == 1 else one for one in log["shop"]]
    path = written(earlier.with_name("c.parquet"), pa.table(log))
    output = earlier.with_name("c")
    like = earlier.with_name("b")
    table.prepare(path, output, like=like, new_domain="8")
    before = Schema.load(like / "schema.json")
    after = Schema.load(output / "schema.json")
    assert after.domains == (*before.domains, "8")
    # A later log of the same domains gets the same schema.
    table.prepare(path, earlier.with_name("d"), like=output)
    assert Schema.load(earlier.with_name("d") / "schema.json") == after


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("3", r"--new_domain=3: .* has that domain already; leave the flag"),
        ("9", r"--new_domain=9: the log has no row with it; new in it are '7'"),
    ],
)
def test_a_new_domain_must_be_new_and_there(earlier, name, said):
    with pytest.raises(PreparationError, match=said):
        with_new_domain(earlier, new_shop(), name)
    assert not earlier.with_name("b").exists()


def test_a_new_domain_needs_a_folder(tmp_path):
    log = written(tmp_path / "a.parquet", rows())
    with pytest.raises(PreparationError, match=r"--new_domain=7 .*--like"):
        table.prepare(
            log,
            tmp_path / "a",
            config=config(tmp_path / "c.json"),
            new_domain="7",
        )


def test_a_new_domains_ids_are_of_the_folders_kind(earlier):
    log = new_shop().to_pydict()
    log["user"] = [f"u{one}" for one in log["user"]]
    with pytest.raises(PreparationError, match=r"column 'user' .*integers"):
        with_new_domain(earlier, pa.table(log))
