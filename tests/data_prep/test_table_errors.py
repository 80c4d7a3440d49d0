"""Each of the user's mistakes ends in one line, and nothing is written."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep import table
from data_prep import table_checks
from data_prep import table_csv
from data_prep import table_files
from data_prep import table_fit
from data_prep import table_parquet
from data_prep import table_survey
from data_prep import writer
from data_prep.layout import PreparationError
from mlora_tf import schema_checks

HEADER = "click,shop,user,item,price,history,time,part\n"
LINES = [
    f"{row % 2},{'toys' if row % 4 < 2 else 'books'},{row % 9},i{row % 5},"
    f"{row}.5,{row}|{row + 1},{row},{('train', 'valid', 'test')[row % 3]}\n"
    for row in range(60)
]
FLAGS = {
    "label": "click",
    "domain": "shop",
    "categorical": ["user", "item"],
    "numeric": ["price"],
    "sequence": ["history"],
}


def log_of(tmp_path, lines=LINES, name="log.csv", header=HEADER):
    path = tmp_path / name
    content = (header + "".join(lines)).encode("utf-8", "surrogateescape")
    path.write_bytes(gzip.compress(content) if name[-2:] == "gz" else content)
    return path


def with_line(line, number=30):
    """All lines, with another one in that place; the header is line 1."""
    return [*LINES[: number - 2], line, *LINES[number - 1 :]]


def with_cell(column, cell, number=30):
    cells = LINES[number - 2].rstrip("\n").split(",")
    cells[HEADER.rstrip("\n").split(",").index(column)] = cell
    return with_line(",".join(cells) + "\n", number)


def arrow():
    columns = zip(*(line.rstrip().split(",") for line in LINES), strict=True)
    texts = dict(zip(HEADER.rstrip().split(","), columns, strict=True))
    numbers = {
        name: pa.array([*map(float, texts[name])]).cast(kind)
        for name, kind in (
            ("click", pa.int8()),
            ("user", pa.int64()),
            ("price", pa.float64()),
            ("time", pa.int64()),
        )
    }
    history = [[*map(int, one.split("|"))] for one in texts["history"]]
    return pa.table({**texts, **numbers, "history": history})


def parquet_of(tmp_path, column=None, values=None, name="log.parquet"):
    log = arrow()
    if column is not None:
        log = log.set_column(log.column_names.index(column), column, values)
    pq.write_table(log, tmp_path / name)
    return tmp_path / name


def changed(column, row, value, kind=None):
    """A column of the log with one other value."""
    values = arrow()[column].to_pylist()
    values[row] = value
    return pa.array(values, kind)


def refused(path, **options):
    """Returns the one line of the error, once it's known to be clean."""
    folder = path.parent / "missing" / "out"
    with pytest.raises(PreparationError) as error:
        table.prepare(path, folder, **{**FLAGS, **options})
    assert "\n" not in str(error.value)
    assert not folder.parent.exists()
    return str(error.value)


def test_the_log_itself_is_good(tmp_path):
    for path in (log_of(tmp_path), parquet_of(tmp_path)):
        for options in ({}, {"split": "time", "split_column": "time"}):
            output = tmp_path / "out"
            table.prepare(path, output, **FLAGS, **options, overwrite=True)


# Cells.

NOT = "must be a number; it is "


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("click", "2", "is the label, and must be 0 or 1; it is '2'."),
        ("click", "yes", "is the label, and must be 0 or 1; it is 'yes'."),
        ("click", "0.5", "is the label, and must be 0 or 1; it is '0.5'."),
        ("click", "nan", "is the label, and must be 0 or 1; it is 'nan'."),
        ("click", "", "is the label, and must be 0 or 1; it is empty."),
        ("shop", "", "is empty; mend it, or leave the row out."),
        ("user", "", "is empty; mend it, or choose --missing=fill."),
        ("item", "", "is empty; mend it, or choose --missing=fill."),
        ("price", "", "is empty; mend it, or choose --missing=fill."),
        ("price", "NaN", "is empty; mend it, or choose --missing=fill."),
        ("price", "inf", "must be finite in float32; it is inf."),
        ("price", "-1e39", "must be finite in float32; it is -1e+39."),
        ("price", "cheap", "must be a number; it is 'cheap'."),
        ("price", "1.5 EUR", "must be a number; it is '1.5 EUR'."),
        ("price", '"1,022.5"', NOT + "'1,022.5'. Write 1022.5, if th"),
        ("price", "-1 234 567", NOT + "'-1 234 567'. Write -1234567, "),
        ("price", '"1,5"', NOT + "'1,5'. Write 1.5, if that is"),
        ("price", '"1,234"', NOT + "'1,234'. Write 1234, or 1.234, if "),
        ("price", '"1.234,5"', NOT + "'1.234,5'. Write 1234.5, if that"),
        ("price", "NULL", NOT + "'NULL'. Leave the cell empty, and "),
        ("price", r"\N", NOT + r"'\\N'. Leave the cell empty, and choose "),
        ("history", "3||4", "has an empty place in its list; mend it, or"),
        ("history", "|3", "has an empty place in its list; mend it, or"),
        ("history", "3|", "has an empty place in its list; mend it, or"),
        ("user", "n/a", "holds the text 'n/a', and "),
        ("user", "3.0", "holds the text '3.0', and "),
        ("item", "17", "holds the integer '17', and "),
        ("history", "x|3", "holds the text 'x', and "),
        ("history", "3|x", "holds the text 'x', and "),
        ("user", "9" * 19, "holds an integer beyond 64 bits; add --strings=us"),
        ("item", "\udcff", "isn't UTF-8; save the file in UTF-8."),
        ("user", "\udcff", "isn't UTF-8; save the file in UTF-8."),
        ("shop", "\udcff", "isn't UTF-8; save the file in UTF-8."),
        ("price", "\udcff", "isn't UTF-8; save the file in UTF-8."),
        ("click", "\udcff", "isn't UTF-8; save the file in UTF-8."),
        ("history", "\udcff", "isn't UTF-8; save the file in UTF-8."),
    ],
)
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_a_wrong_cell(column, cell, problem, name, tmp_path):
    path = log_of(tmp_path, with_cell(column, cell), name)
    message = refused(path)
    assert message.startswith(f"{path}, line 30: column {column!r} {problem}")


def test_a_wrong_cell_in_a_later_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "CHUNK_ROWS", 7)
    monkeypatch.setattr(table_csv, "BLOCK", 128)
    path = log_of(tmp_path, with_cell("price", "cheap"))
    assert refused(path).startswith(f"{path}, line 30: column 'price' must")
    monkeypatch.setattr(table_parquet, "ROW_GROUP", 5)
    path = parquet_of(tmp_path, "price", changed("price", 28, None))
    assert refused(path).startswith(f"{path}, row 29: column 'price' is empty")


def test_a_wrong_cell_after_empty_and_long_lines(tmp_path):
    lines = with_cell("price", "cheap")
    lines[3] = "\n\n" + lines[3]
    lines[10] = lines[10].replace("i4", '"i\n4"').replace("i0", '"i\n0"')
    path = log_of(tmp_path, lines)
    assert refused(path).startswith(f"{path}, line 33: column 'price' must")


@pytest.mark.parametrize("line", [7, 30])
def test_a_very_long_cell_hides_no_mistake(line, tmp_path):
    longest = csv.field_size_limit()
    for cell, said in (
        ("cheap", "column 'price' must be a number"),
        ("1,5", "there must be 8 cells, as on the first line, and there are 9"),
    ):
        lines = with_cell("price", cell)
        lines[line - 2] = lines[line - 2].replace("i", "i" * 2 * longest)
        path = log_of(tmp_path, lines)
        assert refused(path).startswith(f"{path}, line 30: {said}")
    # It is the limit of all that read csv.
    assert csv.field_size_limit() == longest


def test_a_very_long_name_is_read(tmp_path):
    header = HEADER.replace("time", "time" * csv.field_size_limit())
    path = log_of(tmp_path, header=header)
    table.prepare(path, tmp_path / "out", **FLAGS)


def test_a_cell_longer_than_a_block_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(table_csv, "BLOCK", 1 << 18)
    long = "i" * (1 << 19)
    for path in (
        log_of(tmp_path, with_cell("item", long), "cell.csv"),
        log_of(tmp_path, header=HEADER.replace("time", long)),
    ):
        assert refused(path).startswith(f"{path} can't be read as csv (")


def test_a_long_wrong_cell_is_cut(tmp_path):
    path = log_of(tmp_path, with_cell("price", "x" * 10_000))
    assert len(refused(path)) < 150 + len(str(path))


def test_mixed_types_name_both_places(tmp_path):
    path = log_of(tmp_path, with_cell("user", "anna"))
    assert refused(path) == (
        f"{path}, line 30: column 'user' holds the text 'anna', and {path}, "
        "line 2 holds the integer '0'; mend one of them, or, if the column is "
        "text, add --strings=user."
    )


def test_types_that_differ_between_files(tmp_path):
    first = log_of(tmp_path, name="a.csv")
    names = [line.replace(",i", ",9") for line in LINES]
    second = log_of(tmp_path, names, "b.csv")
    message = refused(tmp_path / "*.csv")
    assert message.startswith(f"{second}, line 2: column 'item' holds the int")
    assert f"and {first}, line 2 holds the text 'i0'" in message
    users = pa.array([*map(str, arrow()["user"].to_pylist())])
    first = parquet_of(tmp_path, name="a.parquet")
    second = parquet_of(tmp_path, "user", users, "b.parquet")
    message = refused(tmp_path / "*.parquet")
    assert message.startswith(f"{second}, row 1: column 'user' holds the text")
    assert f"and {first}, row 1 holds the integer 0" in message


@pytest.mark.parametrize(
    ("column", "value", "kind", "problem"),
    [
        ("click", 2, None, "is the label, and must be 0 or 1; it is 2."),
        ("click", 0.5, pa.float64(), "must be 0 or 1; it is 0.5."),
        ("click", float("nan"), pa.float64(), "must be 0 or 1; it is nan."),
        ("click", None, None, "must be 0 or 1; it is empty."),
        ("shop", None, None, "is empty; mend it, or leave the row out."),
        ("shop", "", None, "is empty; mend it, or leave the row out."),
        ("item", "", None, "is empty; mend it, or choose --missing=fill."),
        ("user", None, None, "is empty; mend it, or choose --missing=fill."),
        ("item", None, None, "is empty; mend it, or choose --missing=fill."),
        ("price", None, None, "is empty; mend it, or choose --missing=fill."),
        ("price", float("nan"), None, "is empty; mend it, or choose"),
        ("price", float("-inf"), None, "must be finite in float32; it is -inf"),
        ("price", 1e39, None, "must be finite in float32; it is 1e+39."),
        ("history", None, None, "is empty; mend it, or choose --missing=fill."),
        ("history", [3, None], None, "has an empty place in its list; mend"),
        ("user", 2**63, pa.uint64(), "holds an integer beyond 64 bits; add"),
    ],
)
def test_a_wrong_value_in_parquet(column, value, kind, problem, tmp_path):
    path = parquet_of(tmp_path, column, changed(column, 28, value, kind))
    message = refused(path)
    assert message.startswith(f"{path}, row 29: column {column!r} ")
    assert problem in message


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("user", pa.array([0.5] * 60), "integers or text and holds double"),
        ("item", pa.array([[1]] * 60), "single values and holds list<"),
        ("price", pa.array(["1.5"] * 60), "numbers and holds string"),
        ("history", pa.array([1] * 60), "part, and holds int64; convert it."),
        ("history", pa.array([[[1]]] * 60), "single values and holds list<"),
        ("history", pa.array([[0.5]] * 60), "integers or text and holds list"),
        ("click", pa.array([[1]] * 60), "single values and holds list<"),
    ],
)
def test_a_wrong_type_in_parquet(column, values, problem, tmp_path):
    path = parquet_of(tmp_path, column, values)
    message = refused(path)
    assert message.startswith(f"{path}: column {column!r} must hold ")
    assert problem in message


# Files.


@pytest.mark.parametrize(
    ("line", "count"),
    [("1,toys,3\n", 3), ("1,toys,3,i1,1.5,3,0,train,x\n", 9), ('1,"to\n', 2)],
)
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_too_many_or_too_few_cells(line, count, name, tmp_path):
    path = log_of(tmp_path, with_line(line), name)
    assert refused(path) == (
        f"{path}, line 30: there must be 8 cells, as on the first line, and "
        f"there are {count}; mend that line."
    )


def not_text(values, row):
    """Bytes that Parquet says are text, and one cell of which isn't."""
    cells = [str(value).encode() for value in values]
    cells[row] = b"\xff\xfe"
    return pa.array(cells, pa.binary()).view(pa.string())


@pytest.mark.parametrize("column", ["shop", "item", "click", "part", "history"])
def test_what_parquet_calls_text_and_is_none(column, tmp_path):
    values = arrow()[column].to_pylist()
    path = parquet_of(tmp_path, column, not_text(values, 20))
    message = refused(path, split="given", split_column="part")
    assert message.startswith(
        f"{path}, row 21: column {column!r} isn't UTF-8; save the file in UTF-8"
    )


def test_a_list_whose_text_is_none(tmp_path):
    items = not_text(range(120), 41)
    lists = pa.ListArray.from_arrays(pa.array(range(0, 121, 2)), items)
    path = parquet_of(tmp_path, "history", lists)
    assert refused(path).startswith(
        f"{path}, row 21: column 'history' isn't UTF-8; save the file in UTF-8"
    )


@pytest.mark.parametrize(
    ("delimiter", "name"),
    [(";", "log.csv"), ("\t", "log.csv"), (",", "log.tsv")],
)
def test_a_file_that_is_parted_otherwise(tmp_path, delimiter, name):
    path = tmp_path / name
    path.write_text(
        "click,shop,user,price\n1,toys,3,1.5\n".replace(",", delimiter)
    )
    said = f" If {delimiter!r} parts its cells, save it with commas, or with "
    message = refused(path)
    if delimiter == ",":
        assert "save it" not in message
    else:
        assert message.endswith(f"{said}tabs as .tsv.")


def test_no_feature_is_told_by_the_flags_that_name_one(tmp_path):
    path = log_of(tmp_path)
    message = refused(path, categorical=[], numeric=[], sequence=[])
    assert message.startswith("--categorical, --numeric or --sequence: name")


def test_a_missing_column(tmp_path):
    path = log_of(tmp_path)
    message = refused(path, numeric=["price", "age"])
    assert message.startswith(f"{path} has no column 'age'; it has 'click', ")
    assert "'nothing'" in refused(path, label="nothing")
    assert "'nothing'" in refused(path, domain="nothing")
    options = {"split": "given", "split_column": "nothing"}
    assert "'nothing'" in refused(path, **options)


def test_a_parquet_file_without_columns(tmp_path):
    pq.write_table(pa.table({}), tmp_path / "log.parquet")
    assert refused(tmp_path / "log.parquet") == (
        f"{tmp_path / 'log.parquet'} has no column 'click'; it has ."
    )


def test_columns_that_differ_between_files(tmp_path):
    first = log_of(tmp_path, name="a.csv")
    other = HEADER.replace("part", "version")
    second = log_of(tmp_path, name="b.csv", header=other)
    assert refused(tmp_path / "*.csv") == (
        f"{second} has no column 'part', and {first} has; all files of a log "
        "must have the same columns."
    )
    second = log_of(tmp_path, [], "b.csv", HEADER.replace("part", "part,new"))
    message = refused(tmp_path / "*.csv")
    assert message.startswith(f"{first} has no column 'new', and {second} has")


def test_a_column_that_is_there_twice(tmp_path):
    path = log_of(tmp_path, header=HEADER.replace("item", "user"))
    message = refused(path)
    assert message.startswith(f"{path}, line 1: the column 'user' is there tw")
    log = arrow().append_column("user", pa.array([*range(60)]))
    pq.write_table(log, tmp_path / "log.parquet")
    message = refused(tmp_path / "log.parquet")
    assert "the column 'user' is there twice; rename one." in message


def test_names_that_are_not_utf8(tmp_path):
    path = log_of(tmp_path, header=HEADER.replace("item", "item\udcff"))
    message = refused(path)
    assert message == (
        f"{path}, line 1: the names aren't UTF-8; save the file in UTF-8."
    )


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_an_empty_file(name, tmp_path):
    path = log_of(tmp_path, [], name, header="")
    assert refused(path) == f"{path} is empty; it needs a line of names first."


def test_no_rows(tmp_path):
    path = log_of(tmp_path, [])
    assert refused(path) == f"{path} holds no rows."
    log_of(tmp_path, [], "more.csv")
    message = refused(tmp_path / "*.csv")
    assert message.endswith("and all other files of the log hold no rows.")
    pq.write_table(arrow()[:0], tmp_path / "log.parquet")
    message = refused(tmp_path / "log.parquet")
    assert message.endswith("log.parquet holds no rows.")


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.02])
def test_a_truncated_gzip(kept, tmp_path):
    path = log_of(tmp_path, LINES * 3000, "log.csv.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = refused(path)
    assert message.startswith(f"{path} can't be read as csv (")
    assert message.endswith("; is it cut short? Copy it again.")


def test_a_gzip_that_is_none(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_text(HEADER)
    assert refused(path).startswith(f"{path} can't be read as csv (")


@pytest.mark.parametrize("kept", [0.9, 0.5, 0])
def test_a_truncated_parquet_file(kept, tmp_path):
    path = parquet_of(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = refused(path)
    assert message.startswith(f"{path} can't be read as Parquet (")
    assert message.endswith("; is it cut short? Copy it again.")


def test_a_damaged_parquet_file(tmp_path):
    path = parquet_of(tmp_path)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    assert refused(path).startswith(f"{path} can't be read as Parquet (")


def test_no_such_files(tmp_path):
    for name in ("log.csv", "*.csv", "**/*.parquet"):
        message = refused(tmp_path / name)
        assert message.startswith(
            f"--input={tmp_path / name}: there is no such"
        )
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "notes.txt").write_text("")
    assert "there is no such file" in refused(tmp_path / "logs")


def test_files_of_a_wrong_kind(tmp_path):
    path = log_of(tmp_path, name="log.txt")
    message = refused(path)
    assert message.startswith(f"{path}: a log's file must end in one of .parq")
    path.unlink()
    log_of(tmp_path, name="b.csv")
    parquet_of(tmp_path)
    assert "there are csv and Parquet files" in refused(tmp_path / "*")


def test_an_output_that_exists(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(PreparationError, match="out exists; add --overwrite"):
        table.prepare(tmp_path / "none.csv", tmp_path / "out", **FLAGS)


def test_an_error_at_the_end_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    path = log_of(tmp_path)
    monkeypatch.setattr(writer.Writer, "finish", full)
    with pytest.raises(OSError, match="No space left"):
        table.prepare(path, tmp_path / "out", **FLAGS)
    assert [one.name for one in tmp_path.iterdir()] == ["log.csv"]


def test_a_log_that_grows_while_it_is_read(tmp_path, monkeypatch):
    path = log_of(tmp_path)

    def grows(*arguments, **options):
        fitted = table_fit.fit(*arguments, **options)
        log_of(tmp_path, [*LINES, LINES[0]])
        return fitted

    monkeypatch.setattr(table, "fit", grows)
    with pytest.raises(PreparationError) as error:
        table.prepare(path, tmp_path / "out", **FLAGS)
    assert str(error.value) == (
        f"{path} has changed while it was read: it had 60 rows, and now has "
        "61; wait until it is whole."
    )
    assert [one.name for one in tmp_path.iterdir()] == ["log.csv"]


# Values that can't be learned from.


def test_a_column_of_too_many_domains(tmp_path, monkeypatch):
    monkeypatch.setattr(table_survey, "MAX_DOMAINS", 8)
    path = log_of(tmp_path)
    options = {"domain": "user", "categorical": ["item"]}
    assert refused(path, **options) == (
        "column 'user' has more than 8 values, and a model has weights for "
        "each domain; name another column as --domain, or those to keep as "
        "--domain_values."
    )
    monkeypatch.undo()
    table.prepare(path, tmp_path / "all", **{**FLAGS, **options})


def test_some_domains_may_be_kept_of_too_many(tmp_path, monkeypatch):
    path = log_of(tmp_path)
    options = {"domain": "user", "categorical": ["item"]}
    both = {**FLAGS, **options, "domain_values": ["4", "1"]}
    expected = table.prepare(path, tmp_path / "all", **both)
    assert set(expected["counts"]["train"]) == {"4", "1"}
    monkeypatch.setattr(table_survey, "MAX_DOMAINS", 1)
    assert table.prepare(path, tmp_path / "few", **both) == expected
    message = refused(path, **options, domain_values=["1", "77"])
    assert "no row with the domain '77'" in message


def test_a_vocabulary_over_the_limit(tmp_path):
    path = log_of(tmp_path)
    message = refused(path, max_vocabulary=5)
    assert message == (
        "the column 'user' has 9 values, and --max_vocabulary is 5; choose a "
        "higher --min_count, or leave it out."
    )


def test_a_vocabulary_of_nothing(tmp_path):
    path = log_of(tmp_path)
    message = refused(path, min_count=50)
    assert message.startswith("no value of the column 'user' is 50 times in t")
    empty = [line.replace(line.split(",")[5], "") for line in LINES]
    path = log_of(tmp_path, empty)
    message = refused(path)
    assert message.startswith("no value of the column 'history' is once in th")


@pytest.mark.parametrize("buckets", [0, 4])
def test_a_number_that_is_always_missing(buckets, tmp_path):
    rows = [line.replace(line.split(",")[4], "") for line in LINES]
    path = log_of(tmp_path, rows)
    message = refused(path, missing="fill", buckets=buckets)
    assert message == (
        "column 'price' is empty in all training rows; leave it out."
    )


def test_columns_of_one_table_and_two_types(tmp_path):
    path = log_of(tmp_path)
    config = {
        "label": "click",
        "domain": "shop",
        "categorical": ["item"],
        "sequence": {"history": {"target": "item"}},
    }
    (tmp_path / "c.json").write_text(json.dumps(config))
    with pytest.raises(PreparationError) as error:
        table.prepare(path, tmp_path / "out", config=tmp_path / "c.json")
    assert str(error.value) == (
        "columns 'item' and 'history' share the table 'item', but one holds "
        "integers and the other text; add --strings=item,history."
    )


# Splits.


def test_every_split_needs_rows(tmp_path):
    path = log_of(tmp_path, LINES[:3])
    assert "no row is left for the" in refused(path)
    path = log_of(tmp_path, [line.replace("test", "val") for line in LINES])
    options = {"split": "given", "split_column": "part"}
    assert refused(path, **options) == (
        "no row is left for the test split: see that the column of "
        "--split_column names all three."
    )
    path = log_of(tmp_path, with_cell("time", "0", 2)[:1] * 9)
    options = {"split": "time", "split_column": "time"}
    message = refused(path, **options)
    assert message.startswith("no row is left for the train split: too many")


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("tset", "must be train, valid or test; it is 'tset'."),
        ("", "must be train, valid or test; it is ''."),
    ],
)
def test_a_wrong_given_split(cell, problem, tmp_path):
    path = log_of(tmp_path, with_cell("part", cell))
    message = refused(path, split="given", split_column="part")
    assert message == f"{path}, line 30: column 'part' {problem}"


BY_TIME = {"split": "time", "split_column": "time"}


@pytest.mark.parametrize(
    ("cell", "number", "problem"),
    [
        ("", 30, "is empty; mend it."),
        ("noon", 30, "must be one of the integers that "),
        ("noon", 2, "must be a number or a time, as in 2026-01-31 23:59:59; "),
        ("5.5", 30, "must be one of the integers that "),
        ("2026-01-31", 30, "must be one of the integers that "),
    ],
)
def test_a_wrong_time(cell, number, problem, tmp_path):
    path = log_of(tmp_path, with_cell("time", cell, number))
    message = refused(path, **BY_TIME)
    where = f"{path}, line {number}: column 'time' "
    assert message.startswith(where + problem)


def test_wrong_times_in_parquet(tmp_path):
    times = changed("time", 28, None)
    path = parquet_of(tmp_path, "time", times)
    message = refused(path, **BY_TIME)
    assert message == f"{path}, row 29: column 'time' is empty; mend it."
    times = changed("time", 28, float("nan"), pa.float64())
    path = parquet_of(tmp_path, "time", times)
    message = refused(path, **BY_TIME)
    assert (
        message == f"{path}, row 29: column 'time' must be finite; it is nan."
    )
    path = parquet_of(tmp_path, "time", pa.array([True] * 60))
    assert "must be a number or a time" in refused(path, **BY_TIME)
    first = parquet_of(tmp_path, name="a.parquet")
    days = arrow()["time"].cast(pa.int32()).cast(pa.date32())
    second = parquet_of(tmp_path, "time", days, name="b.parquet")
    assert refused(tmp_path / "[ab].parquet", **BY_TIME) == (
        f"{second}: column 'time' holds times, and {first} integers; convert "
        "one of them."
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"split": "sorted"}, "--split must be one of random, time, given"),
        ({"split": "time"}, "--split=time needs --split_column: the column of"),
        ({"split": "given"}, "the column of train, valid and test."),
        (
            {"split_column": "time"},
            "--split=random has no --split_column; it i",
        ),
        ({"fractions": [0.8, 0.2]}, "--fractions must be three positive numb"),
        ({"fractions": [0.8, 0.2, 0]}, "as in 0.8,0.1,0.1; they are 0.8,0.2,0"),
        ({"fractions": [0.8, 0.2, 0.2]}, "three positive numbers that add up"),
        ({"fractions": ["a", "b", "c"]}, "--fractions: could not convert str"),
        (
            {
                "split": "given",
                "split_column": "time",
                "fractions": [0.5, 0.3, 0.2],
            },
            "--split=given has no --fractions; they are 0.5,0.3,0.2. Leave "
            "them out: the column 'time' says each row's split.",
        ),
    ],
)
def test_a_wrong_split(options, problem, tmp_path):
    assert problem in refused(log_of(tmp_path), **options)


@pytest.mark.parametrize(
    "name",
    [
        *("user", "User2", "a_b", "u", "domains", "2user", "_user", "", "a b"),
        *("a-b", "é", "a.b", "a\n", "user ", "A1_"),
        *("class", "from", "self", "None", "Class", "match", "type"),
    ],
)
def test_names_are_those_of_the_schema(name):
    """What the schema takes for a name, and nothing else, is taken here."""
    try:
        schema_checks.check_input_name(name, "a name")
    except schema_checks.SchemaError:
        with pytest.raises(PreparationError):
            table_checks.check_input_name("", name)
    else:
        table_checks.check_input_name("", name)


def test_a_name_that_no_input_can_have(tmp_path):
    header = HEADER.replace("price", "the price")
    path = log_of(tmp_path, header=header)
    message = refused(path, numeric=["the price"])
    assert message.startswith("'the price' can't name an input of a model: ")


def test_a_runners_options_need_a_runner(tmp_path):
    with pytest.raises(PreparationError, match=r"name one by --runner, such"):
        table.prepare("log.csv", tmp_path / "out", beam_options="--x=1")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_error_names_the_other_rows_that_have_it(tmp_path, kind):
    bad = {2, 3, 5, *range(20, 40)}
    prices = [None if row in bad else 1.5 for row in range(50)]
    path = tmp_path / f"log.{kind}"
    columns = {
        "click": [row % 2 for row in range(50)],
        "shop": ["a"] * 50,
        # Some rows take two lines of a csv.
        "item": ["x\ny" if row == 1 else "z" for row in range(50)],
        "price": prices,
    }
    if kind == "csv":
        pa.csv.write_csv(pa.table(columns), path)
    else:
        pq.write_table(pa.table(columns), path)
    with pytest.raises(PreparationError) as error:
        table.prepare(
            path,
            tmp_path / "out",
            label="click",
            domain="shop",
            categorical=["item"],
            numeric=["price"],
        )
    first, *others = [2, 3, 5, 20, 21, 22, 23, 24, 25, 26]
    shift, word = (3, "line") if kind == "csv" else (1, "row")
    assert f"{path}, {word} {first + shift}: column 'price' is empty" in str(
        error.value
    )
    places = ", ".join(f"{word} {row + shift}" for row in others)
    assert str(error.value).endswith(
        f"The same in {places}, 13 more of the 50 rows read with it."
    )


def test_every_number_that_is_none_is_found(tmp_path):
    path = tmp_path / "log.csv"
    cells = ["1", "1,5", "", "2e3", "x", "nan", "-", "7"]
    lines = [f'{row % 2},a,"{cell}"' for row, cell in enumerate(cells)]
    path.write_text("\n".join(["click,shop,price", *lines, ""]))
    with pytest.raises(PreparationError, match=r"line 3: .*; it is '1,5'\. The "
                       r"same in line 6, line 8 of the 8"):  # fmt: skip
        table.prepare(
            path,
            tmp_path / "out",
            label="click",
            domain="shop",
            numeric=["price"],
            missing="fill",
        )
