r"""Prepares MovieLens-1M as in Table 1 of the MLoRA paper.

A row is a rating, and a click is a rating of 5. Domains are the users'
genders, or their age groups or occupations.

    python -m data_prep.movielens --raw=../shared/data/ml-1m/ml-1m.zip \
        --domain=gender --output=data/ml1m-gender

`--raw` is the official archive, https://grouplens.org/datasets/movielens/1m/,
or the folder it unpacks to. It takes about 2 seconds. By gender, expect the
paper's counts exactly:

    rows     train    valid     test
    F      147,864   49,288   49,288
    M      452,261  150,754  150,754
    all    600,125  200,042  200,042
"""

import dataclasses
import io
import lzma
import pathlib
import re
import struct
import time
import zipfile
import zlib

import numpy as np
import pyarrow as pa
from absl import flags
from absl import logging
from pyarrow import csv

from data_prep import binary
from data_prep import folder
from data_prep.folder import PreparationError

DOMAINS = {
    "gender": ("F", "M"),
    "age": ("1", "18", "25", "35", "45", "50", "56"),
    "occupation": tuple(str(code) for code in range(21)),
}
"""The official codes of each domain, in the order of `users.dat`'s fields."""

USER_FIELDS = ("UserID", "Gender", "Age", "Occupation", "Zip-code")
RATING_FIELDS = ("UserID", "MovieID", "Rating", "Timestamp")
HIGHEST_RATING = 5

MAX_BYTES = 1 << 30
"""The official ratings.dat has 24 MB; a member this large is a zip bomb."""

_FETCH = "fetch ml-1m.zip again from grouplens.org/datasets/movielens/1m"
_INTEGER = re.compile(rb"[0-9]{1,18}")
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or an unknown compression
    ValueError,
)


@dataclasses.dataclass(frozen=True)
class RawFile:
    """A file of the dataset: its bytes, and where they are from."""

    path: str
    data: bytes

    def error(self, line: int, problem: str) -> PreparationError:
        """The error that names this file and that line of it."""
        return PreparationError(
            f"{self.path}, line {line}: {problem}; mend that line, or {_FETCH}."
        )


def prepare(
    raw: str | pathlib.Path,
    output: str | pathlib.Path,
    domain: str = "gender",
    positive_rating: int = 5,
    seed: int = 123,
    overwrite: bool = False,
) -> None:
    """Reads the raw files and writes the prepared folder.

    Args:
        raw: The archive, or the folder that holds `ratings.dat` itself or in
            `ml-1m/`.
        output: The prepared folder to write.
        domain: `"gender"`, `"age"` or `"occupation"`.
        positive_rating: The lowest rating that counts as a click.
        seed: Seed of the split.
        overwrite: Whether a prepared folder of that name is replaced.
    """
    started = time.monotonic()
    folder.check_output(output, overwrite)
    users_file = read_raw(raw, "users.dat")
    ratings_file = read_raw(raw, "ratings.dat")
    logging.info("Read %s", raw)

    users, user_domain = parse_users(users_file, domain)
    user, movie, rating = parse_ratings(ratings_file)
    user_index = _index_users(ratings_file, user, users)
    movies, movie_index = np.unique(movie, return_inverse=True)
    _check_pairs(
        ratings_file, user, movie, user_index * movies.size + movie_index
    )
    logging.info(
        "Parsed %s ratings of %s movies by %s users",
        *(f"{values.size:,}" for values in (rating, movies, users)),
    )

    label = rating >= positive_rating
    domain_index = user_domain[user_index]
    manifest = folder.write(
        output,
        folder.Prepared(
            dataset="ml-1m",
            options={"domain": domain, "positive_rating": positive_rating},
            seed=seed,
            sources={
                pathlib.PurePath(file.path).name: folder.digest(
                    io.BytesIO(file.data)
                )
                for file in (ratings_file, users_file)
            },
            vocabularies={"user": users.tolist(), "item": movies.tolist()},
            domain_name=domain,
            domains=DOMAINS[domain],
            columns={
                "user": user_index + 1,
                "item": movie_index + 1,
                folder.DOMAIN: domain_index,
                folder.LABEL: label,
            },
            split=folder.stratified_split(label, domain_index, seed=seed),
        ),
        overwrite,
    )
    for split, counts in manifest["counts"].items():
        logging.info("%s: %s", split, _in_words(counts))
    logging.info("Wrote %s in %.1f s", output, time.monotonic() - started)


def read_raw(raw: str | pathlib.Path, name: str) -> RawFile:
    """Reads one file of the dataset from the archive or the folder.

    An archive is never extracted: the named member alone is read, in memory.
    """
    raw = pathlib.Path(raw)
    if not raw.exists():
        raise PreparationError(
            f"{raw} doesn't exist; name ml-1m.zip, or the folder it unpacks "
            "to, as --raw."
        )
    if raw.is_dir():
        return _read_from_folder(raw, name)
    with raw.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _read_from_archive(archive, raw, name)
        except PreparationError:
            raise
        except _ZIP_ERRORS as error:
            raise PreparationError(
                f"{raw}: can't read {name} from this archive ({error}); "
                f"{_FETCH}."
            ) from error


def _read_from_folder(raw: pathlib.Path, name: str) -> RawFile:
    for path in (raw / name, raw / "ml-1m" / name):
        if path.is_file():
            return RawFile(str(path), path.read_bytes())
    raise PreparationError(
        f"{raw} holds neither {name} nor ml-1m/{name}; name ml-1m.zip, or the "
        "folder it unpacks to, as --raw."
    )


def _read_from_archive(
    archive: zipfile.ZipFile, raw: pathlib.Path, name: str
) -> RawFile:
    for member in (name, f"ml-1m/{name}"):
        if member not in archive.NameToInfo:
            continue
        size = archive.getinfo(member).file_size
        if size > MAX_BYTES:
            raise PreparationError(
                f"{raw}: {member} claims {size:,} bytes, far more than "
                f"MovieLens-1M has; {_FETCH}."
            )
        # To read no more than was claimed bounds the memory, even if the
        # claim is a lie; the checksum then tells.
        with archive.open(member) as stream:
            return RawFile(f"{raw}/{member}", stream.read(size))
    raise PreparationError(
        f"{raw} holds neither {name} nor ml-1m/{name}; {_FETCH}."
    )


def parse_users(file: RawFile, domain: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted user ids, and for each the index of its domain."""
    indices: dict[int, int] = {}
    for number, line in enumerate(file.data.splitlines(), 1):
        fields = _fields(file, number, line, USER_FIELDS)
        user = _integer(file, number, "UserID", fields[0])
        if user in indices:
            raise file.error(number, f"user {user} is there a second time")
        indices[user] = _domain_indices(file, number, fields)[domain]
    users = sorted(indices)
    return (
        np.array(users, np.int64),
        np.array([indices[user] for user in users], np.int64),
    )


def _domain_indices(
    file: RawFile, number: int, fields: list[bytes]
) -> dict[str, int]:
    """Returns the index of each of a user's codes, all of them checked."""
    indices = {}
    for (name, known), code in zip(DOMAINS.items(), fields[1:4], strict=True):
        text = code.decode("latin-1")
        if text not in known:
            raise file.error(
                number,
                f"{name} must be one of {', '.join(known)}, "
                f"and is {_show(code)}",
            )
        indices[name] = known.index(text)
    return indices


def parse_ratings(
    file: RawFile,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the user ids, the movie ids and the ratings, line by line."""
    if not file.data:
        raise PreparationError(f"{file.path} holds no ratings; {_FETCH}.")
    # Signs, spaces and hexadecimal digits would pass for integers in Arrow.
    if file.data.translate(None, b"0123456789:\r\n"):
        raise _first_bad_line(file)
    try:
        table = _parse_with_arrow(file.data)
    except pa.ArrowInvalid:
        raise _first_bad_line(file) from None
    if any(column.null_count for column in table.columns):
        raise _first_bad_line(file)
    user, movie, rating, _ = (column.to_numpy() for column in table.columns)
    outside = (rating < 1) | (rating > HIGHEST_RATING)
    if outside.any():
        row = int(outside.argmax())
        raise file.error(
            row + 1,
            f"a rating must be 1 to {HIGHEST_RATING}, and is {rating[row]}",
        )
    return user, movie, rating


def _parse_with_arrow(data: bytes) -> pa.Table:
    """Reads `a::b::c::d` as seven columns parted by ":", every other empty."""
    types = {}
    for name in RATING_FIELDS:
        types[name] = pa.int64()
        types[f"after {name}"] = pa.null()
    types.popitem()
    return csv.read_csv(
        pa.py_buffer(data),
        read_options=csv.ReadOptions(column_names=list(types)),
        parse_options=csv.ParseOptions(
            delimiter=":", quote_char=False, ignore_empty_lines=False
        ),
        convert_options=csv.ConvertOptions(
            column_types=types, null_values=[""]
        ),
    ).select(RATING_FIELDS)


def _first_bad_line(file: RawFile) -> PreparationError:
    """Finds the line that the fast reader, which can't say, choked on."""
    for number, line in enumerate(file.data.splitlines(), 1):
        try:
            fields = _fields(file, number, line, RATING_FIELDS)
            for name, value in zip(RATING_FIELDS, fields, strict=True):
                _integer(file, number, name, value)
        except PreparationError as error:
            return error
    return PreparationError(f"{file.path} is damaged; {_FETCH}.")


def _fields(
    file: RawFile, number: int, line: bytes, names: tuple[str, ...]
) -> list[bytes]:
    fields = line.split(b"::")
    if len(fields) != len(names):
        raise file.error(
            number,
            f"there must be {len(names)} fields, {'::'.join(names)}, and "
            f"there are {len(fields)} in {_show(line)}",
        )
    return fields


def _integer(file: RawFile, number: int, name: str, value: bytes) -> int:
    if not _INTEGER.fullmatch(value):
        raise file.error(
            number, f"{name} must be an integer, and is {_show(value)}"
        )
    return int(value)


def _show(value: bytes, length: int = 60) -> str:
    text = repr(value.decode("latin-1"))
    return text if len(text) <= length else f"{text[:length]}..."


def _index_users(
    file: RawFile, user: np.ndarray, users: np.ndarray
) -> np.ndarray:
    """Returns the index of every row's user in the sorted `users`."""
    known = np.isin(user, users)
    if not known.all():
        row = int(known.argmin())
        raise file.error(row + 1, f"user {user[row]} isn't in users.dat")
    return np.searchsorted(users, user)


def _check_pairs(
    file: RawFile, user: np.ndarray, movie: np.ndarray, pair: np.ndarray
) -> None:
    """Raises on the first line whose user has rated its movie before."""
    order = np.argsort(pair, kind="stable")
    again = pair[order][1:] == pair[order][:-1]
    if again.any():
        row = int(order[1:][again].min())
        first = (pair == pair[row]).argmax()
        raise file.error(
            row + 1,
            f"user {user[row]} has rated movie {movie[row]} before, on line "
            f"{first + 1}",
        )


def _in_words(counts: dict[str, dict[str, int]]) -> str:
    rows = {name: count["rows"] for name, count in counts.items()}
    by_domain = ", ".join(f"{name} {count:,}" for name, count in rows.items())
    return f"{sum(rows.values()):,} rows ({by_domain})"


def main() -> None:
    """Defines the flags, reads them and prepares."""
    binary.define_flags()
    flags.DEFINE_string(
        "raw", None, "ml-1m.zip, or the folder it unpacks to.", required=True
    )
    flags.DEFINE_enum(
        "domain", "gender", list(DOMAINS), "What parts users into domains."
    )
    flags.DEFINE_integer(
        "positive_rating",
        HIGHEST_RATING,
        "The lowest rating that counts as a click.",
        lower_bound=2,
        upper_bound=HIGHEST_RATING,
    )
    binary.run(prepare, "raw", "domain", "positive_rating")


if __name__ == "__main__":
    main()
