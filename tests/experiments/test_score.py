"""Every row of a log gets the score that its prepared row would get."""

import json

import keras
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from data_prep import table
from data_prep import table_files
from data_prep import table_like
from data_prep import table_parquet
from data_prep import table_unknown
from data_prep import table_unlabelled
from data_prep.layout import PreparationError
from experiments import binary
from experiments import score
from mlora_tf import build_model
from mlora_tf import data
from mlora_tf.predictor import Predictor
from tests import own_flags

ROWS = 240


def log_of(count=ROWS, seed=0, domains=("corner", "mall", "market")):
    """A log whose rows have numbers of their own, and missing cells."""
    rng = np.random.default_rng(seed)
    price = rng.normal(5, 1, count).round(3).tolist()
    price[-1] = None
    return pa.table(
        {
            "view": np.arange(count) + 1000,
            "click": rng.integers(0, 2, count),
            "shop": rng.choice(domains, count),
            "item": rng.choice(["pen", "ink", "nib", "blot"], count),
            "price": price,
            "seen": rng.choice(["", "pen", "ink|pen", "nib|ink|pen"], count),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared folder `data` and a run's folder, as far as it is needed."""
    folder = tmp_path_factory.mktemp("score")
    pq.write_table(log_of(), folder / "log.parquet")
    config = folder / "columns.json"
    config.write_text(
        json.dumps(
            {
                "label": "click",
                "domain": "shop",
                "categorical": {"item": {}},
                "numeric": {"price": {"missing": "fill"}},
                "sequence": {"seen": {"max_length": 2, "target": "item"}},
            }
        )
    )
    table.prepare(folder / "log.parquet", folder / "data", config=config)
    schema = data.load(folder / "data").schema
    run = folder / "run"
    run.mkdir()
    model = build_model(schema, "deepfm", "mlora", hidden_units=(8,))
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(keras.random.normal(weight.shape, stddev=0.5, seed=1))
    model.save(run / "model.keras")
    (run / "schema.json").write_text(schema.to_json())
    (run / "metrics.json").write_text("{}")
    return folder


def command(folder, log, output, *options):
    arguments = [
        f"--run={folder / 'run'}",
        f"--like={folder / 'data'}",
        f"--input={log}",
        f"--output={output}",
        *options,
    ]
    with (
        own_flags.given(score.define_flags, *arguments),
        binary.errors_in_one_line(),
    ):
        score.main()


def expected(folder, log, tmp_path):
    """Scores of a log's rows by their views, by way of a prepared folder."""
    with_split = log.append_column("part", pa.array(["train"] * len(log)))
    # Each split needs a row; one of a domain that is known.
    more = log_of(2, seed=9, domains=("mall",))
    more = more.append_column("part", pa.array(["valid", "test"]))
    pq.write_table(
        pa.concat_tables([with_split, more.cast(with_split.schema)]),
        tmp_path / "expected.parquet",
    )
    table.prepare(
        tmp_path / "expected.parquet",
        tmp_path / "expected",
        like=folder / "data",
        split="given",
        split_column="part",
    )
    rows = data.load(tmp_path / "expected").train
    model = keras.models.load_model(folder / "run" / "model.keras")
    return Predictor(model)(rows.inputs)


@pytest.mark.parametrize("chunk", [None, 50])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_scores_are_those_of_the_prepared_rows(
    folder, tmp_path, kind, chunk, monkeypatch, capsys
):
    if chunk:
        monkeypatch.setattr(table_files, "CHUNK_ROWS", chunk)
    log = log_of(seed=1)
    unlabelled = log.drop_columns("click")
    if kind == "csv":
        path = tmp_path / "new.csv"
        pa_csv.write_csv(unlabelled, path)
    else:
        path = tmp_path / "new.parquet"
        pq.write_table(unlabelled, path, row_group_size=70)
    output = tmp_path / "deep" / "scores.parquet"
    command(folder, path, output, "--keep=view,shop")
    found = pq.read_table(output)
    assert found.column_names == ["view", "shop", "score"]
    views = [str(one) for one in found["view"].to_pylist()]
    assert views == [str(one) for one in log["view"].to_pylist()]
    assert found["shop"].to_pylist() == log["shop"].to_pylist()
    values = found["score"].to_numpy()
    assert values.dtype == np.float32
    assert len(np.unique(values)) > 10
    np.testing.assert_allclose(
        values, expected(folder, log, tmp_path), rtol=1e-6
    )
    assert f"{output} has {ROWS} rows (" in capsys.readouterr().out


def test_a_row_of_a_new_domain_has_no_score(folder, tmp_path, capsys):
    log = log_of(seed=2, domains=("mall", "airport"))
    known = np.array(log["shop"]) == "mall"
    assert set(known) == {True, False}
    pq.write_table(log, tmp_path / "new.parquet")
    for name in ("scores.parquet", "scores.csv"):
        command(
            folder, tmp_path / "new.parquet", tmp_path / name, "--keep=view"
        )
    found = pq.read_table(tmp_path / "scores.parquet")
    assert found["view"].to_pylist() == log["view"].to_pylist()
    np.testing.assert_array_equal(found["score"].is_valid().to_numpy(), known)
    left = int((~known).sum())
    said = capsys.readouterr().out
    assert f"{left} of them without a score: {folder / 'data'} doesn't" in said
    # Both files hold the same.
    text = pa_csv.read_csv(tmp_path / "scores.csv")
    assert text["view"].to_pylist() == found["view"].to_pylist()
    np.testing.assert_allclose(
        text["score"].to_numpy(), found["score"].to_numpy(), rtol=1e-6
    )


def test_all_rows_may_be_of_new_domains(folder, tmp_path):
    pq.write_table(log_of(5, domains=("airport",)), tmp_path / "new.parquet")
    command(folder, tmp_path / "new.parquet", tmp_path / "s.parquet")
    assert pq.read_table(tmp_path / "s.parquet")["score"].null_count == 5


def said_after(folder, log, tmp_path, capsys):
    """The lines that are printed beside the first one."""
    pq.write_table(log, tmp_path / "new.parquet")
    output = tmp_path / "s.parquet"
    command(folder, tmp_path / "new.parquet", output, "--overwrite")
    first, *others = capsys.readouterr().out.splitlines()
    assert f"s.parquet has {len(log):,} rows" in first
    return others


def test_nothing_is_said_of_a_log_that_is_all_known(folder, tmp_path, capsys):
    assert said_after(folder, log_of(seed=3), tmp_path, capsys) == []


@pytest.mark.parametrize("chunk", [None, 7])
@pytest.mark.parametrize(
    ("unknown", "share"), [(1, "0.4%"), (26, "10.8%"), (240, "100.0%")]
)
def test_what_is_unknown_is_said(
    folder, tmp_path, capsys, monkeypatch, unknown, share, chunk
):
    if chunk:
        monkeypatch.setattr(table_files, "CHUNK_ROWS", chunk)
        monkeypatch.setattr(table_parquet, "ROW_GROUP", chunk)
    log = log_of(seed=3)
    items = ["gum"] * unknown + ["pen"] * (len(log) - unknown)
    # One of three items a row is none that the folder knows; one is cut.
    seen = ["pen|gum|ink|pen"] * 200 + [""] * 39 + ["ink|pen"]
    log = log.set_column(3, "item", pa.array(items))
    log = log.set_column(5, "seen", pa.array(seen))
    assert said_after(folder, log, tmp_path, capsys) == [
        f"item: {share} of the rows have a value that {folder / 'data'} "
        "doesn't know, or none"
    ]
    log = log.set_column(5, "seen", pa.array(["gum|pen"] * 60 + [""] * 180))
    assert said_after(folder, log, tmp_path, capsys)[1:] == [
        f"seen: {folder / 'data'} doesn't know 50.0% of the items in the rows"
    ]


def test_a_share_that_would_be_rounded_away_is_said(folder):
    unknown = table_unknown.Unknown(table_like.read(folder / "data"))
    known = {"seen": pa.array([[]], pa.list_(pa.int32()))}
    unknown.add({"item": np.arange(5001), **known})
    (said,) = unknown.shares().values()
    assert said.startswith("less than 0.1% of the rows have a value that ")


def test_unknown_domains_are_named_by_their_rows(folder, tmp_path, capsys):
    log = log_of(seed=4)
    shops = ["a"] * 2 + ["b"] * 1200 + ["x\ny", "mall"] + ["c"] * 3
    shops += ["e", "f", "d", "d"]
    log = pa.concat_tables([log] * 6)[: len(shops)]
    log = log.set_column(2, "shop", pa.array(shops))
    items = ["gum" if one in ("a", "mall") else "pen" for one in shops]
    log = log.set_column(3, "item", pa.array(items))
    assert said_after(folder, log, tmp_path, capsys) == [
        "Without a score, by shop: 'b' (1,200 rows), 'c' (3 rows), 'a' (2 "
        "rows), 'd' (2 rows), 'e' (1 row) and 2 more.",
        # Of the row that has a score: of the others nobody asks.
        f"item: 100.0% of the scored rows have a value that {folder / 'data'} "
        "doesn't know, or none",
    ]


@pytest.mark.parametrize("chunk", [None, 7])
def test_a_log_may_have_any_number_of_unknown_domains(
    folder, tmp_path, capsys, monkeypatch, chunk
):
    monkeypatch.setattr(table_unknown, "COUNTED", 50)
    if chunk:
        monkeypatch.setattr(table_files, "CHUNK_ROWS", chunk)
        monkeypatch.setattr(table_parquet, "ROW_GROUP", chunk)
    shops = [f"s{row:03}" for row in range(200)]
    # Those that come first are counted to the end, and no others.
    shops += ["s199"] * 35 + ["s003"] * 4 + ["mall"]
    log = log_of().set_column(2, "shop", pa.array(shops))
    (said,) = said_after(folder, log, tmp_path, capsys)
    assert said == (
        "Without a score, by shop: 's003' (5 rows), 's000' (1 row), 's001' (1 "
        "row), 's002' (1 row), 's004' (1 row) and more."
    )


def test_an_empty_cell_is_mended_or_trained_with(tmp_path):
    rows = ["click,shop,item,price"]
    rows += [f"{row % 2},mall,pen,{row}.5" for row in range(60)]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    options = {"label": "click", "domain": "shop", "numeric": ["price"]}
    log, folder = tmp_path / "log.csv", tmp_path / "data"
    table.prepare(log, folder, **options, categorical=["item"])
    like = table_like.read(folder)
    fill = f"prepare {folder} anew with --missing=fill, and train on that."
    new = tmp_path / "new.csv"
    for row, said in (
        ("mall,pen,", f"'price' is empty; mend it, or {fill}"),
        ("mall,,1.5", f"'item' is empty; mend it, or {fill}"),
        ("mall,pen,null", f"it is 'null'. Leave the cell empty, and {fill}"),
    ):
        new.write_text(f"shop,item,price\nmall,pen,1.5\n{row}\n")
        opened = table_files.Log(new, like.fill)
        with pytest.raises(PreparationError, match="line 3: column ") as error:
            list(table_unlabelled.encoded(opened, like, []))
        assert str(error.value).endswith(said)


def test_the_binary_says_how_an_empty_cell_may_be_filled(folder, tmp_path):
    (tmp_path / "new.csv").write_text("shop,item,price,seen\nmall,,1.5,\n")
    with pytest.raises(SystemExit, match=r"or prepare .*data anew with --miss"):
        command(folder, tmp_path / "new.csv", tmp_path / "s.csv")


@pytest.mark.parametrize(
    "lines",
    [
        ("360,360,1.5,360", "mall,pen,1.5,pen|360", "mall,360,1.5,"),
        ("mall,pen,1.5,ink", "1688,007,1.5,360", f"mall,{'9' * 19},1.5,360"),
    ],
)
def test_what_looks_like_an_integer_in_csv_is_an_unknown_text(
    folder, tmp_path, lines, capsys
):
    (tmp_path / "new.csv").write_text(
        "\n".join(["shop,item,price,seen", *lines]) + "\n"
    )
    command(folder, tmp_path / "new.csv", tmp_path / "s.csv")
    found = pa_csv.read_csv(tmp_path / "s.csv")
    known = [line.startswith("mall") for line in lines]
    assert found["score"].is_valid().to_pylist() == known
    said = capsys.readouterr().out
    assert "item: 50.0% of the scored rows have a value that " in said


def test_integer_domains_are_found_by_their_names(tmp_path, folder):
    rng = np.random.default_rng(0)
    log = pa.table(
        {
            "click": rng.integers(0, 2, 60),
            "shop": rng.choice([3, 1, 20], 60),
            "item": rng.choice(["pen", "ink"], 60),
        }
    )
    pq.write_table(log, tmp_path / "log.parquet")
    table.prepare(
        tmp_path / "log.parquet",
        tmp_path / "data",
        label="click",
        domain="shop",
        categorical=["item"],
    )
    schema = data.load(tmp_path / "data").schema
    run = tmp_path / "run"
    run.mkdir()
    build_model(schema, "mlp", "mlora", hidden_units=(4,)).save(
        run / "model.keras"
    )
    (run / "schema.json").write_text(schema.to_json())
    (run / "metrics.json").write_text("{}")
    pa_csv.write_csv(
        pa.table({"shop": [20, 4, 1], "item": ["pen", "pen", "ink"]}),
        tmp_path / "new.csv",
    )
    command(tmp_path, tmp_path / "new.csv", tmp_path / "s.csv")
    found = pa_csv.read_csv(tmp_path / "s.csv")
    assert found["shop"].to_pylist() == [20, 4, 1]
    assert found["score"].is_valid().to_pylist() == [True, False, True]


@pytest.mark.parametrize(
    ("options", "output", "match"),
    [
        ((), "scores.json", "must end in .parquet or .csv"),
        ((), ".", "is a folder: name a file"),
        (("--keep=view,view",), "s.csv", "--keep=view,view: .* each once"),
        (("--keep=score",), "s.csv", "none 'score', which the scores are"),
        (("--keep=time",), "s.csv", "has no column 'time'; it has 'view'"),
        ((), "new.parquet", "is the log: name another file"),
    ],
)
def test_what_cannot_be_written_is_refused_first(
    folder, tmp_path, options, output, match
):
    pq.write_table(log_of(5), tmp_path / "new.parquet")
    before = (tmp_path / "new.parquet").read_bytes()
    with pytest.raises(SystemExit, match=match):
        command(
            folder,
            tmp_path / "new.parquet",
            *(tmp_path / output, "--overwrite", *options),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["new.parquet"]
    assert (tmp_path / "new.parquet").read_bytes() == before


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_list_can_be_kept_where_it_has_a_place(folder, tmp_path, suffix):
    lists = [["a"], [], ["b", "c"]]
    log = log_of(3).append_column("tags", pa.array(lists))
    pq.write_table(log, tmp_path / "new.parquet")
    output, options = tmp_path / f"s.{suffix}", ("--keep=tags", "--overwrite")
    output.write_text("of before")
    if suffix == "parquet":
        command(folder, tmp_path / "new.parquet", output, *options)
        assert pq.read_table(output)["tags"].to_pylist() == lists
        return
    with pytest.raises(SystemExit, match=r"can't hold .*or write \.parquet"):
        command(folder, tmp_path / "new.parquet", output, *options)
    assert output.read_text() == "of before"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_mistake_in_the_log_leaves_the_file_of_before(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(table_files, "CHUNK_ROWS", 4)
    lines = ["shop,item,price,seen", *["mall,pen,1.5,"] * 20, "mall,pen,dear,"]
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    output = tmp_path / "s.csv"
    output.write_text("of before")
    with pytest.raises(SystemExit, match="line 22: column 'price' must be"):
        command(folder, tmp_path / "new.csv", output, "--overwrite")
    assert output.read_text() == "of before"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_is_there_is_kept_unless_overwritten(folder, tmp_path):
    pq.write_table(log_of(5), tmp_path / "new.parquet")
    # Somebody's log, say, whose name slipped into the wrong flag.
    output = tmp_path / "old.csv"
    output.write_text("of before")
    with pytest.raises(SystemExit, match=r"old\.csv exists: add --overwrite"):
        command(folder, tmp_path / "new.parquet", output)
    assert output.read_text() == "of before"
    command(folder, tmp_path / "new.parquet", output, "--overwrite")
    assert pa_csv.read_csv(output).num_rows == 5


def test_a_log_without_rows_is_refused(folder, tmp_path):
    (tmp_path / "new.csv").write_text("shop,item,price,seen\n")
    with pytest.raises(SystemExit, match="holds no rows"):
        command(folder, tmp_path / "new.csv", tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()


def test_another_folder_than_the_runs_is_refused(folder, tmp_path):
    pq.write_table(log_of(seed=5), tmp_path / "new.parquet")
    table.prepare(
        tmp_path / "new.parquet",
        tmp_path / "data",
        label="click",
        domain="shop",
        categorical=["item"],
    )
    (tmp_path / "run").symlink_to(folder / "run")
    with pytest.raises(
        SystemExit,
        match=r"its features aren't item, price.* Name as --like the folder",
    ):
        command(tmp_path, tmp_path / "new.parquet", tmp_path / "s.csv")


def two_files(tmp_path, *columns):
    """A log of two files, whose columns `view` are these."""
    (tmp_path / "new").mkdir()
    for number, column in enumerate(columns):
        log = log_of(len(column)).set_column(0, "view", column)
        pq.write_table(log, tmp_path / "new" / f"{number}.parquet")
    return tmp_path / "new"


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (pa.array([1, 2], pa.int32()), pa.array([3], pa.int64()), pa.int64()),
        (pa.array([1, 2], pa.int32()), pa.array([0.5]), pa.float64()),
        (pa.nulls(2), pa.array(["a"]), pa.string()),
    ],
)
def test_files_of_a_log_may_differ_in_type(
    folder, tmp_path, first, second, kind
):
    log = two_files(tmp_path, first, second)
    command(folder, log, tmp_path / "s.parquet", "--keep=view")
    found = pq.read_table(tmp_path / "s.parquet")["view"]
    assert found.type == kind
    assert found.to_pylist() == first.to_pylist() + second.to_pylist()


def test_types_that_do_not_go_together_are_refused_first(folder, tmp_path):
    log = two_files(tmp_path, pa.array([1, 2]), pa.array(["a"]))
    with pytest.raises(SystemExit, match="'view' is int64 here and string th"):
        command(folder, log, tmp_path / "s.parquet", "--keep=view")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
