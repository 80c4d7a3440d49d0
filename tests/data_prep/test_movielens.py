import functools
import itertools
import json
import os
import pathlib
import struct
import tracemalloc
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep import movielens
from data_prep.layout import PreparationError
from data_prep.movielens_files import read_raw
from mlora_tf import data
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from tests import programs

ARCHIVE = pathlib.Path(os.environ.get("ML1M_ZIP", "ml-1m.zip"))
"""The real one, where somebody has it."""

USERS = [
    "1::F::1::10::48067",
    "3::M::25::0::55117",
    "2::M::56::16::70072-1234",
    "9::F::18::20::00231",  # has rated nothing
]
# How many of the movies 10, 20, ... 100 each user rates 5; the others get 4.
FIVES = {1: 5, 2: 2, 3: 3}
RATINGS = [
    f"{user}::{10 * movie}::{5 if movie <= fives else 4}::978300760"
    for user, fives in FIVES.items()
    for movie in range(1, 11)
]
MOVIES = [
    *(f"{10 * i}::Part {i} (19{i:02})::Drama" for i in range(2, 10)),
    "100::Long: A (Short) Film (2000)::Film-Noir|Action|Drama",
    "10::Caf\xe9 (1901)::Children's|War",
    "1::Rated by Nobody (1950)::Western",
]


def text(lines):
    return "".join(f"{line}\n" for line in lines)


def archive(path, ratings=RATINGS, users=USERS, prefix="ml-1m/", movies=MOVIES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr(f"{prefix}ratings.dat", text(ratings))
        stream.writestr(f"{prefix}users.dat", text(users))
        stream.writestr(f"{prefix}movies.dat", text(movies).encode("latin-1"))
    return path


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def decoded(path):
    """Returns each split's rows as (user, item, domain, label), raw."""
    schema = json.loads((path / "schema.json").read_text())
    values = {
        feature["name"]: [None, *feature["vocabulary"]]
        for feature in schema["features"]
        if feature["name"] in ("user", "item")
    }
    values["domain"] = schema["domain"]["values"]
    rows = {}
    for split in ("train", "valid", "test"):
        table = pq.read_table(path / f"{split}.parquet").to_pydict()
        columns = [
            [values[name][value] for value in table[name]]
            for name in ("user", "item", "domain")
        ]
        rows[split] = list(zip(*columns, table["label"], strict=True))
    return rows


def all_rows(path):
    return list(itertools.chain.from_iterable(decoded(path).values()))


def test_rows_and_counts_by_gender(tmp_path):
    movielens.prepare(archive(tmp_path / "raw.zip"), tmp_path / "out")
    assert sorted(all_rows(tmp_path / "out")) == [
        (user, 10 * movie, "F" if user == 1 else "M", int(movie <= fives))
        for user, fives in FIVES.items()
        for movie in range(1, 11)
    ]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    small = {
        "F": {"rows": 2, "clicks": 1},
        "M": {"rows": 4, "clicks": 1},
    }
    assert manifest["counts"] == {
        "train": {
            "F": {"rows": 6, "clicks": 3},
            "M": {"rows": 12, "clicks": 3},
        },
        "valid": small,
        "test": small,
    }
    assert manifest["dataset"] == "ml-1m"
    assert manifest["options"] == {"domain": "gender", "positive_rating": 5}
    assert {
        name: source["bytes"] for name, source in manifest["sources"].items()
    } == {"ratings.dat": len(text(RATINGS)), "users.dat": len(text(USERS))}


def test_schema_by_gender(tmp_path):
    movielens.prepare(archive(tmp_path / "raw.zip"), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "schema.json").read_text()) == {
        "format": "mlora_tf.schema/1",
        "features": [
            {"kind": "sparse", "name": "user", "vocabulary": [1, 2, 3, 9]},
            {
                "kind": "sparse",
                "name": "item",
                "vocabulary": [10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
            },
        ],
        "domain": {"name": "gender", "values": ["F", "M"]},
        "label": "label",
    }


@pytest.mark.parametrize(
    ("domain", "values", "of_user"),
    [
        (
            "age",
            ["1", "18", "25", "35", "45", "50", "56"],
            {1: "1", 2: "56", 3: "25"},
        ),
        (
            "occupation",
            [str(code) for code in range(21)],
            {1: "10", 2: "16", 3: "0"},
        ),
    ],
)
def test_other_domains(domain, values, of_user, tmp_path):
    raw = archive(tmp_path / "raw.zip")
    movielens.prepare(raw, tmp_path / "out", domain=domain)
    schema = json.loads((tmp_path / "out" / "schema.json").read_text())
    assert schema["domain"] == {"name": domain, "values": values}
    rows = all_rows(tmp_path / "out")
    assert {(user, name) for user, _, name, _ in rows} == set(of_user.items())
    assert len(rows) == 30


def test_a_lower_rating_may_be_a_click(tmp_path):
    ratings = [*RATINGS[:20], *(f"3::{i}::{i}::0" for i in range(1, 6))]
    raw = archive(tmp_path / "raw.zip", ratings)
    movielens.prepare(raw, tmp_path / "out", positive_rating=4)
    rows = all_rows(tmp_path / "out")
    assert all(label for user, *_, label in rows if user < 3)
    assert sorted(
        (item, label) for user, item, _, label in rows if user == 3
    ) == [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1)]


def test_every_form_of_the_input_gives_the_same_bytes(tmp_path):
    archive(tmp_path / "official.zip")
    archive(tmp_path / "flat.zip", prefix="")
    for name, path in (("above", "above/ml-1m"), ("inside", "inside")):
        folder = tmp_path / path
        folder.mkdir(parents=True)
        (folder / "ratings.dat").write_text(text(RATINGS))
        (folder / "users.dat").write_text(text(USERS))
        assert (tmp_path / name).is_dir()
    outputs = []
    for name in ("official.zip", "official.zip", "flat.zip", "above", "inside"):
        outputs.append(tmp_path / f"out{len(outputs)}")
        movielens.prepare(tmp_path / name, outputs[-1])
    first, *others = map(contents, outputs)
    assert len(first) == 6
    assert others == [first] * 4


def test_line_endings_of_windows(tmp_path):
    movielens.prepare(archive(tmp_path / "raw.zip"), tmp_path / "unix")
    windows = archive(
        tmp_path / "windows.zip",
        [f"{line}\r" for line in RATINGS],
        [f"{line}\r" for line in USERS],
    )
    movielens.prepare(windows, tmp_path / "windows")
    assert decoded(tmp_path / "unix") == decoded(tmp_path / "windows")


def test_the_seed_deals_the_rows(tmp_path):
    raw = archive(tmp_path / "raw.zip")
    movielens.prepare(raw, tmp_path / "one", seed=1)
    movielens.prepare(raw, tmp_path / "two", seed=2)
    one, two = tmp_path / "one", tmp_path / "two"
    assert decoded(one)["train"] != decoded(two)["train"]
    assert sorted(all_rows(one)) == sorted(all_rows(two))


# All that the files say.

# Movie 10 * i at the time i, but two pairs at one time and one out of order.
TIMES = {1: 7, 2: 2, 3: 3, 4: 3, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9, 10: 1}
TIMED = [
    f"{user}::{10 * movie}::{5 if movie <= fives else 4}::{TIMES[movie]}"
    for user, fives in FIVES.items()
    for movie in range(1, 11)
]


def raw_inputs(path):
    """By user and movie, all inputs of the row in raw values."""
    log = data.load(path)
    rows = {}
    for split in (log.train, log.valid, log.test):
        for row in range(len(split)):
            values = {"domain": log.schema.domains[split.domain[row]]}
            for feature in log.schema.features:
                column = split.inputs[feature.name][row]
                if feature.kind == "dense":
                    values[feature.name] = float(column)
                    continue
                values[feature.name] = tuple(
                    feature.vocabulary[one - 1]
                    for one in np.atleast_1d(column)
                    if one >= 0
                )
            rows[values["user"][0], values["item"][0]] = values
    return rows


def test_all_features_by_hand(tmp_path):
    raw = archive(tmp_path / "raw.zip", TIMED)
    movielens.prepare(raw, tmp_path / "out", features="all")
    rows = raw_inputs(tmp_path / "out")
    assert len(rows) == 30
    # At its time, 7, user 1 had clicked movies 2 to 5, and movie 1 at 7, too.
    assert rows[1, 70] == {
        "user": (1,),
        "item": (70,),
        "age": ("1",),
        "occupation": ("10",),
        "genres": ("Drama",),
        "year": 1907.0,
        "history": (20, 30, 40, 50),
        "domain": "F",
    }
    assert rows[1, 80]["history"] == (20, 30, 40, 50, 10)
    assert rows[1, 40]["history"] == (20,)
    assert rows[1, 100]["history"] == ()
    assert rows[2, 100]["genres"] == ("Film-Noir", "Action", "Drama")
    assert rows[2, 100]["year"] == 2000.0
    assert rows[2, 60]["history"] == (20,)
    assert rows[2, 90]["history"] == (20, 10)
    assert rows[3, 10]["genres"] == ("Children's", "War")
    assert rows[3, 10]["year"] == 1901.0
    assert rows[3, 10]["occupation"] == ("0",)


def test_the_schema_of_all_features(tmp_path):
    raw = archive(tmp_path / "raw.zip", TIMED)
    movielens.prepare(raw, tmp_path / "out", features="all", history=4)
    log = data.load(tmp_path / "out")
    movies = tuple(range(10, 101, 10))
    genres = log.schema.feature("genres").vocabulary
    assert len(genres) == 18
    assert list(genres) == sorted(genres)
    year = log.schema.feature("year")
    assert log.schema.features == (
        SparseFeature("user", (1, 2, 3, 9)),
        SparseFeature("item", movies),
        SparseFeature("age", ("1", "18", "25", "35", "45", "50", "56")),
        SparseFeature("occupation", tuple(str(code) for code in range(21))),
        SequenceFeature("genres", genres, 3),
        year,
        SequenceFeature("history", movies, 4, "din", "item", "item"),
    )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["options"] == {
        "domain": "gender",
        "positive_rating": 5,
        "features": "all",
        "history": 4,
    }
    assert set(manifest["sources"]) == {
        "movies.dat",
        "ratings.dat",
        "users.dat",
    }


def test_a_history_is_one_of_all_features(tmp_path):
    raw = archive(tmp_path / "raw.zip", TIMED)
    said = "--history=4 is for --features=all; add that, or leave it out."
    assert_refuses(raw, said, history=4)


@pytest.mark.parametrize("domain", ["gender", "age", "occupation"])
def test_the_domain_is_no_second_feature(domain, tmp_path):
    raw = archive(tmp_path / "raw.zip", TIMED)
    movielens.prepare(raw, tmp_path / "out", domain, features="all")
    schema = data.load(tmp_path / "out").schema
    others = {"gender", "age", "occupation"} - {domain}
    assert others < set(schema.input_names)
    assert domain not in schema.input_names


def test_buckets_of_years_are_fitted_on_training_rows(tmp_path):
    # Each movie has a year of its own, and one rating by user 1.
    ratings = [f"1::{movie}::5::{movie}" for movie in range(1, 401)]
    movies = [f"{i}::A ({1000 + i})::Drama" for i in range(1, 401)]
    raw = archive(tmp_path / "raw.zip", ratings, movies=movies)
    movielens.prepare(raw, tmp_path / "out", features="all")
    log = data.load(tmp_path / "out")
    train = log.train.inputs["year"]
    assert len(train) == 240
    boundaries = log.schema.feature("year").boundaries
    assert list(boundaries) == [
        float(np.sort(train)[24 * bucket - 1]) for bucket in range(1, 10)
    ]
    every = np.arange(1001, 1401)
    of_all = [every[40 * bucket - 1] for bucket in range(1, 10)]
    assert list(boundaries) != of_all


def test_a_history_has_its_most_recent_clicks(tmp_path):
    raw = archive(tmp_path / "raw.zip", TIMED)
    movielens.prepare(raw, tmp_path / "out", features="all", history=2)
    rows = raw_inputs(tmp_path / "out")
    assert rows[1, 80]["history"] == (50, 10)
    assert rows[1, 40]["history"] == (20,)


def test_a_history_has_what_counts_as_a_click(tmp_path):
    raw = archive(tmp_path / "raw.zip", TIMED)
    movielens.prepare(raw, tmp_path / "out", positive_rating=4, features="all")
    rows = raw_inputs(tmp_path / "out")
    assert rows[2, 50]["history"] == (100, 20, 30, 40)


def test_more_features_leave_the_rows_as_they_are(tmp_path):
    raw = archive(tmp_path / "raw.zip", TIMED)
    movielens.prepare(raw, tmp_path / "ids")
    movielens.prepare(raw, tmp_path / "all", features="all")
    assert decoded(tmp_path / "ids") == decoded(tmp_path / "all")


def test_all_features_have_the_same_bytes_on_every_run(tmp_path):
    raw = archive(tmp_path / "raw.zip", TIMED)
    for name in ("one", "two"):
        movielens.prepare(raw, tmp_path / name, features="all")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("20::Part 2 (1902)", "there are 2 in '20::Part 2 (1902)'"),
        ("20::A::B (1902)::Drama", "there are 4 in"),
        ("x::Part 2 (1902)::Drama", "MovieID must be an integer, and is 'x'"),
        ("30::Part 2 (1902)::Drama", "movie 30 is there a second time"),
        (
            "20::Part 2::Drama",
            "a title must end in its year, as in (1995), and",
        ),
        ("20::Part 2 (1902) ::Drama", "and is 'Part 2 (1902) '"),
        ("20::Part 2 (190)::Drama", "and is 'Part 2 (190)'"),
        ("20::Part 2 (1902)::Drama|Opera", "Western, and is 'Opera'"),
        ("20::Part 2 (1902)::", "a genre must be one of Action, Adventure, "),
        ("20::Part 2 (1902)::Caf\xe9", "Western, and is 'Caf\xe9'"),
        ("20::Part 2 (1902)::War|War", "a genre is there twice in 'War|War'"),
    ],
)
def test_a_wrong_movie(line, problem, tmp_path):
    # The line is the second one, and movie 30 is on the first.
    movies = [MOVIES[1], line, *MOVIES[2:]]
    raw = archive(tmp_path / "raw.zip", movies=movies)
    where = f"{raw}/ml-1m/movies.dat, line 2: "
    assert_refuses(raw, problem, features="all")
    assert_refuses(raw, where, features="all")
    # Whoever wants the ids alone need not mend it.
    movielens.prepare(raw, tmp_path / "ids")


def test_a_rated_movie_that_is_missing(tmp_path):
    raw = archive(tmp_path / "raw.zip", movies=MOVIES[:-2])
    assert_refuses(raw, "movie 10 isn't in movies.dat", features="all")
    assert_refuses(raw, "ratings.dat, line 1: ", features="all")


def test_all_features_of_too_few_ratings(tmp_path):
    raw = archive(tmp_path / "raw.zip", RATINGS[:1])
    assert_refuses(raw, "no row is left for the train split", features="all")


def test_all_features_need_all_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as stream:
        stream.writestr("ml-1m/users.dat", text(USERS))
        stream.writestr("ml-1m/ratings.dat", text(RATINGS))
    assert_refuses(
        tmp_path / "raw.zip", "neither movies.dat nor ml-1m/mo", features="all"
    )


# Mistakes in the files: each names the file, the line and the value.


def assert_refuses(raw, message, **options):
    """The error is one line that says `message`; nothing is written."""
    output = raw.parent / "out" / "ml"
    with pytest.raises(PreparationError) as error:
        movielens.prepare(raw, output, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not output.parent.exists()


def ratings_with(line, replaced=3):
    return [*RATINGS[: replaced - 1], line, *RATINGS[replaced:]]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1::30::5", "4 fields, UserID::MovieID::Rating::Timestamp, and there"),
        ("1::30::5", "are 3 in '1::30::5'"),
        ("1::30::5::0::0", "there are 5 in"),
        ("1:30::5::0", "there are 3 in"),
        ("1:2:3:4:5:6:7", "there are 1 in"),
        ("1,30,5,0", "there are 1 in '1,30,5,0'"),
        ("", "there are 1 in ''"),
        ("1::x::5::0", "MovieID must be an integer, and is 'x'"),
        ("1::30::4.5::0", "Rating must be an integer, and is '4.5'"),
        ("::30::5::0", "UserID must be an integer, and is ''"),
        ("1::30::5::", "Timestamp must be an integer, and is ''"),
        ("-1::30::5::0", "UserID must be an integer, and is '-1'"),
        ("1:: 30::5::0", "MovieID must be an integer, and is ' 30'"),
        ("1::0x1e::5::0", "MovieID must be an integer, and is '0x1e'"),
        (f"1::{'9' * 30}::5::0", "MovieID must be an integer, and is '999"),
        ("1::30::5::\x1b[2J", "Timestamp must be an integer, and is '\\x1b"),
        ("1::30::0::0", "a rating must be 1 to 5, and is 0"),
        ("1::30::6::0", "a rating must be 1 to 5, and is 6"),
        ("4::30::5::0", "user 4 isn't in users.dat"),
        ("1::10::4::0", "user 1 has rated movie 10 before, on line 1"),
    ],
)
def test_a_wrong_rating(line, problem, tmp_path):
    raw = archive(tmp_path / "raw.zip", ratings_with(line))
    assert_refuses(raw, problem)
    assert_refuses(raw, f"{raw}/ml-1m/ratings.dat, line 3: ")
    assert_refuses(raw, "; mend that line, or fetch ml-1m.zip again")


def test_a_long_wrong_line_is_cut(tmp_path):
    raw = archive(tmp_path / "raw.zip", ratings_with("x" * 10_000))
    with pytest.raises(PreparationError) as error:
        movielens.prepare(raw, tmp_path / "out")
    assert "xxx..." in str(error.value)
    assert len(str(error.value)) < 400 + len(str(raw))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2::M::56::16", "there are 4 in '2::M::56::16'"),
        ("two::M::56::16::0", "UserID must be an integer, and is 'two'"),
        ("1::M::56::16::0", "user 1 is there a second time"),
        ("2::X::56::16::0", "gender must be one of F, M, and is 'X'"),
        ("2::M::57::16::0", "age must be one of 1, 18, 25, 35, 45, 50, 56, "),
        ("2::M::56::21::0", "19, 20, and is '21'"),
        ("2::M::56::\xe9::0", "19, 20, and is 'Ã©'"),
    ],
)
def test_a_wrong_user(line, problem, tmp_path):
    users = [USERS[0], line, *USERS[2:]]
    raw = archive(tmp_path / "raw.zip", users=users)
    assert_refuses(raw, problem)
    assert_refuses(raw, f"{raw}/ml-1m/users.dat, line 2: ")


def test_no_ratings(tmp_path):
    raw = archive(tmp_path / "raw.zip", ratings=[])
    assert_refuses(raw, "ratings.dat holds no ratings; fetch")


def test_too_few_ratings_to_split(tmp_path):
    raw = archive(tmp_path / "raw.zip", RATINGS[:2])
    assert_refuses(raw, "no row is left for the valid split")


def test_a_wrong_line_of_an_unpacked_file_names_it(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "users.dat").write_text(text(USERS))
    path = tmp_path / "raw" / "ratings.dat"
    path.write_text(text(ratings_with("1::x::5::0")))
    assert_refuses(tmp_path / "raw", f"{path}, line 3: MovieID must be")


# Mistakes around the files.


def test_no_such_path(tmp_path):
    assert_refuses(tmp_path / "ml-1m.zip", "ml-1m.zip doesn't exist; name")


def test_a_folder_without_ratings(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "users.dat").write_text(text(USERS))
    assert_refuses(tmp_path / "raw", "neither ratings.dat nor ml-1m/ratings")


def test_a_missing_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as stream:
        stream.writestr("ml-1m/users.dat", text(USERS))
        stream.writestr("../ratings.dat", text(RATINGS))
    assert_refuses(tmp_path / "raw.zip", "neither ratings.dat nor ml-1m/ratin")


def test_not_an_archive(tmp_path):
    (tmp_path / "raw.zip").write_text("<html>404 Not Found</html>")
    assert_refuses(tmp_path / "raw.zip", "can't read users.dat from this arch")


def test_a_truncated_archive(tmp_path):
    raw = archive(tmp_path / "raw.zip")
    raw.write_bytes(raw.read_bytes()[:-40])
    assert_refuses(raw, "can't read users.dat from this archive")


def test_a_flipped_bit(tmp_path):
    raw = tmp_path / "raw.zip"
    with zipfile.ZipFile(raw, "w") as stream:  # stored, not compressed
        stream.writestr("ml-1m/users.dat", text(USERS))
        stream.writestr("ml-1m/ratings.dat", text(RATINGS))
    data = raw.read_bytes()
    assert data.count(b"1::20::5") == 1
    raw.write_bytes(data.replace(b"1::20::5", b"1::20::4"))
    assert_refuses(raw, "can't read ratings.dat from this archive (Bad CRC")


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    raw = archive(tmp_path / "raw.zip")
    movielens.prepare(raw, tmp_path / "good")
    expected = contents(tmp_path / "good")
    data = raw.read_bytes()
    refused = 0
    for position in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        raw.write_bytes(damaged)
        try:
            movielens.prepare(raw, tmp_path / "out", overwrite=True)
        except PreparationError:
            refused += 1
        else:
            assert contents(tmp_path / "out") == expected
    assert refused > 50


def claiming(raw, member, size):
    """Rewrites the size that an archive's directory claims for a member."""
    data = bytearray(raw.read_bytes())
    entry = data.index(b"PK\1\2")
    while not data[entry + 46 :].startswith(member.encode()):
        entry = data.index(b"PK\1\2", entry + 1)
    data[entry + 24 : entry + 28] = struct.pack("<I", size)
    raw.write_bytes(data)


def test_a_zip_bomb_is_not_read(tmp_path):
    raw = archive(tmp_path / "raw.zip")
    claiming(raw, "ml-1m/ratings.dat", 2**30 + 1)
    assert_refuses(raw, "ml-1m/ratings.dat claims 1,073,741,825 bytes")


def test_a_zip_bomb_that_lies_about_its_size(tmp_path):
    raw = archive(tmp_path / "raw.zip", ["1" * 50_000_000])
    claiming(raw, "ml-1m/ratings.dat", 100)
    tracemalloc.start()
    try:
        assert_refuses(raw, "can't read ratings.dat from this archive (Bad")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_an_archive_leaves_nothing_behind(tmp_path):
    raw = archive(tmp_path / "raw.zip")
    with zipfile.ZipFile(raw, "a") as stream:
        stream.writestr("../../evil.sh", "rm -rf /")
    movielens.prepare(raw, tmp_path / "in" / "out")
    names = {path.name for path in tmp_path.rglob("*")}
    assert names == {"raw.zip", "in", "out", *contents(tmp_path / "in" / "out")}
    assert not (tmp_path.parent / "evil.sh").exists()


def test_the_output_is_checked_before_the_input(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(PreparationError, match="out exists; add --overwrite"):
        movielens.prepare(tmp_path / "missing.zip", tmp_path / "out")


# The binary.


run = functools.partial(programs.run, "data_prep.movielens")


def test_the_binary(tmp_path):
    raw = archive(tmp_path / "raw.zip")
    flags = [
        f"--raw={raw}",
        f"--output={tmp_path / 'out'}",
        "--domain=age",
        "--positive_rating=4",
        "--seed=5",
    ]
    result = run(*flags)
    assert result.returncode == 0, result.stderr
    assert "30 ratings of 10 movies by 4 users" in result.stderr
    assert "train: 18 rows" in result.stderr
    movielens.prepare(raw, tmp_path / "same", "age", 4, 5)
    assert contents(tmp_path / "out") == contents(tmp_path / "same")

    result = run(*flags)
    assert result.returncode == 1
    assert result.stderr == (
        f"error: {tmp_path / 'out'} exists; add --overwrite to replace it, or "
        "name another folder as --output.\n"
    )
    assert run(*flags, "--overwrite").returncode == 0
    result = run(*flags, "--overwrite", "--features=all", "--history=3")
    assert result.returncode == 0, result.stderr
    movielens.prepare(
        raw, tmp_path / "every", "age", 4, 5, features="all", history=3
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "every")
    for wrong in ("--features=none", "--history=0"):
        assert run(*flags, "--overwrite", wrong).returncode == 1
    result = run(*flags, "extra")
    assert result.returncode == 1
    assert result.stderr == ("error: 'extra' is no flag; write --name=value.\n")


@pytest.mark.skipif(not ARCHIVE.exists(), reason="ML1M_ZIP names no archive")
def test_the_real_archive_has_the_counts_of_the_paper(tmp_path):
    movielens.prepare(ARCHIVE, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    rows = {
        split: [count["rows"] for count in counts.values()]
        for split, counts in manifest["counts"].items()
    }
    assert rows == {
        "train": [147_864, 452_261],
        "valid": [49_288, 150_754],
        "test": [49_288, 150_754],
    }
    assert {
        split: manifest["files"][f"{split}.parquet"]["rows"] for split in rows
    } == {"train": 600_125, "valid": 200_042, "test": 200_042}
    clicks = sum(
        count["clicks"]
        for counts in manifest["counts"].values()
        for count in counts.values()
    )
    assert clicks == 226_310
    schema = json.loads((tmp_path / "out" / "schema.json").read_text())
    sizes = [len(feature["vocabulary"]) for feature in schema["features"]]
    assert sizes == [6040, 3706]


@pytest.mark.skipif(not ARCHIVE.exists(), reason="ML1M_ZIP names no archive")
def test_all_features_of_the_real_archive(tmp_path):
    movielens.prepare(ARCHIVE, tmp_path / "out", features="all")
    log = data.load(tmp_path / "out")
    lines = read_raw(ARCHIVE, "ratings.dat").data.splitlines()
    of_user = {}
    for line in lines:
        user, movie, rating, timestamp = map(int, line.split(b"::"))
        of_user.setdefault(user, {})[movie] = (timestamp, rating)
    user, item = (log.schema.feature(name) for name in ("user", "item"))
    inputs = log.test.inputs
    for row in np.random.default_rng(0).integers(0, len(log.test), 200):
        rated = of_user[user.vocabulary[inputs["user"][row] - 1]]
        now, rating = rated[item.vocabulary[inputs["item"][row] - 1]]
        assert log.test.label[row] == (rating == 5)
        # A stable sort: ratings of one time stay in the file's order.
        before = sorted(
            (
                movie
                for movie, (time, stars) in rated.items()
                if time < now and stars == 5
            ),
            key=lambda movie: rated[movie][0],
        )
        assert [
            item.vocabulary[one - 1]
            for one in inputs["history"][row]
            if one >= 0
        ] == before[-20:]
