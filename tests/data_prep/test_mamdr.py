import io
import json
import tarfile
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep import csv_blocks
from data_prep import mamdr
from data_prep import mamdr_json
from data_prep.layout import PreparationError
from mlora_tf import data
from tests import programs

HEADER = "uid,pid,domain,label"
FILES = {"train": "train", "val": "valid", "test": "test"}

# By number and file, the rows of a domain: uid, pid, label. Domain 10 comes
# after 2 by number, and before it by name.
DOMAINS = {
    0: {
        "train": [(3, 0, 1), (0, 2, 0), (3, 0, 1), (1, 1, 0)],
        "val": [(0, 0, 1)],
        "test": [(2, 1, 0), (3, 0, 1)],
    },
    10: {
        "train": [(1, 1, 1)],
        "val": [(1, 0, 0), (2, 2, 0)],
        "test": [(0, 2, 1)],
    },
    2: {
        "train": [(2, 2, 0), (3, 1, 1)],
        "val": [],
        "test": [(1, 2, 1)],
    },
}
NAMES = {0: "theme_0", 2: "theme_7", 10: "theme_1"}
USERS = {"901": 0, "7": 2, "-88": 1, "6": 3}
ITEMS = {"B00A": 2, "10": 0, "B00C": 1}
USER_VECTORS = {0: "1 2", 1: "3 4", 2: "-5.5 0", 3: "1e-3 6"}


def csv(number, rows):
    lines = [f"{uid},{pid},{number},{label}" for uid, pid, label in rows]
    return "".join(f"{line}\n" for line in (HEADER, *lines))


def raw_files(domains=DOMAINS):
    """The text of each file of a data set, by its path."""
    files = {
        f"domain_{number}/{name}.csv": csv(number, rows)
        for number, of_domain in domains.items()
        for name, rows in of_domain.items()
    }
    for number, name in NAMES.items():
        files[f"domain_{number}/domain_property.json"] = json.dumps(
            {"domain_name": name, "n_uid": 4, "ctr_ratio": 0.3, "pid_range": []}
        )
    for name, ids in (("uid", USERS), ("pid", ITEMS)):
        files[f"processed_data/{name}2id.json"] = json.dumps(
            {"id": len(ids), "raw_id2id": ids}
        )
    files["processed_data/user_emb.json"] = json.dumps(USER_VECTORS)
    return files


def folder(path, files=None):
    """Writes the files, given as their texts; None leaves one out."""
    for name, text in (files or raw_files()).items():
        if text is not None:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
    return path


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def schema(path):
    return json.loads((path / "schema.json").read_text())


def manifest(path):
    return json.loads((path / "manifest.json").read_text())


def rows(path):
    """By split, the rows in their order: domain's name, ids, label."""
    names = schema(path)["domain"]["values"]
    found = {}
    for split in FILES.values():
        columns = pq.read_table(path / f"{split}.parquet").to_pydict()
        found[split] = [
            (names[domain], user, item, label)
            for domain, user, item, label in zip(
                *(columns[key] for key in ("domain", "user", "item", "label")),
                strict=True,
            )
        ]
    return found


def expected(order, names=NAMES, domains=DOMAINS):
    return {
        split: [
            (names[number], uid + 1, pid + 1, label)
            for number in order
            for uid, pid, label in domains[number][name]
        ]
        for name, split in FILES.items()
    }


# What is kept.


def test_rows_splits_and_ids_are_kept(tmp_path):
    mamdr.prepare(folder(tmp_path / "raw"), tmp_path / "out")
    assert rows(tmp_path / "out") == expected([0, 2, 10])
    assert manifest(tmp_path / "out")["dataset"] == "mamdr"


def test_the_schema_has_the_raw_ids(tmp_path):
    mamdr.prepare(folder(tmp_path / "raw"), tmp_path / "out")
    assert schema(tmp_path / "out") == {
        "format": "mlora_tf.schema/1",
        "features": [
            {
                "kind": "sparse",
                "name": "user",
                "vocabulary": [901, -88, 7, 6],
                "vectors": 2,
            },
            {
                "kind": "sparse",
                "name": "item",
                # Integers where all of them are.
                "vocabulary": ["10", "B00C", "B00A"],
            },
        ],
        "domain": {
            "name": "domain",
            "values": ["theme_0", "theme_7", "theme_1"],
        },
        "label": "label",
    }


def test_vectors_with_the_mean_first(tmp_path):
    mamdr.prepare(folder(tmp_path / "raw"), tmp_path / "out")
    np.testing.assert_array_equal(
        np.load(tmp_path / "out" / "vectors.user.npy"),
        np.array(
            [
                [(1 + 3 - 5.5 + 1e-3) / 4, 3],
                [1, 2],
                [3, 4],
                [-5.5, 0],
                [1e-3, 6],
            ],
            np.float32,
        ),
    )
    log = data.load(tmp_path / "out")
    assert log.schema.vectors == {"user": 2}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_vectors_are_the_same_parsed_in_parts(size, tmp_path, monkeypatch):
    raw = folder(tmp_path / "raw")
    mamdr.prepare(raw, tmp_path / "out")
    monkeypatch.setattr(mamdr_json, "AT_ONCE", size)
    mamdr.prepare(raw, tmp_path / "parts")
    assert contents(tmp_path / "out") == contents(tmp_path / "parts")


def test_the_csv_files_alone_are_enough(tmp_path):
    files = {
        name: text
        for name, text in raw_files().items()
        if name.endswith(".csv")
    }
    mamdr.prepare(folder(tmp_path / "raw", files), tmp_path / "out")
    names = {number: f"domain_{number}" for number in DOMAINS}
    assert rows(tmp_path / "out") == expected([0, 2, 10], names)
    assert [
        one["vocabulary"] for one in schema(tmp_path / "out")["features"]
    ] == [
        [0, 1, 2, 3],
        [0, 1, 2],
    ]
    assert set(manifest(tmp_path / "out")["sources"]) == set(files)


def test_a_size_alone_as_the_movielens_of_the_published_code_has_it(tmp_path):
    files = raw_files()
    files["processed_data/uid2id.json"] = '{"id": 6}'
    files["processed_data/pid2id.json"] = '{"id": 3, "raw_id2id": {}}'
    files["processed_data/user_emb.json"] = None
    files["domain_2/domain_property.json"] = '{"domain_name": 2}'
    files["domain_0/train.csv"] = (
        files["domain_0/train.csv"]
        .replace(",1\n", ",1.0\n")
        .replace(",0\n", ",0.0\n")
    )
    mamdr.prepare(folder(tmp_path / "raw", files), tmp_path / "out")
    user, item = schema(tmp_path / "out")["features"]
    assert user["vocabulary"] == list(range(6))
    assert item["vocabulary"] == list(range(3))
    names = {**NAMES, 2: "domain_2"}
    assert rows(tmp_path / "out") == expected([0, 2, 10], names)


def test_vocabularies_may_lie_beside_the_domains(tmp_path):
    files = {
        name.removeprefix("processed_data/"): text
        for name, text in raw_files().items()
    }
    mamdr.prepare(folder(tmp_path / "flat", files), tmp_path / "one")
    mamdr.prepare(folder(tmp_path / "raw"), tmp_path / "two")
    one, two = tmp_path / "one", tmp_path / "two"
    assert schema(one) == schema(two)
    assert rows(one) == rows(two)
    assert (one / "vectors.user.npy").read_bytes() == (
        two / "vectors.user.npy"
    ).read_bytes()


def test_numbers_that_json_has_made_equal_stay_strings(tmp_path):
    files = raw_files()
    ids = {"01": 0, "1": 1, "2": 2}
    files["processed_data/pid2id.json"] = json.dumps(
        {"id": 3, "raw_id2id": ids}
    )
    mamdr.prepare(folder(tmp_path / "raw", files), tmp_path / "out")
    item = schema(tmp_path / "out")["features"][1]
    assert item["vocabulary"] == ["01", "1", "2"]


def test_the_folders_number_counts(tmp_path, caplog):
    files = raw_files()
    for name in FILES:
        files[f"domain_2/{name}.csv"] = csv(5, DOMAINS[2][name])
    with caplog.at_level("WARNING", "absl"):
        mamdr.prepare(folder(tmp_path / "raw", files), tmp_path / "out")
    assert rows(tmp_path / "out") == expected([0, 2, 10])
    assert (
        "domain_2/train.csv says domain 5 in every row; the folder's number, "
        "2, counts." in caplog.text
    )


@pytest.mark.parametrize("size", [30, 50, 1000])
def test_blocks_of_any_size_give_the_same_bytes(size, tmp_path, monkeypatch):
    raw = folder(tmp_path / "raw")
    mamdr.prepare(raw, tmp_path / "whole")
    monkeypatch.setattr(csv_blocks, "BLOCK", size)
    mamdr.prepare(raw, tmp_path / "blocks")
    assert contents(tmp_path / "whole") == contents(tmp_path / "blocks")


# Domains of one class.


def one_class():
    label = {1: 1, 2: 0}
    more = {
        number: {name: [(2, 2, label[number])] for name in FILES}
        for number in label
    }
    return {0: DOMAINS[0], 1: more[1], 2: more[2], 10: DOMAINS[10]}


def test_domains_of_one_class_are_named(tmp_path, caplog):
    raw = folder(tmp_path / "raw", raw_files(one_class()))
    with caplog.at_level("WARNING", "absl"):
        mamdr.prepare(raw, tmp_path / "out")
    assert "'domain_1' has no AUC: all of its 3 rows are clicks" in caplog.text
    assert "'theme_7' has no AUC: none of its 3 rows is a cl" in caplog.text
    names = {**NAMES, 1: "domain_1"}
    assert rows(tmp_path / "out") == expected([0, 1, 2, 10], names, one_class())


def test_domains_of_one_class_may_be_dropped(tmp_path):
    raw = folder(tmp_path / "raw", raw_files(one_class()))
    mamdr.prepare(raw, tmp_path / "out", drop_one_class_domains=True)
    assert rows(tmp_path / "out") == expected([0, 10])
    assert schema(tmp_path / "out")["domain"]["values"] == [
        "theme_0",
        "theme_1",
    ]
    assert manifest(tmp_path / "out")["options"] == {
        "drop_one_class_domains": True
    }


# The forms of the input.


def zipped(path, files, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{prefix}{name}", text)
    return path


def tarred(path, files, prefix=""):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{prefix}{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def test_every_form_of_the_input_gives_the_same_bytes(tmp_path):
    files = raw_files()
    backwards = dict(reversed(files.items()))
    folder(tmp_path / "raw")
    folder(tmp_path / "deep" / "in" / "it")
    zipped(tmp_path / "flat.zip", files)
    zipped(tmp_path / "backwards.zip", backwards, "Taobao/split_10/")
    tarred(tmp_path / "raw.tar.gz", files, "./Taobao/")
    tarred(tmp_path / "no_suffix", backwards)
    outputs = []
    for name in (
        "raw",
        "raw",
        "deep",
        "flat.zip",
        "backwards.zip",
        "raw.tar.gz",
        "no_suffix",
    ):
        outputs.append(tmp_path / f"out{len(outputs)}")
        mamdr.prepare(tmp_path / name, outputs[-1])
    first, *others = map(contents, outputs)
    assert len(first) == 7
    assert others == [first] * 6
    sources = json.loads(first["manifest.json"])["sources"]
    assert {name: one["bytes"] for name, one in sources.items()} == {
        name: len(text) for name, text in files.items()
    }


def test_one_of_several_data_sets(tmp_path):
    files = raw_files()
    raw = {f"split_10/{name}": text for name, text in files.items()}
    small = {0: DOMAINS[0]}
    raw |= {
        f"more/split_1/{name}": text for name, text in raw_files(small).items()
    }
    path = zipped(tmp_path / "raw.zip", raw)
    assert_refuses(
        path,
        "raw.zip holds the domains of several data sets, in more/split_1/, "
        "split_10/; name one as --subset.",
    )
    assert_refuses(path, "raw.zip/none holds no domain_0/train", subset="none")
    for subset in ("more/split_1", "more/split_1/"):
        mamdr.prepare(path, tmp_path / "out", subset, overwrite=True)
        assert rows(tmp_path / "out") == expected([0], domains=small)
    mamdr.prepare(path, tmp_path / "other", "split_10")
    mamdr.prepare(folder(tmp_path / "raw"), tmp_path / "same")
    assert contents(tmp_path / "other") == contents(tmp_path / "same")


def test_what_else_lies_there_is_left_alone(tmp_path):
    files = raw_files() | {
        "__MACOSX/domain_0/._train.csv": "\0",
        "domain_x/train.csv": "no",
        "my_domain_0/train.csv": "no",
        "domain_0/old/train.csv": "no",
        "domain_77/train.csv.bak": "no",
        "README": "\xff",
    }
    mamdr.prepare(folder(tmp_path / "more", files), tmp_path / "one")
    mamdr.prepare(folder(tmp_path / "raw"), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


# Mistakes in the files: each names the file, the line and the value.


def assert_refuses(raw, *messages, **options):
    """The error is one line that says all this; nothing is written."""
    output = raw.parent / "out" / "mamdr"
    with pytest.raises(PreparationError) as error:
        mamdr.prepare(raw, output, **options)
    for message in messages:
        assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not output.parent.exists()


def changed(path, name, text):
    return folder(path, raw_files() | {name: text})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("3,0,0", "there must be 4 columns, uid,pid,domain,label, and there a"),
        ("3,0,0", "there are 3 in '3,0,0'"),
        ("3,0,0,1,1", "there are 5 in"),
        ("3,0,0,2", "label must be 0 or 1, and is '2'"),
        ("3,0,0,-1", "label must be 0 or 1, and is '-1'"),
        ("3,0,0,0.5", "label must be 0 or 1, and is '0.5'"),
        ("3,0,0,nan", "label must be 0 or 1, and is 'nan'"),
        ("3,0,0,", "label must be 0 or 1, and is ''"),
        ("3,0,0,True", "label must be 0 or 1, and is 'True'"),
        ("-1,0,0,1", "uid must not be negative, and is -1"),
        ("3,-2,0,1", "pid must not be negative, and is -2"),
        ("4,0,0,1", "uid must be below 4, the size by "),
        ("4,0,0,1", "processed_data/uid2id.json, and is 4"),
        ("3,3,0,1", "pid must be below 3, the size by "),
        ("nan,0,0,1", "uid must be an integer, and is 'nan'"),
        ("3.0,0,0,1", "uid must be an integer, and is '3.0'"),
        ("3,B00A,0,1", "pid must be an integer, and is 'B00A'"),
        (",0,0,1", "uid must be an integer, and is ''"),
        ("", "uid must be an integer, and is ''"),
        ("3,0,1,1", "domain must be 0, as in the rows before, and is 1"),
        ("3,0,-1,1", "domain must not be negative, and is -1"),
        ("3,0,x,1", "domain must be an integer, and is 'x'"),
    ],
)
@pytest.mark.parametrize("block", [1 << 22, 32])
def test_a_wrong_row(line, problem, block, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK", block)
    lines = csv(0, DOMAINS[0]["train"]).splitlines()
    lines[3] = line
    raw = changed(tmp_path / "raw", "domain_0/train.csv", "\n".join(lines))
    assert_refuses(raw, f"{raw}/domain_0/train.csv, line 4: ", problem)


@pytest.mark.parametrize("block", [28, 42, 1 << 22])
def test_a_domain_that_changes_with_the_block(block, tmp_path, monkeypatch):
    # Line 12 begins at byte 80 below the header.
    text = "\n".join([HEADER, *["3,0,0,1"] * 10, *["3,0,1,1"] * 10])
    raw = changed(tmp_path / "raw", "domain_0/train.csv", text)
    monkeypatch.setattr(csv_blocks, "BLOCK", block)
    assert_refuses(raw, "line 12: domain must be 0, as in the rows before")


def test_a_row_that_is_cut_off(tmp_path):
    text = csv(0, DOMAINS[0]["test"])
    for cut, problem in (
        (2, "line 3: label must be 0 or 1, and is ''"),
        (3, "line 3: there must be 4 columns"),
        (6, "line 3: there must be 4 columns"),
    ):
        raw = changed(tmp_path / "raw", "domain_0/test.csv", text[:-cut])
        assert_refuses(raw, "domain_0/test.csv", problem)


def test_ids_without_a_vocabulary_are_bounded(tmp_path):
    files = raw_files()
    files["processed_data/uid2id.json"] = None
    files["processed_data/user_emb.json"] = None
    files["domain_0/val.csv"] = f"{HEADER}\n100000000,0,0,1\n"
    raw = folder(tmp_path / "raw", files)
    assert_refuses(
        raw,
        "domain_0/val.csv, line 2: uid must be below 100,000,000, the most "
        "ids of a table, and is 100000000",
    )


def test_files_of_one_folder_that_differ_in_domain(tmp_path):
    raw = changed(
        tmp_path / "raw", "domain_2/test.csv", csv(3, DOMAINS[2]["test"])
    )
    assert_refuses(
        raw,
        "domain_2/test.csv: its domain is 3, and that of ",
        "domain_2/train.csv is 2: a folder's rows must be of one domain",
    )


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (
            "uid,pid\rdomain,label",
            "the names of the columns can't be read (new",
        ),
        ("uid,pid,label", "and 'domain' is missing"),
        ("uid,pid,domain,click", "and 'label' is missing"),
        (f"{HEADER},time", "and 'time' is one too many"),
        ("", "is empty, or has no line of column names"),
    ],
)
def test_a_wrong_header(header, problem, tmp_path):
    text = csv(0, DOMAINS[0]["val"]).replace(HEADER, header)
    raw = changed(tmp_path / "raw", "domain_0/val.csv", text)
    assert_refuses(raw, "domain_0/val.csv", problem)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_of_a_split(name, tmp_path):
    raw = changed(tmp_path / "raw", f"domain_10/{name}.csv", None)
    assert_refuses(raw, f"raw/domain_10/ holds no {name}.csv; fetch it again")


def test_a_domain_without_rows(tmp_path):
    empty = {0: DOMAINS[0], 2: {name: [] for name in FILES}}
    raw = folder(tmp_path / "raw", raw_files(empty))
    assert_refuses(raw, "domain 'theme_7' has no rows; leave it out")


def test_a_split_without_rows(tmp_path):
    raw = folder(tmp_path / "raw", raw_files({2: DOMAINS[2]}))
    assert_refuses(raw, "no row is left for the valid split")


def test_a_domain_that_is_there_twice(tmp_path):
    domains = {0: DOMAINS[0], "00": DOMAINS[0]}
    raw = folder(tmp_path / "raw", raw_files(domains))
    assert_refuses(raw, "domain_0/ and domain_00/ are the same domain; remove")


def test_a_domains_name_that_is_there_twice(tmp_path):
    name = "domain_10/domain_property.json"
    raw = changed(tmp_path / "raw", name, '{"domain_name": "theme_7"}')
    assert_refuses(
        raw, "domain_2/ and domain_10/ have the domain_name 'theme_7'"
    )


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("uid2id", "{", "uid2id.json isn't JSON (Expecting property name"),
        ("uid2id", "[" * 100_000, "uid2id.json isn't JSON ("),
        ("uid2id", "[1]", "uid2id.json must hold a JSON object"),
        ("uid2id", "{}", "the number of ids, must be an integer from 1 to 1"),
        ("uid2id", '{"id": 0}', "000,000, and is '0'"),
        ("uid2id", '{"id": true}', "000,000, and is 'True'"),
        ("uid2id", '{"id": 1e3}', "000,000, and is '1000.0'"),
        ("uid2id", '{"id": 100000001}', "000,000, and is '100000001'"),
        ("uid2id", '{"id": 1, "raw_id2id": [0]}', "must give each raw id an i"),
        (
            "uid2id",
            '{"id": 1, "raw_id2id": {"a": "0"}}',
            "must give each raw id an integer",
        ),
        # A rerun of the published code gives raw ids a second id.
        (
            "uid2id",
            '{"id": 2, "raw_id2id": {"a": 1}}',
            "must give each of the ids 0 to 1 to one raw id; fetch it again, ",
        ),
        (
            "pid2id",
            '{"id": 3, "raw_id2id": {"a": 1, "b": 1, "c": 2}}',
            "must give each of the ids 0 to 2 to one raw id",
        ),
        ("user_emb", '{"0": "1 2"}', "id 1 must have a vector, a string of"),
        (
            "user_emb",
            '{"0": 1}',
            "id 0 must have a vector, a string of numbers",
        ),
        ("user_emb", '{"0": "\\ud800"}', "id 0 must have a vector, a string"),
        (
            "user_emb",
            json.dumps(USER_VECTORS | {4: "1 2"}),
            "user_emb.json: '4' is none of the ids 0 to 3",
        ),
        (
            "user_emb",
            json.dumps(USER_VECTORS | {2: "1 2 3"}),
            "user_emb.json, id 2: a vector must have 2 numbers, as the first",
        ),
        (
            "user_emb",
            json.dumps(USER_VECTORS | {3: "1 x"}),
            "user_emb.json, id 3: a vector must hold numbers that are finite",
        ),
        (
            "user_emb",
            json.dumps(USER_VECTORS | {3: "nan 1"}),
            "in float32, and number 1 is 'nan'",
        ),
    ],
)
@pytest.mark.parametrize("at_once", [10_000, 1])
def test_wrong_json(name, text, problem, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(mamdr_json, "AT_ONCE", at_once)
    raw = changed(tmp_path / "raw", f"processed_data/{name}.json", text)
    assert_refuses(raw, f"{raw}/processed_data/{name}.json", problem)


@pytest.mark.parametrize("value", ['""', "1.5", "null", "true", "[]"])
def test_a_wrong_name_of_a_domain(value, tmp_path):
    name = "domain_2/domain_property.json"
    raw = changed(tmp_path / "raw", name, f'{{"domain_name": {value}}}')
    assert_refuses(raw, f"{raw}/{name}: 'domain_name' must be a string, and is")


# Mistakes around the files.


def test_no_such_path(tmp_path):
    assert_refuses(tmp_path / "raw.zip", "raw.zip doesn't exist; name the fol")


def test_no_domains(tmp_path):
    raw = folder(tmp_path / "raw", {"train.csv": HEADER})
    assert_refuses(raw, "raw holds no domain_0/train.csv or the like; name")


def test_not_an_archive(tmp_path):
    (tmp_path / "raw.zip").write_text("<html>404 Not Found</html>")
    assert_refuses(tmp_path / "raw.zip", "raw.zip: can't be read (")


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_archive(make, share, tmp_path):
    path = make(tmp_path / "raw", raw_files())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refuses(path, "raw: can't be read (")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_damage_anywhere_is_refused_or_harmless(make, tmp_path):
    path = make(tmp_path / "raw", raw_files())
    mamdr.prepare(path, tmp_path / "good")
    expected_contents = contents(tmp_path / "good")
    content = path.read_bytes()
    refused = 0
    for position in range(0, len(content), len(content) // 60):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            mamdr.prepare(path, tmp_path / "out", overwrite=True)
        except PreparationError:
            refused += 1
        else:
            assert contents(tmp_path / "out") == expected_contents
    assert refused > 30


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize(
    "name", ["../domain_3/train.csv", "/domain_3/train.csv", "a/../../b"]
)
def test_an_archive_that_climbs_out_is_refused(make, name, tmp_path):
    path = make(tmp_path / "raw", raw_files() | {name: HEADER})
    assert_refuses(path, f"its member {name!r} climbs out of the archive, so")


def test_an_archive_with_a_link_is_refused(tmp_path):
    path = tmp_path / "raw.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder(tmp_path / "raw"), "raw")
        link = tarfile.TarInfo("raw/domain_3/train.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert_refuses(path, "its member 'raw/domain_3/train.csv' is a link or a")


def test_the_output_is_checked_before_the_input(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(PreparationError, match="out exists; add --overwrite"):
        mamdr.prepare(tmp_path / "missing.zip", tmp_path / "out")


# The binary.


def test_the_binary(tmp_path):
    files = {f"a/{name}": text for name, text in raw_files(one_class()).items()}
    files |= {f"b/{name}": text for name, text in raw_files().items()}
    path = zipped(tmp_path / "raw.zip", files)

    def run(*more):
        flags = [f"--raw={path}", f"--output={tmp_path / 'out'}", *more]
        return programs.run("data_prep.mamdr", *flags)

    result = run("--subset=a", "--drop_one_class_domains")
    assert result.returncode == 0, result.stderr
    assert "It is dropped." in result.stderr
    assert "train: 5 rows" in result.stderr
    mamdr.prepare(path, tmp_path / "same", "a", drop_one_class_domains=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "same")
    # Flags are broken into lines in the help.
    told = " ".join(run("--helpshort").stdout.split())
    assert "--seed: Noted in the manifest; nothing here is random." in told
    result = run("--overwrite")
    assert result.returncode == 1
    assert result.stderr.endswith("in a/, b/; name one as --subset.\n")
    assert result.stderr.startswith(f"error: {path} holds the domains of sever")
