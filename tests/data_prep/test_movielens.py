import itertools
import json
import pathlib
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import pyarrow.parquet as pq
import pytest

from data_prep import movielens
from data_prep.folder import PreparationError

ROOT = pathlib.Path(__file__).parents[2]
ARCHIVE = ROOT / ".." / "shared" / "data" / "ml-1m" / "ml-1m.zip"

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


def text(lines):
    return "".join(f"{line}\n" for line in lines)


def archive(path, ratings=RATINGS, users=USERS, prefix="ml-1m/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr(f"{prefix}ratings.dat", text(ratings))
        stream.writestr(f"{prefix}users.dat", text(users))
        stream.writestr(f"{prefix}movies.dat", b"1::Caf\xe9 (1995)::Drama\n")
    return path


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def decoded(path):
    """Returns each split's rows as (user, item, domain, label), raw."""
    schema = json.loads((path / "schema.json").read_text())
    values = {
        feature["name"]: [None, *feature["vocabulary"]]
        for feature in schema["features"]
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
    assert len(first) == 5
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


# Mistakes in the files: each names the file, the line and the value.


def assert_refuses(raw, message):
    """The error is one line that says `message`; nothing is written."""
    output = raw.parent / "out" / "ml"
    with pytest.raises(PreparationError) as error:
        movielens.prepare(raw, output)
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


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "data_prep.movielens", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


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
    result = run(*flags, "extra")
    assert result.returncode == 1
    assert result.stderr == ("error: 'extra' is no flag; write --name=value.\n")


def test_the_binary_loads_no_tensorflow():
    script = (
        "import sys, data_prep.movielens\n"
        "print({'tensorflow', 'keras', 'mlora_tf'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout == "set()\n", result.stderr


@pytest.mark.skipif(
    not ARCHIVE.exists(), reason="the MovieLens-1M archive isn't here"
)
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
