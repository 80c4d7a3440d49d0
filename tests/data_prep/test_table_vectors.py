import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from absl import logging

from data_prep import table
from data_prep import table_files
from data_prep import table_parquet
from data_prep.layout import PreparationError
from mlora_tf import data

ITEMS = ("pen", "ink", "nib", "cap")
VECTORS = {"pen": [1.0, 2.0], "ink": [3.0, 6.0], "soap": [9.0, 9.0]}


def log(path):
    lines = ["click,shop,item,seen"]
    for row in range(40):
        item, seen = ITEMS[row % 4], ITEMS[(row + 1) % 4]
        lines.append(f"{row % 3 % 2},{'ab'[row % 2]},{item},{seen}")
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def csv(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def parquet(path, columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def config(path, of_items, **others):
    content = {
        "label": "click",
        "domain": "shop",
        "categorical": {"item": {"vectors": of_items}},
        "sequence": {"seen": {"target": "item", **others}},
    }
    path.write_text(json.dumps(content))
    return path


def prepare(tmp_path, path, **others):
    return table.prepare(
        log(tmp_path / "log.csv"),
        tmp_path / "out",
        config=config(tmp_path / "c.json", path, **others),
    )


def written(tmp_path, kind):
    if kind == "csv":
        lines = [f"{one},{a} {b}" for one, (a, b) in VECTORS.items()]
        return csv(tmp_path / "v.csv", ["item,vector", *lines])
    lists = pa.array([*VECTORS.values()], pa.list_(pa.float64()))
    if kind == "fixed":
        lists = lists.cast(pa.list_(pa.float32(), 2))
    return parquet(
        tmp_path / "v.parquet", {"vector": lists, "item": [*VECTORS]}
    )


@pytest.mark.parametrize("kind", ["csv", "lists", "fixed"])
def test_each_value_has_its_vector_and_others_have_the_mean(
    kind, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(logging, "warning", lambda *words: said.append(words))
    manifest = prepare(tmp_path, written(tmp_path, kind))
    read = data.load(tmp_path / "out")
    (vectors,) = read.vectors.values()
    vocabulary = read.schema.feature("item").vocabulary
    mean = np.mean([VECTORS["pen"], VECTORS["ink"]], axis=0)
    expected = [mean, *(VECTORS.get(one, mean) for one in vocabulary)]
    expected[1 + vocabulary.index("nib")] = mean
    np.testing.assert_array_equal(vectors, np.array(expected, np.float32))
    # The sequence shares the table.
    assert [one.vectors for one in read.schema.features] == [2, 2]
    (source,) = set(manifest["sources"]) - {"log.csv"}
    assert source.startswith("vectors.item:v.")
    assert len(manifest["sources"][source]["sha256"]) == 64
    (words, *values), *_ = said
    assert "v." in words % tuple(values)
    assert "no vector of 2 of the 4 values of 'item'" in words % tuple(values)


def test_each_file_of_vectors_is_a_source(tmp_path):
    (tmp_path / "v").mkdir()
    for number, (item, vector) in enumerate(VECTORS.items()):
        line = f"{item},{' '.join(map(str, vector))}"
        csv(tmp_path / "v" / f"{number}.csv", ["item,vector", line])
    sources = prepare(tmp_path, str(tmp_path / "v"))["sources"]
    names = {f"vectors.item:{number}.csv" for number in range(len(VECTORS))}
    assert set(sources) == {"log.csv", *names}
    assert len({one["sha256"] for one in sources.values()}) == len(sources)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["id,vector", "pen,1"], r"v.csv has no column 'item'; it has 'id', "),
        (["item,numbers", "pen,1"], "v.csv has no column 'vector'"),
        (["item,vector"], "no vector of any value of 'item'"),
        (["item,vector", "soap,1 2"], "no vector of any value of 'item'"),
        (["item,vector", "7,1 2"], "'item' holds integers, and in the log it"),
        (["item,vector", "pen,1 2", "ink,1"], "line 3: .* must have 2 numbers"),
        (["item,vector", "pen,1 x"], r"line 2: .* number 2 is 'x'"),
        (["item,vector", "pen,"], "line 2: .* a vector has no numbers"),
        (["item,vector", ",1"], "line 2: .*'item' is empty; .* leave the row"),
        (["item,vector", "pen,1", "ink,2", "pen,1"], "line 4: .* 'pen', which"),
    ],
)
def test_a_wrong_file_is_named_and_leaves_no_folder(lines, problem, tmp_path):
    with pytest.raises(PreparationError, match=problem):
        prepare(tmp_path, csv(tmp_path / "v.csv", lines))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lists", "problem"),
    [
        ([[1.0], [1.0, 2.0]], "row 2: .* must have 1 numbers"),
        ([[], []], "row 1: .* has no numbers"),
        ([[1.0], [float("nan")]], "row 2: .* finite in float32"),
        ([[1.0], [1e39]], "row 2: .* finite in float32"),
        ([[1.0], None], "row 2: column 'vector' is empty"),
        ([1.0, 2.0], "'vector' must hold lists of numbers"),
    ],
)
def test_a_wrong_list_is_named(lists, problem, tmp_path):
    path = parquet(
        tmp_path / "v.parquet", {"item": ["pen", "x"]} | {"vector": lists}
    )
    with pytest.raises(PreparationError, match=problem):
        prepare(tmp_path, path)


@pytest.mark.parametrize(
    ("items", "lists", "problem"),
    [
        (["pen", "ink"], [[1.0, 2.0], [3.0]], "row 2: .* must have 2 numbers"),
        (["pen", "pen"], [[1.0], [2.0]], "row 2: .* 'pen', which has a vector"),
    ],
)
def test_what_is_wrong_is_seen_over_several_chunks(
    items, lists, problem, tmp_path, monkeypatch
):
    monkeypatch.setattr(table_parquet, "ROW_GROUP", 1)
    monkeypatch.setattr(table_files, "CHUNK_ROWS", 1)
    path = parquet(tmp_path / "v.parquet", {"item": items, "vector": lists})
    with pytest.raises(PreparationError, match=problem):
        prepare(tmp_path, path)


def test_a_file_that_is_not_there_is_said_before_the_log_is_read(
    tmp_path, monkeypatch
):
    def read(*arguments, **options):
        raise AssertionError("The log was read.")

    monkeypatch.setattr(table, "survey", read)
    with pytest.raises(PreparationError, match=r"nowhere.csv isn't there; na"):
        prepare(tmp_path, "nowhere.csv")


@pytest.mark.parametrize(
    ("vectors", "others", "problem"),
    [
        (5, {}, "categorical: 'item': 'vectors' must be a text; it is 5."),
        ("v.csv", {"vectors": "w.csv"}, "stated by 'item' already; state them"),
    ],
)
def test_a_wrong_option(vectors, others, problem, tmp_path):
    with pytest.raises(PreparationError, match=problem):
        prepare(tmp_path, vectors, **others)


def test_a_new_domains_items_have_no_vectors_and_no_ids(tmp_path):
    prepare(tmp_path, written(tmp_path, "csv"))
    later = (tmp_path / "log.csv").read_text().replace(",b,ink", ",c,wax")
    (tmp_path / "later.csv").write_text(later)
    table.prepare(
        tmp_path / "later.csv",
        tmp_path / "later",
        like=tmp_path / "out",
        new_domain="c",
    )
    name = "vectors.item.npy"
    old, new = (tmp_path / one / name for one in ("out", "later"))
    assert new.read_bytes() == old.read_bytes()
    before, after = data.load(tmp_path / "out"), data.load(tmp_path / "later")
    assert after.schema.features == before.schema.features
    assert after.schema.domains == ("a", "b", "c")
    parts = (after.train, after.valid, after.test)
    ids = np.concatenate([one.inputs["item"][one.domain == 2] for one in parts])
    assert len(ids) == 10
    assert set(ids.tolist()) == {0}
