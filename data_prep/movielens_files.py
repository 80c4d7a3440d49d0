"""Reads the files of MovieLens-1M, every line of them checked."""

import dataclasses
import pathlib
import re
import zipfile

import numpy as np
import pyarrow as pa
from pyarrow import csv

from data_prep.archive import readable
from data_prep.features import lists
from data_prep.layout import PreparationError
from data_prep.layout import short
from data_prep.layout import wrong_line

DOMAINS = {
    "gender": ("F", "M"),
    "age": ("1", "18", "25", "35", "45", "50", "56"),
    "occupation": tuple(str(code) for code in range(21)),
}
"""The official codes of each domain, in the order of `users.dat`'s fields."""

GENRES = (
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""The official genres of `movies.dat`."""

USER_FIELDS = ("UserID", "Gender", "Age", "Occupation", "Zip-code")
RATING_FIELDS = ("UserID", "MovieID", "Rating", "Timestamp")
MOVIE_FIELDS = ("MovieID", "Title", "Genres")
HIGHEST_RATING = 5

MAX_BYTES = 1 << 30
"""The official ratings.dat has 24 MB; a member this large is a zip bomb."""

_FETCH = "fetch ml-1m.zip again from grouplens.org/datasets/movielens/1m"
_INTEGER = re.compile(rb"[0-9]{1,18}")
_YEAR = re.compile(rb"\(([0-9]{4})\)$")


@dataclasses.dataclass(frozen=True)
class RawFile:
    """A file of the dataset: its bytes, and where they are from."""

    path: str
    data: bytes

    def error(self, line: int, problem: str) -> PreparationError:
        """The error that names this file and that line of it."""
        return wrong_line(self.path, line, problem, _FETCH)


def read_raw(raw: str | pathlib.Path, name: str) -> RawFile:
    """Reads one file of the dataset from the archive or the folder.

    An archive is never extracted: the named member alone is read, in memory.
    Another one can do no harm, whatever its name; `archive.opened`, which
    hands out all of them, would refuse the archive.
    """
    raw = pathlib.Path(raw)
    if not raw.exists():
        raise PreparationError(
            f"{raw} doesn't exist; name ml-1m.zip, or the folder it unpacks "
            "to, as --raw."
        )
    if raw.is_dir():
        return _read_from_folder(raw, name)
    with (
        raw.open("rb") as stream,
        readable(f"{raw}: can't read {name} from this archive", _FETCH),
        zipfile.ZipFile(stream) as archive,
    ):
        return _read_from_archive(archive, raw, name)


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


@dataclasses.dataclass(frozen=True)
class Users:
    """The users, sorted by their ids.

    Attributes:
        ids: Their ids.
        codes: By name in `DOMAINS`, the index of each user's code.
    """

    ids: np.ndarray
    codes: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Movies:
    """The movies, sorted by their ids.

    Attributes:
        ids: Their ids.
        year: The year of each one's release.
        genres: A list for each, of ids in the vocabulary `GENRES`.
    """

    ids: np.ndarray
    year: np.ndarray
    genres: pa.ListArray


@dataclasses.dataclass(frozen=True)
class Ratings:
    """The ratings, line by line: one number each."""

    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray


def parse_users(file: RawFile) -> Users:
    """Reads `users.dat`."""
    indices: dict[int, dict[str, int]] = {}
    for number, line in enumerate(file.data.splitlines(), 1):
        fields = _fields(file, number, line, USER_FIELDS)
        user = _integer(file, number, "UserID", fields[0])
        if user in indices:
            raise file.error(number, f"user {user} is there a second time")
        indices[user] = _domain_indices(file, number, fields)
    users = sorted(indices)
    return Users(
        np.array(users, np.int64),
        {
            name: np.array([indices[user][name] for user in users], np.int64)
            for name in DOMAINS
        },
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


def parse_movies(file: RawFile) -> Movies:
    """Reads `movies.dat`."""
    movies: dict[int, tuple[int, list[int]]] = {}
    for number, line in enumerate(file.data.splitlines(), 1):
        fields = _fields(file, number, line, MOVIE_FIELDS)
        movie = _integer(file, number, "MovieID", fields[0])
        if movie in movies:
            raise file.error(number, f"movie {movie} is there a second time")
        year = _YEAR.search(fields[1])
        if not year:
            raise file.error(
                number,
                "a title must end in its year, as in (1995), and is "
                f"{_show(fields[1])}",
            )
        movies[movie] = int(year[1]), _genre_ids(file, number, fields[2])
    ids = sorted(movies)
    genres = [movies[movie][1] for movie in ids]
    return Movies(
        np.array(ids, np.int64),
        np.array([movies[movie][0] for movie in ids], np.int64),
        lists(
            np.array([one for several in genres for one in several], np.int64),
            np.array([len(several) for several in genres], np.int64),
        ),
    )


def _genre_ids(file: RawFile, number: int, field: bytes) -> list[int]:
    genres = field.decode("latin-1").split("|")
    for genre in genres:
        if genre not in GENRES:
            raise file.error(
                number,
                f"a genre must be one of {', '.join(GENRES)}, and is "
                f"{short(genre)}",
            )
    if len(set(genres)) < len(genres):
        raise file.error(number, f"a genre is there twice in {_show(field)}")
    return [GENRES.index(genre) + 1 for genre in genres]


def parse_ratings(file: RawFile) -> Ratings:
    """Reads `ratings.dat`."""
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
    ratings = Ratings(*(column.to_numpy() for column in table.columns))
    rating = ratings.rating
    outside = (rating < 1) | (rating > HIGHEST_RATING)
    if outside.any():
        row = int(outside.argmax())
        raise file.error(
            row + 1,
            f"a rating must be 1 to {HIGHEST_RATING}, and is {rating[row]}",
        )
    return ratings


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


def _show(value: bytes) -> str:
    return short(value.decode("latin-1"))
