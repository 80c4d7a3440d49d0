import functools
import io
import itertools
import json
import random
import stat
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep import csv_blocks
from data_prep import taobao
from data_prep.layout import PreparationError
from data_prep.taobao_files import ITEMS
from data_prep.taobao_files import LOG
from data_prep.taobao_files import USERS
from mlora_tf import data
from tests import programs

SPLITS = ("train", "valid", "test")
HEADER = "user_id,item_id,theme_id,reach_time"
TIME = "2019-06-13 04:32:05"

# Theme 70 is first in the log, but all its clicks lack a vector. Theme 900
# comes next, then 30, then 5.
KNOWN_USERS = {901: (1, 2, -3), 7: (4, 5.5, 6), 88: (-1e-3, 0, 9), 6: (0, 0, 1)}
KNOWN_ITEMS = {3: (1, 0, 0), 40: (0, 1, 0), 500: (0, 0, 1), 41: (2, 2, 2)}
CLICKS = [
    (1000, 3, 70),  # no such user
    (901, 500, 900),
    (88, 3, 30),
    (901, 9999, 70),  # no such item
    (7, 500, 900),
    (901, 500, 900),  # again
    (7, 40, 30),
    (7, 40, 900),
    (7, 40, 5),
    (6, 3, 5),
    (88, 9999, 900),  # no such item
]


def log(clicks=CLICKS):
    rows = [f"{user},{item},{theme},{TIME}" for user, item, theme in clicks]
    return "".join(f"{line}\n" for line in (HEADER, *rows))


def table(vectors, name="user_id"):
    rows = [
        f"{one},{' '.join(map(str, numbers))}"
        for one, numbers in vectors.items()
    ]
    return "".join(f"{line}\n" for line in (f"{name},embedding", *rows))


def raw(path, clicks=None, users=None, items=None):
    """Writes the three files, each given as its text."""
    path.mkdir(exist_ok=True)
    (path / LOG).write_text(clicks or log())
    (path / USERS).write_text(users or table(KNOWN_USERS))
    (path / ITEMS).write_text(items or table(KNOWN_ITEMS, "item_id"))
    return path


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def schema(path):
    return json.loads((path / "schema.json").read_text())


def rows(path):
    """Every row as (split, domain's name, raw user, raw item, label)."""
    content = schema(path)
    users, items = (one["vocabulary"] for one in content["features"])
    names = content["domain"]["values"]
    found = []
    for split in SPLITS:
        columns = pq.read_table(path / f"{split}.parquet").to_pydict()
        for user, item, domain, label in zip(
            *(columns[name] for name in ("user", "item", "domain", "label")),
            strict=True,
        ):
            row = names[domain], users[user - 1], items[item - 1], label
            found.append((split, *row))
    return found


def clicks_of(path):
    return sorted(row[1:4] for row in rows(path) if row[4])


# A log that is large enough for all splits: in theme t, the user u has clicked
# t + u items, from item u on. Users 0 to 9 have vectors, and items 0 to 29.
MANY = [
    (user, user + step, theme)
    for theme in (3, 1, 2)
    for user in range(10)
    for step in range(theme + user)
]


def many(path, **files):
    users = {user: (user, 1) for user in range(9, -1, -1)}
    items = {item: (item, -item) for item in range(30)}
    return raw(
        path,
        files.get("clicks") or log(MANY),
        files.get("users") or table(users),
        files.get("items") or table(items),
    )


# The rules.


def test_the_first_themes_are_those_of_the_log_that_have_clicks_left(tmp_path):
    taobao.prepare(raw(tmp_path / "raw"), tmp_path / "out", themes=2)
    content = schema(tmp_path / "out")
    assert content["domain"] == {
        "name": "theme",
        "values": ["theme_900", "theme_30"],
    }
    assert clicks_of(tmp_path / "out") == [
        ("theme_30", 7, 40),
        ("theme_30", 88, 3),
        ("theme_900", 7, 40),
        ("theme_900", 7, 500),
        ("theme_900", 901, 500),
    ]


def test_ids_are_in_the_order_in_which_the_themes_name_them(tmp_path):
    taobao.prepare(raw(tmp_path / "raw"), tmp_path / "out", themes=3)
    assert schema(tmp_path / "out")["features"] == [
        # Theme 900 has users 901 and 7, 30 adds 88, 5 adds 6. In the log, user
        # 88 and item 3 of theme 30 come before user 7 and item 40.
        {
            "kind": "sparse",
            "name": "user",
            "vocabulary": [901, 7, 88, 6],
            "vectors": 3,
        },
        {
            "kind": "sparse",
            "name": "item",
            "vocabulary": [500, 40, 3],
            "vectors": 3,
        },
    ]


def test_what_was_not_clicked_is_all_that_is_left_in_small_themes(tmp_path):
    # Users of few clicks want at least 2 rows each, and fewer are there.
    taobao.prepare(raw(tmp_path / "raw"), tmp_path / "out", themes=3)
    assert sorted(row[1:4] for row in rows(tmp_path / "out") if not row[4]) == [
        ("theme_30", 7, 3),
        ("theme_30", 88, 40),
        ("theme_5", 6, 40),
        ("theme_5", 7, 3),
        ("theme_900", 901, 40),
    ]


def test_vectors_are_stored_once_with_the_mean_first(tmp_path):
    taobao.prepare(raw(tmp_path / "raw"), tmp_path / "out", themes=2)
    vectors = {
        name: np.load(tmp_path / "out" / f"vectors.{name}.npy")
        for name in ("user", "item")
    }
    known = [KNOWN_USERS[one] for one in (901, 7, 88)]
    mean = [(1 + 4 - 1e-3) / 3, 7.5 / 3, 12 / 3]
    assert vectors["user"].dtype == np.float32
    np.testing.assert_array_equal(
        vectors["user"], np.array([mean, *known], np.float32)
    )
    third = 1 / 3
    np.testing.assert_array_equal(
        vectors["item"],
        np.array([(third,) * 3, (0, 0, 1), (0, 1, 0), (1, 0, 0)], np.float32),
    )


def test_training_reads_the_folder(tmp_path):
    taobao.prepare(raw(tmp_path / "raw"), tmp_path / "out", themes=2)
    prepared = data.load(tmp_path / "out")
    assert prepared.schema.vectors == {"user": 3, "item": 3}
    assert prepared.vectors["user"].shape == (4, 3)


@pytest.mark.parametrize("negatives", ["per_user", "per_domain"])
def test_each_user_of_a_theme_gets_the_rows_that_its_ctr_asks_for(
    negatives, tmp_path
):
    taobao.prepare(
        many(tmp_path / "raw"), tmp_path / "out", 3, negatives=negatives
    )
    # What the published code draws with seed 123.
    ctrs = {"theme_3": 0.22, "theme_1": 0.23, "theme_2": 0.32}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["options"] == {
        "themes": 3,
        "choose": "first",
        "negatives": negatives,
        "drop_one_class_domains": False,
        "ctrs": list(ctrs.values()),
    }
    found = rows(tmp_path / "out")
    assert len({row[1:4] for row in found}) == len(found)
    for theme, user in itertools.product((3, 1, 2), range(10)):
        name = f"theme_{theme}"
        own = [row for row in found if row[1:3] == (name, user)]
        clicked = {row[3] for row in own if row[4]}
        others = {row[3] for row in own if not row[4]}
        assert clicked == set(range(user, theme + 2 * user))
        # The items of a theme are those of its users: 0 to theme + 17.
        free = set(range(theme + 18)) - clicked
        assert others <= free
        wanted = int((theme + user) / ctrs[name])
        assert len(others) == min(wanted, len(free))


def test_the_published_split_is_per_user(tmp_path):
    taobao.prepare(many(tmp_path / "raw"), tmp_path / "out", 3)
    found = rows(tmp_path / "out")
    # In theme 1, user 0 has one click and wants int(1 / .23) = 4: (2, 1, 1).
    # User 1 wants int(2 / .23) = 8 of 17: scikit-learn's sizes are (4, 2, 2).
    for user, sizes in ((0, [2, 1, 1]), (1, [4, 2, 2])):
        assert [
            sum(
                row[:3] == (split, "theme_1", user) and not row[4]
                for row in found
            )
            for split in SPLITS
        ] == sizes
    # Theme 1 has 1 + 2 + ... + 10 = 55 clicks, which are split as one.
    assert [
        sum(row[:2] == (split, "theme_1") and row[4] for row in found)
        for split in SPLITS
    ] == [33, 11, 11]


def test_the_other_split_keeps_each_domains_share_of_clicks(tmp_path):
    taobao.prepare(
        many(tmp_path / "raw"), tmp_path / "out", 3, negatives="per_domain"
    )
    found = rows(tmp_path / "out")
    for theme in ("theme_3", "theme_1", "theme_2"):
        labels = {
            split: [row[4] for row in found if row[:2] == (split, theme)]
            for split in SPLITS
        }
        total = sum(map(len, labels.values()))
        for split, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
            assert abs(len(labels[split]) - share * total) <= 1
        shares = [np.mean(labels[split]) for split in SPLITS]
        assert max(shares) - min(shares) < 0.03


def test_random_themes_are_drawn_by_the_seed(tmp_path):
    clicks = [
        (user, (user + theme) % 7, theme)
        for theme in range(50, 20, -1)
        for user in range(5)
    ]
    source = many(tmp_path / "raw", clicks=log(clicks))
    chosen = {}
    for seed in (1, 1, 2):
        taobao.prepare(
            source, tmp_path / "out", 6, "random", seed=seed, overwrite=True
        )
        names = schema(tmp_path / "out")["domain"]["values"]
        assert chosen.setdefault(seed, names) == names
        assert len(set(names)) == 6
        # They come in the order of the log.
        assert names == sorted(names, reverse=True)
    assert chosen[1] != chosen[2]
    taobao.prepare(source, tmp_path / "first", 6)
    first = schema(tmp_path / "first")["domain"]["values"]
    assert first == [f"theme_{theme}" for theme in range(50, 44, -1)]
    assert first not in chosen.values()


def test_more_themes_begin_with_fewer(tmp_path):
    source = many(tmp_path / "raw")
    for themes in (1, 3):
        taobao.prepare(source, tmp_path / str(themes), themes)
    one, three = (schema(tmp_path / name) for name in ("1", "3"))
    assert three["domain"]["values"][:1] == one["domain"]["values"]
    # Drawn rows and splits of themes depend on no other theme's clicks.
    of_one, of_three = rows(tmp_path / "1"), rows(tmp_path / "3")
    assert sorted(row[1:] for row in of_one) == sorted(
        row[1:] for row in of_three if row[1] == "theme_3"
    )


def test_a_theme_without_vectors_is_named(tmp_path, caplog):
    with caplog.at_level("WARNING", "absl"):
        taobao.prepare(raw(tmp_path / "raw"), tmp_path / "out", themes=2)
    assert "theme 70 is left out: none of its clicks has a user" in caplog.text


ONE_CLASS = [*MANY, *((user, item, 8) for user in (1, 2) for item in (4, 5))]


def test_a_theme_whose_items_all_users_have_clicked_is_named(tmp_path, caplog):
    source = many(tmp_path / "raw", clicks=log(ONE_CLASS))
    with caplog.at_level("WARNING", "absl"):
        taobao.prepare(source, tmp_path / "out", 4)
    assert "domain 'theme_8' has no AUC: all of its 4 rows are" in caplog.text
    assert len(schema(tmp_path / "out")["domain"]["values"]) == 4


def test_a_theme_of_one_class_may_be_dropped(tmp_path):
    # It is the first one of all, and the only one with items 28 and 29.
    clicks = [*((user, item, 8) for user in (1, 2) for item in (28, 29)), *MANY]
    source = many(tmp_path / "raw", clicks=log(clicks))
    taobao.prepare(source, tmp_path / "out", 4, drop_one_class_domains=True)
    content = schema(tmp_path / "out")
    assert content["domain"]["values"] == ["theme_3", "theme_1", "theme_2"]
    users, items = (one["vocabulary"] for one in content["features"])
    # What occurs keeps its order.
    assert users[:3] == [1, 2, 0]
    assert sorted(items) == list(range(21))
    vectors = np.load(tmp_path / "out" / "vectors.item.npy")
    np.testing.assert_array_equal(vectors[1:, 0], items)
    assert clicks_of(tmp_path / "out") == sorted(
        (f"theme_{theme}", user, item) for user, item, theme in MANY
    )


# The forms of the input.


def zipped(path, source, prefix="", names=(LOG, USERS, ITEMS)):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(source / name, f"{prefix}{name}")
    return path


def test_every_form_of_the_input_gives_the_same_bytes(tmp_path):
    source = many(tmp_path / "raw")
    zipped(tmp_path / "flat.zip", source)
    zipped(tmp_path / "deep", source, "cloud/theme/")
    with tarfile.open(tmp_path / "raw.tar.gz", "w:gz") as archive:
        archive.add(source, "./raw")
    outputs = []
    for name in ("raw", "raw", "flat.zip", "deep", "raw.tar.gz"):
        outputs.append(tmp_path / f"out{len(outputs)}")
        taobao.prepare(tmp_path / name, outputs[-1], 3)
    first, *others = map(contents, outputs)
    assert set(first) == {
        "train.parquet",
        "valid.parquet",
        "test.parquet",
        "schema.json",
        "manifest.json",
        "README.md",
        "vectors.user.npy",
        "vectors.item.npy",
    }
    assert others == [first] * 4
    manifest = json.loads(first["manifest.json"])
    assert {
        name: source["bytes"] for name, source in manifest["sources"].items()
    } == {entry.name: entry.stat().st_size for entry in source.iterdir()}


@pytest.mark.parametrize("size", [64, 100, 257, 1000])
def test_blocks_of_any_size_give_the_same_bytes(size, tmp_path, monkeypatch):
    source = many(tmp_path / "raw")
    taobao.prepare(source, tmp_path / "whole", 3)
    monkeypatch.setattr(csv_blocks, "BLOCK", size)
    taobao.prepare(source, tmp_path / "blocks", 3)
    assert contents(tmp_path / "whole") == contents(tmp_path / "blocks")


def test_the_way_a_file_is_written_does_not_matter(tmp_path):
    source = many(tmp_path / "raw")
    taobao.prepare(source, tmp_path / "out", 3)
    users = (source / USERS).read_text().splitlines()
    quoted = [f'{one.replace(",", chr(44) + chr(34))} "' for one in users[1:]]
    (source / USERS).write_text("\r\n".join(["id,v", *quoted]))
    lines = (source / LOG).read_text().splitlines()
    turned = [",".join(reversed(line.split(","))) for line in lines]
    (source / LOG).write_bytes(b"\xef\xbb\xbf" + "\n".join(turned).encode())
    taobao.prepare(source, tmp_path / "other", 3)
    assert rows(tmp_path / "out") == rows(tmp_path / "other")
    for name in ("user", "item"):
        file = f"vectors.{name}.npy"
        assert (tmp_path / "out" / file).read_bytes() == (
            tmp_path / "other" / file
        ).read_bytes()


def test_vectors_of_others_take_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK", 1 << 13)
    drawn = random.Random(1)
    line = " ".join(f"{drawn.random():.6f}" for _ in range(128))
    users = {user: (line,) for user in range(8_000)}
    items = {item: (line,) for item in range(30)}
    source = many(tmp_path / "raw", users=table(users), items=table(items))
    size = (source / USERS).stat().st_size
    assert size > 8_000_000
    tracemalloc.start()
    try:
        taobao.prepare(source, tmp_path / "out", 3)
        assert tracemalloc.get_traced_memory()[1] < size / 2
    finally:
        tracemalloc.stop()
    assert np.load(tmp_path / "out" / "vectors.user.npy").shape == (11, 128)


# Mistakes in the files: each names the file, the line and the value.


def assert_refuses(source, *messages, themes=2):
    """The error is one line that says all this; nothing is written."""
    output = source.parent / "out" / "taobao"
    with pytest.raises(PreparationError) as error:
        taobao.prepare(source, output, themes)
    for message in messages:
        assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "7,40,30",
            "4 columns, user_id,item_id,theme_id,reach_time, and there",
        ),
        ("7,40,30", "there are 3 in '7,40,30'"),
        (f"7,40,30,{TIME},1", "there are 5 in"),
        (f"x,40,30,{TIME}", "user_id must be an integer, and is 'x'"),
        (f"7,4.0,30,{TIME}", "item_id must be an integer, and is '4.0'"),
        (f"7,,30,{TIME}", "item_id must be an integer, and is ''"),
        (f"7,40,nan,{TIME}", "theme_id must be an integer, and is 'nan'"),
        (f"7,40, 30,{TIME}", "theme_id must be an integer, and is ' 30'"),
        (f"7,0x1e,30,{TIME}", "item_id must be an integer, and is '0x1e'"),
        (f"7,{'9' * 19},30,{TIME}", "item_id must be an integer, and is '999"),
        (f"-7,40,30,{TIME}", "user_id must not be negative, and is -7"),
        (f"7,4\x1b[2J,30,{TIME}", "integer, and is '4\\x1b[2J'"),
        ("", "user_id must be an integer, and is ''"),
    ],
)
@pytest.mark.parametrize("block", [1 << 22, 80])
def test_a_wrong_click(line, problem, block, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK", block)
    lines = log().splitlines()
    lines[5] = line
    source = raw(tmp_path / "raw", clicks="\n".join(lines))
    where = f"{source}/{LOG}, line 6: "
    assert_refuses(source, where, problem, "; mend that line, or fetch it aga")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (
            "user_id,item_id,theme_id",
            "line 1: the columns must be user_id,item",
        ),
        ("user_id,item_id,theme_id", "and 'reach_time' is missing"),
        ("user_id,item_id,theme,reach_time", "and 'theme_id' is missing"),
        (f"{HEADER},price", "and 'price' is one too many"),
        (f"{HEADER},user_id", "and 'user_id' is one too many"),
        ("", "is empty, or has no line of column names"),
    ],
)
def test_a_wrong_header_of_the_log(header, problem, tmp_path):
    source = raw(tmp_path / "raw", clicks=log().replace(HEADER, header))
    assert_refuses(source, problem)


def test_the_first_wrong_line_is_named(tmp_path):
    lines = log().splitlines()
    lines[3], lines[5], lines[7] = "7,40,30", "8", "x,40,30,0"
    source = raw(tmp_path / "raw", clicks="\n".join(lines))
    assert_refuses(source, "line 4: there must be 4 columns")


@pytest.mark.parametrize("name", ["users", "items"])
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("7,1 2", "a vector must have 3 numbers, as the first one has, and"),
        ("7,1 2", "this one has 2"),
        ("7,1 2 3 4", "this one has 4"),
        ("7,", "a vector has no numbers"),
        ("7,1 x 3", "finite in float32, and number 2 is 'x'"),
        ("7,1 2 nan", "finite in float32, and number 3 is 'nan'"),
        ("7,-inf 2 3", "finite in float32, and number 1 is '-inf'"),
        ("7,1 1e39 3", "finite in float32, and number 2 is '1e39'"),
        ("7,1;2;3", "this one has 1"),
        ("7,1 2 3,4", "there must be 2 columns, an_id,embedding, and there"),
        ("7", "there are 1 in '7'"),
        ("y,1 2 3", "an_id must be an integer, and is 'y'"),
        ("-1,1 2 3", "an_id must not be negative, and is -1"),
        ("10,1 2 3", "an_id 10 has a vector before, on line 2"),
    ],
)
def test_a_wrong_vector(name, line, problem, tmp_path):
    lines = ["an_id,embedding", "10,1 2 3", "11,1 2 3", line, "12,1 2 3"]
    source = raw(tmp_path / "raw", **{name: "\n".join(lines)})
    file = USERS if name == "users" else ITEMS
    assert_refuses(source, f"{source}/{file}, line 4: ", problem)


def test_a_wrong_vector_in_a_later_block(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK", 60)
    for last, problem in (
        ("99,1 2", "line 42: a vector must have 3 numbers"),
        ("99,1 2 x", "line 42: a vector must hold numbers"),
        ("5,1 2 3", "line 42: id 5 has a vector before, on line 7"),
    ):
        lines = ["id,v", *(f"{one},1 2 3" for one in range(40)), last, ""]
        source = raw(tmp_path / "raw", users="\n".join(lines))
        assert_refuses(source, problem)


@pytest.mark.parametrize("block", range(55, 90, 3))
def test_vectors_that_get_shorter(block, tmp_path, monkeypatch):
    # Wherever blocks end, and though nobody has clicked these items.
    monkeypatch.setattr(csv_blocks, "BLOCK", block)
    lines = ["id,v", *(f"{one},1 2 3" for one in range(20))]
    lines += [f"{one},1 2" for one in range(700, 720)]
    source = raw(tmp_path / "raw", items="\n".join(lines))
    assert_refuses(source, "line 22: a vector must have 3 numbers, as the fi")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("id,vector,more", "two columns, the id and its vector, and there are"),
        ("id", "there are id"),
        ("id,id", "there are id,id"),
        ("901,1 2 -3", "columns' names, and holds the vector of id 901: put"),
    ],
)
def test_a_wrong_header_of_the_vectors(header, problem, tmp_path):
    lines = table(KNOWN_USERS).splitlines()
    source = raw(tmp_path / "raw", users="\n".join([header, *lines[1:]]))
    assert_refuses(source, f"{source}/{USERS}, line 1: ", problem)


def test_vectors_of_two_dimensions(tmp_path):
    items = table({one: (1, 2) for one in KNOWN_ITEMS})
    source = raw(tmp_path / "raw", items=items)
    assert_refuses(
        source,
        "user_embedding.csv has vectors of 3 numbers, and item_embedding.csv",
        "of 2: both must have as many",
    )


def test_files_without_rows(tmp_path):
    source = raw(tmp_path / "log", clicks=f"{HEADER}\n")
    assert_refuses(source, "theme_click_log.csv holds no clicks")
    source = raw(tmp_path / "users", users="id,v\n")
    assert_refuses(source, "user_embedding.csv holds no vectors")
    source = raw(tmp_path / "items")
    (source / ITEMS).write_text("")
    assert_refuses(source, "item_embedding.csv is empty, or has no line of")


def test_too_few_themes(tmp_path):
    source = raw(tmp_path / "raw")
    assert_refuses(
        source,
        "3 of its 4 themes have clicks whose user",
        "--themes=4 are too many; ask for fewer",
        themes=4,
    )


def test_no_click_has_vectors(tmp_path):
    source = raw(tmp_path / "raw", users=table({12345: (1, 2, 3)}))
    assert_refuses(source, "0 of its 4 themes have clicks", themes=1)


def test_too_few_clicks_to_split(tmp_path):
    clicks = log([(7, 40, 1), (88, 3, 1)])
    source = raw(tmp_path / "raw", clicks=clicks)
    assert_refuses(source, "no row is left for the valid split", themes=1)


def test_text_that_is_not_utf8(tmp_path):
    source = raw(tmp_path / "raw")
    data = (source / LOG).read_bytes()
    (source / LOG).write_bytes(data.replace(b"04:32", b"\xff", 3))
    assert_refuses(source, "theme_click_log.csv, line 2: it isn't UTF-8 text")
    (source / LOG).write_bytes(b"\xff" + data)
    assert_refuses(source, "line 1: the names of the columns aren't UTF-8")


def test_a_line_without_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_blocks, "BLOCK", 1000)
    source = raw(tmp_path / "raw", users="id,v\n1,1 2 3\n2," + "1 " * 2000)
    assert_refuses(source, "has a line of more than 1,000 bytes")


# Mistakes around the files.


def test_no_such_path(tmp_path):
    assert_refuses(tmp_path / "raw.zip", "raw.zip doesn't exist; name the fol")


def test_a_missing_file(tmp_path):
    source = raw(tmp_path / "raw")
    (source / ITEMS).unlink()
    assert_refuses(source, "raw holds no item_embedding.csv; name the folder")
    # A name that ends alike is another file.
    (source / f"my_{ITEMS}").write_text(table(KNOWN_ITEMS))
    assert_refuses(source, "raw holds no item_embedding.csv")


def test_a_file_that_is_there_twice(tmp_path):
    raw(tmp_path / "raw")
    raw(tmp_path / "raw" / "copy")
    assert_refuses(tmp_path / "raw", "holds theme_click_log.csv 2 times: copy/")


def test_not_an_archive(tmp_path):
    (tmp_path / "raw.zip").write_text("<html>404 Not Found</html>")
    assert_refuses(tmp_path / "raw.zip", "raw.zip: can't be read (")


@pytest.mark.parametrize("keep", [3, 100, 0.3, 0.6, 0.95])
def test_a_truncated_zip(keep, tmp_path):
    path = zipped(tmp_path / "raw.zip", many(tmp_path / "raw"))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    assert_refuses(path, "raw.zip: can't be read (")


@pytest.mark.parametrize("keep", [30, 0.3, 0.6, 0.95])
def test_a_truncated_tar(keep, tmp_path):
    path = tmp_path / "raw.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(many(tmp_path / "raw"), "raw")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    assert_refuses(path, "raw.tar.gz: can't be read (")


def test_a_flipped_bit(tmp_path):
    path = tmp_path / "raw.zip"
    source = many(tmp_path / "raw")
    with zipfile.ZipFile(path, "w") as archive:  # stored, not compressed
        for entry in source.iterdir():
            archive.write(entry, entry.name)
    data = path.read_bytes()
    assert data.count(b"\n9,9,3,") == 1
    path.write_bytes(data.replace(b"\n9,9,3,", b"\n9,8,3,"))
    assert_refuses(path, f"{path}/theme_click_log.csv: can't be read (Bad CRC")


@pytest.mark.parametrize(
    "name",
    [
        "../evil.csv",
        "/evil.csv",
        "data/../../evil.csv",
        "..\\evil.csv",
        "C:\\evil.csv",
        "..",
    ],
)
def test_a_zip_that_climbs_out_is_refused(name, tmp_path):
    path = zipped(tmp_path / "raw.zip", raw(tmp_path / "raw"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "1,2,3")
    assert_refuses(path, f"its member {name!r} climbs out of the archive")


def test_a_zip_with_a_link_is_refused(tmp_path):
    path = zipped(tmp_path / "raw.zip", raw(tmp_path / "raw"))
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert_refuses(path, "its member 'link.csv' is a link or a device, so")


def tar_with(path, source, **member):
    with tarfile.open(path, "w") as archive:
        archive.add(source, "raw")
        info = tarfile.TarInfo(member.pop("name"))
        for name, value in member.items():
            setattr(info, name, value)
        archive.addfile(info, io.BytesIO(b""))
    return path


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ({"name": "../evil.csv"}, "'../evil.csv' climbs out"),
        ({"name": "/evil.csv"}, "'/evil.csv' climbs out"),
        ({"name": "a/../../evil.csv"}, "climbs out"),
        (
            {"name": "s", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
            "'s' is a link or a device",
        ),
        (
            {"name": "h", "type": tarfile.LNKTYPE, "linkname": "raw"},
            "'h' is a link or a device",
        ),
        ({"name": "f", "type": tarfile.FIFOTYPE}, "'f' is a link or a device"),
    ],
)
def test_a_tar_that_climbs_out_is_refused(member, problem, tmp_path):
    path = tar_with(tmp_path / "raw.tar", raw(tmp_path / "raw"), **member)
    assert_refuses(path, problem, "so nothing of it is read; fetch it again")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_a_member_twice_is_refused(tmp_path):
    path = zipped(tmp_path / "raw.zip", raw(tmp_path / "raw"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(LOG, log())
    assert_refuses(path, "its member 'theme_click_log.csv' is there twice")


def test_an_archive_leaves_nothing_behind(tmp_path):
    (tmp_path / "other").mkdir()
    source = raw(tmp_path / "other" / "raw")
    path = zipped(tmp_path / "raw.zip", source)
    taobao.prepare(path, tmp_path / "in" / "out", 2)
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {"raw.zip", "in", "other"}
    assert [entry.name for entry in (tmp_path / "in").iterdir()] == ["out"]


def test_the_output_is_checked_before_the_input(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(PreparationError, match="out exists; add --overwrite"):
        taobao.prepare(tmp_path / "missing.zip", tmp_path / "out")


# The binary.


run = functools.partial(programs.run, "data_prep.taobao")


def test_the_binary(tmp_path):
    source = many(tmp_path / "raw", clicks=log(ONE_CLASS))
    flags = [
        f"--raw={source}",
        f"--output={tmp_path / 'out'}",
        "--themes=4",
        "--choose=random",
        "--negatives=per_domain",
        "--drop_one_class_domains",
        "--seed=5",
    ]
    result = run(*flags)
    assert result.returncode == 0, result.stderr
    assert "Took 199 clicks on 4 themes" in result.stderr
    assert "train: " in result.stderr
    taobao.prepare(
        source, tmp_path / "same", 4, "random", "per_domain", True, seed=5
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "same")
    result = run(*flags)
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {tmp_path / 'out'} exists; add --overwrite to replace it, or "
        "name another folder as --output.\n"
    )
