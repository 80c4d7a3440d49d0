import collections
import csv
import functools
import gzip
import io
import json
import tracemalloc
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep import amazon
from data_prep import amazon_files
from data_prep import amazon_lines
from data_prep import amazon_reviews
from data_prep.layout import PreparationError
from tests import programs

# Users A0 to A9 have each reviewed 3 of the 10 items of a category.
BOOKS = [
    (f"A{user}", f"B{(user + i) % 10}") for user in range(10) for i in (0, 1, 3)
]
TOYS = [
    (f"A{user}", f"T{(2 * user + i) % 10}")
    for user in range(5, 15)
    for i in (0, 1, 4)
]


def line(user, item, **more):
    return json.dumps({"reviewerID": user, "asin": item, **more})


def text(lines):
    return "".join(f"{line}\n" for line in lines)


def json_lines(pairs, **more):
    return text(line(*pair, **more) for pair in pairs)


def put(folder, **files):
    """Writes files of a text or of bytes, compressed if so named.

    Their names end in _json, _json_gz, _csv or _csv_gz.
    """
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        for ending in ("_json_gz", "_csv_gz", "_json", "_csv"):
            if name.endswith(ending):
                name = name.removesuffix(ending) + ending.replace("_", ".")
        data = gzip.compress(data, 1) if name.endswith(".gz") else data
        (folder / name).write_bytes(data)
    return folder


def raw_folder(tmp_path):
    return put(
        tmp_path / "raw",
        Books_5_json_gz=json_lines(BOOKS),
        Toys_5_json_gz=json_lines(TOYS),
    )


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def manifest_of(path):
    return json.loads((path / "manifest.json").read_text())


def vocabularies(path):
    schema = json.loads((path / "schema.json").read_text())
    return {
        feature["name"]: feature["vocabulary"] for feature in schema["features"]
    }


def decoded(path):
    """Each split's rows as (category, user, item, label), raw."""
    words = vocabularies(path)
    names = json.loads((path / "schema.json").read_text())["domain"]["values"]
    rows = {}
    for split in ("train", "valid", "test"):
        table = pq.read_table(path / f"{split}.parquet").to_pydict()
        rows[split] = [
            (names[d], words["user"][u - 1], words["item"][i - 1], label)
            for d, u, i, label in zip(
                *(table[name] for name in ("domain", "user", "item", "label")),
                strict=True,
            )
        ]
    return rows


def all_rows(path):
    return sorted(row for rows in decoded(path).values() for row in rows)


def clicks(path):
    return sorted(row[:3] for row in all_rows(path) if row[3])


# The rows.


def test_rows_and_counts_by_hand(tmp_path):
    amazon.prepare(raw_folder(tmp_path), tmp_path / "out")
    rows = all_rows(tmp_path / "out")
    assert clicks(tmp_path / "out") == sorted(
        [("Books", *pair) for pair in BOOKS]
        + [("Toys", *pair) for pair in TOYS]
    )
    assert len(set(row[:3] for row in rows)) == len(rows)
    # The ctrs are 0.22 and 0.23: int(3 / 0.22) and int(3 / 0.23) are 13, and
    # there are but 7 items that a user hasn't reviewed.
    drawn = collections.Counter(row[:2] for row in rows if not row[3])
    assert drawn == {
        **{("Books", f"A{user}"): 7 for user in range(10)},
        **{("Toys", f"A{user}"): 7 for user in range(5, 15)},
    }
    assert all(item[0] == name[0] for name, _, item, _ in rows)
    manifest = manifest_of(tmp_path / "out")
    assert manifest["counts"] == {
        split: {name: {"rows": n, "clicks": k} for name in ("Books", "Toys")}
        for split, n, k in (
            ("train", 60, 18),
            ("valid", 20, 6),
            ("test", 20, 6),
        )
    }


def test_fewer_are_drawn_than_there_are(tmp_path):
    many = [("A", f"B{item}") for item in range(40)]
    raw = put(
        tmp_path / "raw",
        Books_json=json_lines([*many, ("C", "B7"), ("D", "B7"), ("D", "B8")]),
    )
    amazon.prepare(raw, tmp_path / "out")
    drawn = collections.Counter(
        user for _, user, _, label in all_rows(tmp_path / "out") if not label
    )
    # int(1 / 0.22) and int(2 / 0.22)
    assert drawn == {"C": 4, "D": 9}


def test_the_manifest_says_what_made_the_rows(tmp_path):
    raw = raw_folder(tmp_path)
    amazon.prepare(raw, tmp_path / "out")
    manifest = manifest_of(tmp_path / "out")
    assert manifest["dataset"] == "amazon"
    assert manifest["seed"] == 123
    assert manifest["options"] == {
        "categories": ["Books", "Toys"],
        "min_rating": None,
        "ctrs": {"Books": 0.22, "Toys": 0.23},
        "negatives": "per_domain",
    }
    assert {
        name: source["bytes"] for name, source in manifest["sources"].items()
    } == {name: len(data) for name, data in contents(raw).items()}
    schema = json.loads((tmp_path / "out" / "schema.json").read_text())
    assert schema["domain"] == {"name": "category", "values": ["Books", "Toys"]}
    assert [(f["kind"], f["name"]) for f in schema["features"]] == [
        ("sparse", "user"),
        ("sparse", "item"),
    ]


def test_ids_are_in_the_order_of_first_appearance(tmp_path):
    raw = put(
        tmp_path / "raw",
        Z_json=json_lines(
            [("u2", "i9"), ("u1", "i9"), ("u2", "i1"), ("u3", "i0")]
        ),
        Y_json=json_lines([("u9", "i5"), ("u1", "i0"), ("u0", "i9")]),
    )
    # In blocks of about a line each, too.
    for block in (16, 1 << 25):
        with mock.patch.object(amazon_files, "BLOCK", block):
            amazon.prepare(raw, tmp_path / f"out{block}", ["Z", "Y"])
        assert vocabularies(tmp_path / f"out{block}") == {
            "user": ["u2", "u1", "u3", "u9", "u0"],
            "item": ["i9", "i1", "i0", "i5"],
        }
    assert contents(tmp_path / "out16") == contents(tmp_path / f"out{1 << 25}")


def test_categories_are_domains_in_the_order_given(tmp_path):
    raw = raw_folder(tmp_path)
    amazon.prepare(raw, tmp_path / "one", ["Toys", "Books"])
    options = manifest_of(tmp_path / "one")["options"]
    assert options["categories"] == ["Toys", "Books"]
    assert options["ctrs"] == {"Toys": 0.22, "Books": 0.23}
    amazon.prepare(raw, tmp_path / "two", ["Toys"])
    assert {row[0] for row in all_rows(tmp_path / "two")} == {"Toys"}
    assert vocabularies(tmp_path / "two")["user"][0] == "A5"


def test_who_reviews_an_item_twice_has_clicked_it_once(tmp_path):
    again = [BOOKS[3], *BOOKS, BOOKS[3], BOOKS[0]]
    # An item of two categories is clicked in each.
    raw = put(
        tmp_path / "raw",
        Books_json=json_lines(again),
        Toys_json=json_lines([*TOYS, BOOKS[0]]),
    )
    amazon.prepare(raw, tmp_path / "out")
    assert clicks(tmp_path / "out") == sorted(
        [("Books", *pair) for pair in BOOKS]
        + [("Toys", *pair) for pair in [*TOYS, BOOKS[0]]]
    )


def test_negatives_per_user_have_the_published_sizes(tmp_path):
    raw = raw_folder(tmp_path)
    amazon.prepare(raw, tmp_path / "out", negatives="per_user")
    # A user's 7 rows are 4, 1 and 2; a category's 30 clicks 18, 6 and 6.
    assert manifest_of(tmp_path / "out")["counts"] == {
        split: {name: {"rows": n, "clicks": k} for name in ("Books", "Toys")}
        for split, n, k in (
            ("train", 58, 18),
            ("valid", 16, 6),
            ("test", 26, 6),
        )
    }
    for rows, size in zip(
        decoded(tmp_path / "out").values(), (4, 1, 2), strict=True
    ):
        drawn = collections.Counter(row[:2] for row in rows if not row[3])
        assert len(drawn) == 20
        assert set(drawn.values()) == {size}
    options = manifest_of(tmp_path / "out")["options"]
    assert options["negatives"] == "per_user"
    amazon.prepare(raw, tmp_path / "per_domain")
    assert all_rows(tmp_path / "out") == all_rows(tmp_path / "per_domain")


def test_the_range_of_the_ctrs(tmp_path):
    raw = raw_folder(tmp_path)
    amazon.prepare(raw, tmp_path / "out", ctr_low=0.75, ctr_high=0.75)
    drawn = collections.Counter(
        row[:2] for row in all_rows(tmp_path / "out") if not row[3]
    )
    assert set(drawn.values()) == {4}
    ctrs = manifest_of(tmp_path / "out")["options"]["ctrs"]
    assert ctrs == {"Books": 0.75, "Toys": 0.75}


def test_workers_and_runs_change_no_byte(tmp_path):
    raw = raw_folder(tmp_path)
    outputs = []
    for workers in (1, 2, 3, None):
        outputs.append(tmp_path / f"out{workers}")
        amazon.prepare(raw, outputs[-1], workers=workers)
    first, *others = map(contents, outputs)
    assert len(first) == 6
    assert others == [first] * 3


def test_the_seed_changes_the_ctrs_and_the_split(tmp_path):
    raw = raw_folder(tmp_path)
    amazon.prepare(raw, tmp_path / "one", seed=1)
    amazon.prepare(raw, tmp_path / "two", seed=2)
    one, two = (manifest_of(tmp_path / name) for name in ("one", "two"))
    assert one["options"]["ctrs"] != two["options"]["ctrs"]
    train = [set(decoded(tmp_path / name)["train"]) for name in ("one", "two")]
    assert train[0] != train[1]


# The ratings.


RATED = [(user, item, 1 + i % 5) for i, (user, item) in enumerate(BOOKS)]


def test_a_rating_may_be_needed_for_a_click(tmp_path):
    lines = [line(u, i, overall=float(r)) for u, i, r in RATED]
    # The higher of a pair's two ratings counts.
    lines += [line("A0", "B9", overall=5), line("A0", "B9", overall=1)]
    lines += [line("low", "none", overall=3)]
    raw = put(tmp_path / "raw", Books_json=text(lines))
    amazon.prepare(raw, tmp_path / "out", min_rating=4)
    expected = [("Books", u, i) for u, i, r in RATED if r >= 4]
    assert clicks(tmp_path / "out") == sorted(
        [*expected, ("Books", "A0", "B9")]
    )
    words = vocabularies(tmp_path / "out")
    assert "low" not in words["user"]
    assert "none" not in words["item"]
    assert manifest_of(tmp_path / "out")["options"]["min_rating"] == 4
    amazon.prepare(raw, tmp_path / "all")
    assert len(clicks(tmp_path / "all")) == len(RATED) + 2


def test_ratings_are_not_looked_at_without_a_threshold(tmp_path):
    lines = [line(*pair, overall="many") for pair in BOOKS]
    raw = put(tmp_path / "raw", Books_json=text(lines))
    amazon.prepare(raw, tmp_path / "out")
    assert len(clicks(tmp_path / "out")) == 30


# The files.


def rated_csv(order):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for user, item, rating in RATED:
        cells = {"user": user, "item": item, "rating": f"{rating}.0", "time": 9}
        writer.writerow([cells[name] for name in order])
    return stream.getvalue()


CSV_2014 = rated_csv(["user", "item", "rating", "time"])
CSV_2018 = rated_csv(["item", "user", "rating", "time"])
RATED_JSON = text(
    # The keys are in any order, beside others.
    json.dumps(
        {
            "image": [f"{item}.jpg"],
            "overall": rating,
            "style": {"Size:": {"deep": [1, None]}},
            "asin": item,
            "unixReviewTime": 9,
            "reviewText": "Caf\xe9 \U0001f600",
            "reviewerID": user,
        }
        | ({"vote": "3"} if rating > 2 else {}),
    )
    for user, item, rating in RATED
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Books_5_json_gz", RATED_JSON),
        ("Books_5_json", RATED_JSON),
        ("Books_json_gz", RATED_JSON),
        ("Books_json", RATED_JSON),
        ("reviews_Books_5_json_gz", RATED_JSON),
        ("reviews_Books_json_gz", RATED_JSON),
        ("Books_json", RATED_JSON.replace("\n", "\r\n")),
        ("Books_json", RATED_JSON.removesuffix("\n")),
        ("Books_json", RATED_JSON.replace(r"\ud83d\ude00", "\U0001f600")),
        ("ratings_Books_csv", CSV_2014),
        ("ratings_Books_csv_gz", CSV_2014),
        ("Books_csv", CSV_2018),
        ("Books_csv_gz", CSV_2018),
        ("Books_csv", CSV_2018.replace("\n", "\r\n")),
        ("Books_csv", CSV_2018.removesuffix("\n")),
    ],
)
@pytest.mark.parametrize("block", [40, 1 << 25])
def test_every_form_of_the_input_gives_the_same_clicks(
    name, content, block, tmp_path
):
    raw = put(tmp_path / "raw", **{name: content})
    with mock.patch.object(amazon_files, "BLOCK", block):
        for min_rating in (None, 4.0):
            clicks = amazon_reviews.read(amazon_files.find(raw), min_rating)
            assert [
                (clicks.users[user], clicks.items[item])
                for user, item in zip(clicks.user, clicks.item, strict=True)
            ] == [(u, i) for u, i, r in RATED if not min_rating or r >= 4]
            assert not clicks.domain.any()


def test_a_whole_preparation_from_csv(tmp_path):
    raw = put(
        tmp_path / "raw", ratings_Books_csv=CSV_2014, Toys_csv_gz=CSV_2018
    )
    amazon.prepare(raw, tmp_path / "out", min_rating=2.5)
    pairs = sorted((u, i) for u, i, r in RATED if r >= 3)
    assert clicks(tmp_path / "out") == [
        (name, *pair) for name in ("Books", "Toys") for pair in pairs
    ]


def test_other_files_are_left_alone(tmp_path):
    raw = raw_folder(tmp_path)
    put(raw, meta_Books_json_gz="{}", **{"README.md": "", ".Toys.csv": ""})
    (raw / "Games.json").mkdir()
    files = amazon_files.find(raw)
    assert [file.category for file in files] == ["Books", "Toys"]


def test_a_quote_is_a_part_of_an_id(tmp_path):
    # On the fast way as on the other, so that no block decides what an id is.
    raw = put(tmp_path / "raw", Books_csv='"B",A,5.0,9\nB,A,5.0,9\n')
    found = amazon_reviews.read(amazon_files.find(raw), None)
    assert [found.items[item] for item in found.item] == ['"B"', "B"]


def test_official_lines_take_the_fast_way(tmp_path):
    raw = put(tmp_path / "raw", Books_json=RATED_JSON, Toys_csv=CSV_2018)
    with mock.patch.object(amazon_lines, "_review") as slow:
        amazon_reviews.read(amazon_files.find(raw), 4.0)
    slow.assert_not_called()


def test_what_only_python_parses(tmp_path):
    # Half an emoji, and bytes that aren't UTF-8, in a text; two equal keys.
    odd = [
        rb'{"reviewerID": "A0", "asin": "B5", "reviewText": "\ud83d"}',
        b'{"reviewerID": "A0", "asin": "B6", "reviewText": "\xff"}',
        b'{"reviewerID": "A0", "asin": "no", "asin": "B7"}',
        b'{"reviewerID": "A0", "asin": "B8", "unixReviewTime": 1e999}',
    ]
    raw = put(
        tmp_path / "raw",
        Books_json=json_lines(BOOKS).encode() + b"\n".join(odd),
    )
    amazon.prepare(raw, tmp_path / "out")
    assert clicks(tmp_path / "out") == sorted(
        ("Books", *pair)
        for pair in [*BOOKS, *(("A0", f"B{i}") for i in (5, 6, 7, 8))]
    )


def test_a_line_longer_than_arrows_block(tmp_path):
    long = line("A0", "B5", reviewText="x" * 5_000)
    raw = put(tmp_path / "raw", Books_json=json_lines(BOOKS) + long)
    with (
        mock.patch.object(amazon_files, "LONGEST_LINE", 10_000),
        mock.patch.object(amazon_lines, "LONGEST_LINE", 1_000),
    ):
        amazon.prepare(raw, tmp_path / "out")
    assert ("Books", "A0", "B5") in clicks(tmp_path / "out")


def test_memory_holds_no_texts(tmp_path):
    content = text(
        line(f"A{i % 50}", f"B{i % 77}", reviewText="x" * 20_000)
        for i in range(2_000)
    )
    raw = put(tmp_path / "raw", Books_json_gz=content)
    with mock.patch.object(amazon_files, "BLOCK", 1 << 20):
        tracemalloc.start()
        try:
            amazon_reviews.read(amazon_files.find(raw), None)
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()


# Mistakes: each error is one line, and nothing is written.


def assert_refuses(raw, message, **options):
    output = raw.parent / "new" / "out"
    with pytest.raises(PreparationError) as error:
        amazon.prepare(raw, output, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (
            '{"reviewerID": "A", "asin": "B"',
            "is no JSON object; mend that line",
        ),
        (
            '{"reviewerID": "A", "asin": "B',
            """'{"reviewerID": "A", "asin": "B' is""",
        ),
        ('["A", "B"]', """'["A", "B"]' is no JSON object"""),
        ("{'reviewerID': 'A'}", "is no JSON object; mend"),
        ("", "'' is no JSON object"),
        ("{}{}", "'{}{}' is no JSON object"),
        ("[" * 100_000, "is no JSON object"),
        (line("A", "B") + line("A", "C"), "is no JSON object"),
        ('{"asin": "B"}', "reviewerID is missing; mend that line, or fetch"),
        ('{"reviewerID": "A"}', "asin is missing"),
        (
            line("A", None),
            "asin must be a string in UTF-8 that isn't empty, and",
        ),
        (line("A", None), "empty, and is None"),
        (line(7, "B"), "reviewerID must be a string in UTF-8 that isn't"),
        (line("A", ["B"]), "empty, and is ['B']"),
        (line("A", ""), "empty, and is ''"),
        (line("A", "\ud83d"), "empty, and is '\\ud83d'"),
        (b'{"reviewerID": "A\xff", "asin": "B"}', "empty, and is 'A\\udcff'"),
    ],
)
@pytest.mark.parametrize("block", [64, 1 << 25])
def test_a_wrong_line_of_json(bad, problem, block, tmp_path):
    bad = bad if isinstance(bad, bytes) else bad.encode()
    content = b"\n".join(
        [
            json_lines(BOOKS[:4]).rstrip().encode(),
            bad,
            json_lines(BOOKS).encode(),
        ]
    )
    raw = put(tmp_path / "raw", Books_5_json_gz=content)
    with mock.patch.object(amazon_files, "BLOCK", block):
        assert_refuses(raw, problem)
        assert_refuses(raw, f"{raw}/Books_5.json.gz, line 5: ")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({}, "overall is missing, which --min_rating needs"),
        (
            {"overall": None},
            "overall must be a number from 0 to 5, and is None",
        ),
        ({"overall": "5.0"}, "a number from 0 to 5, and is '5.0'"),
        ({"overall": True}, "a number from 0 to 5, and is True"),
        ({"overall": float("nan")}, "a number from 0 to 5, and is nan"),
        ({"overall": 10**400}, "a number from 0 to 5, and is 1000"),
        ({"overall": -1}, "a number from 0 to 5, and is -1"),
        ({"overall": 5.5}, "a number from 0 to 5, and is 5.5"),
    ],
)
def test_a_wrong_rating_in_json(more, problem, tmp_path):
    lines = [line(*pair, overall=5.0) for pair in BOOKS]
    lines[2] = line(*BOOKS[2], **more)
    raw = put(tmp_path / "raw", Books_json=text(lines))
    assert_refuses(raw, problem, min_rating=4)
    assert_refuses(raw, f"{raw}/Books.json, line 3: ", min_rating=4)
    amazon.prepare(raw, tmp_path / "out")


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("B,A,5.0", "there must be 4 cells, item,user,rating,timestamp, and"),
        ("B,A,5.0", "there are 3 in 'B,A,5.0'"),
        ("B,A,5.0,9,9", "there are 5 in 'B,A,5.0,9,9'"),
        ("", "there are 1 in ''"),
        ("B,A,5.0,9\rB,A,5.0,9", "there are 7 in"),
        (
            "item,user,rating,timestamp",
            "rating must be a number from 0 to 5, and",
        ),
        ("B,A,five,9", "rating must be a number from 0 to 5, and is 'five'"),
        ("B,A,,9", "rating must be a number from 0 to 5, and is ''"),
        ("B,A,nan,9", "rating must be a number from 0 to 5, and is nan"),
        ("B,A,1400000000,9", "from 0 to 5, and is 1400000000.0"),
        (
            ",A,5.0,9",
            "item must be a string in UTF-8 that isn't empty, and is ''",
        ),
        (
            "B,,5.0,9",
            "user must be a string in UTF-8 that isn't empty, and is ''",
        ),
        (b"B,A\xff,5.0,9", "user must be a string in UTF-8"),
        (b"B,A\xff,5.0", "there are 3 in"),
    ],
)
@pytest.mark.parametrize("block", [64, 1 << 25])
def test_a_wrong_line_of_csv(bad, problem, block, tmp_path):
    bad = bad if isinstance(bad, bytes) else bad.encode()
    good = CSV_2018.encode().splitlines()
    raw = put(
        tmp_path / "raw", Books_csv=b"\n".join([*good[:6], bad, *good[6:]])
    )
    with mock.patch.object(amazon_files, "BLOCK", block):
        assert_refuses(raw, problem)
        assert_refuses(raw, f"{raw}/Books.csv, line 7: ")


def test_the_csv_of_2014_has_the_user_first(tmp_path):
    raw = put(tmp_path / "raw", ratings_Books_csv=f"{CSV_2014},B,5.0,9\n")
    assert_refuses(raw, "line 31: user must be a string")
    assert_refuses(put(raw, ratings_Books_csv="A,B\n"), "user,item,rating,time")


def test_a_long_wrong_line_is_cut(tmp_path):
    raw = put(tmp_path / "raw", Books_json="x" * 10_000)
    with pytest.raises(PreparationError, match=r"xxx\.\.\. is no") as error:
        amazon.prepare(raw, tmp_path / "out")
    assert len(str(error.value)) < 300 + len(str(raw))


def test_a_file_without_line_breaks_is_not_read_whole(tmp_path):
    raw = put(tmp_path / "raw", Books_json_gz=bytes(50_000_000))
    with (
        mock.patch.object(amazon_files, "BLOCK", 1 << 16),
        mock.patch.object(amazon_files, "LONGEST_LINE", 1 << 18),
    ):
        tracemalloc.start()
        try:
            assert_refuses(
                raw, "Books.json.gz, line 1: it is longer than 262,144 bytes"
            )
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_a_truncated_archive(tmp_path):
    raw = raw_folder(tmp_path)
    path = raw / "Toys_5.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert_refuses(
        raw,
        f"{path}, line 1 or later: the archive is damaged or cut short (Com",
    )
    lines = json_lines(
        [(f"A{np.sqrt(i)}", f"B{np.cbrt(i)}") for i in range(9_999)]
    )
    put(raw, Toys_5_json_gz=lines)
    path.write_bytes(path.read_bytes()[:-20])
    with (
        mock.patch.object(amazon_files, "BLOCK", 4096),
        pytest.raises(PreparationError) as error,
    ):
        amazon.prepare(raw, tmp_path / "out")
    number = int(str(error.value).split("line ")[1].split(" or")[0])
    assert 9_700 < number <= 9_999


def test_no_archive_but_named_so(tmp_path):
    raw = put(tmp_path / "raw", Books_json=json_lines(BOOKS))
    (raw / "Books.json").rename(raw / "Books.json.gz")
    assert_refuses(
        raw, "line 1 or later: the archive is damaged or cut short (N"
    )


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    raw = put(tmp_path / "raw", Books_json_gz=json_lines(BOOKS))
    expected = amazon_reviews.read(amazon_files.find(raw), None)
    data = (raw / "Books.json.gz").read_bytes()
    refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        (raw / "Books.json.gz").write_bytes(damaged)
        try:
            read = amazon_reviews.read(amazon_files.find(raw), None)
        except PreparationError:
            refused += 1
        else:
            assert read.users == expected.users
            assert read.items == expected.items
            assert read.user.tolist() == expected.user.tolist()
            assert read.item.tolist() == expected.item.tolist()
    assert refused > len(data) - 10


@pytest.mark.parametrize("name", ["Toys_json", "Toys_json_gz", "Toys_csv"])
def test_an_empty_category(name, tmp_path):
    raw = put(tmp_path / "raw", Books_json=json_lines(BOOKS), **{name: ""})
    path = raw / name.replace("_", ".")
    assert_refuses(raw, f"{path} holds no reviews; leave Toys out of")
    path.write_bytes(b"")
    assert_refuses(raw, f"{path} holds no reviews; leave Toys out of")


def test_no_review_is_rated_so_high(tmp_path):
    raw = put(tmp_path / "raw", Books_json=json_lines(BOOKS, overall=4.0))
    assert_refuses(
        raw,
        "Books.json holds no review with a rating of at least 4.5; lower --mi",
        min_rating=4.5,
    )


def test_users_who_have_reviewed_everything(tmp_path):
    raw = raw_folder(tmp_path)
    put(
        raw,
        Few_json=json_lines([("A", "B"), ("A", "C"), ("D", "B"), ("D", "C")]),
    )
    assert_refuses(raw, "all users have reviewed all items of Few, so that no")


def test_too_few_rows_to_split(tmp_path):
    raw = put(tmp_path / "raw", Books_json=json_lines([("A", "B"), ("C", "D")]))
    assert_refuses(
        raw, "no row is left for the valid split", negatives="per_user"
    )


# Mistakes around the files.


def test_no_such_folder(tmp_path):
    assert_refuses(tmp_path / "raw", "raw is no folder; name the folder of")
    (tmp_path / "raw").write_text("")
    assert_refuses(tmp_path / "raw", "raw is no folder; name the folder of")


def test_a_folder_without_reviews(tmp_path):
    raw = put(tmp_path / "raw", meta_Books_json_gz="{}")
    assert_refuses(
        raw,
        f"{raw} holds no reviews: neither {{Category}}_5.json.gz nor "
        "{Category}.json.gz, ratings_{Category}.csv or {Category}.csv.",
    )


def test_unknown_and_repeated_categories(tmp_path):
    raw = raw_folder(tmp_path)
    assert_refuses(
        raw,
        f"{raw} holds no category 'Book'; --categories may name Books, Toys.",
        categories=["Toys", "Book"],
    )
    assert_refuses(
        raw, "--categories names Toys twice.", categories=["Toys", "Toys"]
    )
    assert_refuses(raw, "--categories names none", categories=[])


def test_a_category_of_several_files(tmp_path):
    raw = put(raw_folder(tmp_path), Toys_csv="", reviews_Toys_json="")
    assert_refuses(
        raw,
        f"{raw} holds several files of Toys, Toys.csv and Toys_5.json.gz and "
        "reviews_Toys.json; move all but one away.",
    )
    # It doesn't matter to who wants others.
    amazon.prepare(raw, tmp_path / "out", ["Books"])


def test_a_range_upside_down(tmp_path):
    assert_refuses(
        raw_folder(tmp_path),
        "--ctr_low=0.6 is above --ctr_high=0.5; swap them.",
        ctr_low=0.6,
    )


def test_the_output_is_checked_before_the_input(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(PreparationError, match="out exists; add --overwrite"):
        amazon.prepare(tmp_path / "missing", tmp_path / "out")


# The binary.


run = functools.partial(programs.run, "data_prep.amazon")


def test_the_binary(tmp_path):
    raw = put(
        tmp_path / "raw",
        Books_json=json_lines(BOOKS, overall=4),
        Toys_json_gz=json_lines([*TOYS, TOYS[0]], overall=5),
        Games_json="",
    )
    flags = [
        f"--raw={raw}",
        f"--output={tmp_path / 'out'}",
        "--categories=Toys,Books",
        "--min_rating=3.5",
        "--negatives=per_user",
        "--ctr_low=0.3",
        "--ctr_high=0.9",
        "--workers=2",
        "--seed=5",
    ]
    result = run(*flags)
    assert result.returncode == 0, result.stderr
    assert (
        "Read 61 clicks on 20 items by 15 users; 1 that repeat another are"
        in result.stderr
    )
    counts = manifest_of(tmp_path / "out")["counts"]["train"]
    toys, books = (counts[name]["rows"] for name in ("Toys", "Books"))
    assert (
        f"train: {toys + books} rows (Toys {toys}, Books {books})"
        in result.stderr
    )
    amazon.prepare(
        raw,
        tmp_path / "same",
        ["Toys", "Books"],
        3.5,
        "per_user",
        0.3,
        0.9,
        seed=5,
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "same")

    result = run(*flags)
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {tmp_path / 'out'} exists; add --overwrite to replace it, or "
        "name another folder as --output.\n"
    )
    result = run(*flags, "--overwrite", "--categories=Games")
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {raw}/Games.json holds no reviews")
    assert contents(tmp_path / "out") == contents(tmp_path / "same")


def test_flags_out_of_range(tmp_path):
    wrong = ("--negatives=none", "--ctr_low=0", "--workers=0", "--min_rating=6")
    for flag in wrong:
        assert (
            run("--raw=.", f"--output={tmp_path / 'out'}", flag).returncode == 1
        )
