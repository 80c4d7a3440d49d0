r"""Prepares MovieLens-1M as in Table 1 of the MLoRA paper.

A row is a rating, and a click is a rating of 5. Domains are the users'
genders, or their age groups or occupations.

    python -m data_prep.movielens --raw=ml-1m.zip \
        --domain=gender --output=data/ml1m-gender

`--raw` is the official archive, https://grouplens.org/datasets/movielens/1m/,
or the folder it unpacks to. It takes about 2 seconds. By gender, expect the
paper's counts exactly:

    rows     train    valid     test
    F      147,864   49,288   49,288
    M      452,261  150,754  150,754
    all    600,125  200,042  200,042

The features are the paper's, user and item. `--features=all` takes about 5
seconds and adds what else the files say: gender, age and occupation but for
the domain; the movie's genres and year of release; and the user's `history`,
the last `--history` movies with a rating of at least `--positive_rating`
before the row's time. A history never holds the row's own click, nor one of
its time or later. But the split is at random, as in the paper, so that the
history of a training row may hold earlier clicks of validation and test rows.
"""

import io
import pathlib
import time
from typing import Any

import numpy as np
import pyarrow as pa
from absl import flags
from absl import logging

from data_prep import binary
from data_prep import folder
from data_prep import splits
from data_prep import staging
from data_prep.features import Column
from data_prep.features import dense
from data_prep.features import lists
from data_prep.features import quantiles
from data_prep.features import sequence
from data_prep.features import sparse
from data_prep.histories import last_before
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import PreparationError
from data_prep.movielens_files import DOMAINS
from data_prep.movielens_files import GENRES
from data_prep.movielens_files import HIGHEST_RATING
from data_prep.movielens_files import Movies
from data_prep.movielens_files import RawFile
from data_prep.movielens_files import Users
from data_prep.movielens_files import parse_movies
from data_prep.movielens_files import parse_ratings
from data_prep.movielens_files import parse_users
from data_prep.movielens_files import read_raw

Input = tuple[dict[str, Any], Column]
"""A feature and its column."""

HISTORY = 20
"""The most movies of a history, unless said otherwise."""

YEAR_BUCKETS = 10
"""How many buckets of about as many training rows each `year` has, at most."""


def prepare(
    raw: str | pathlib.Path,
    output: str | pathlib.Path,
    domain: str = "gender",
    positive_rating: int = 5,
    seed: int = 123,
    overwrite: bool = False,
    features: str = "ids",
    history: int = HISTORY,
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
        features: `"ids"`, user and item, or `"all"`.
        history: The most movies of a user's history, with `"all"`.
    """
    started = time.monotonic()
    if features != "all" and history != HISTORY:
        raise PreparationError(
            f"--history={history} is for --features=all; add that, or leave "
            "it out."
        )
    staging.check_output(output, overwrite)
    users_file = read_raw(raw, "users.dat")
    ratings_file = read_raw(raw, "ratings.dat")
    files = [ratings_file, users_file]
    if features == "all":
        files.append(read_raw(raw, "movies.dat"))
    logging.info("Read %s", raw)

    users = parse_users(users_file)
    ratings = parse_ratings(ratings_file)
    user = _index(ratings_file, "user", ratings.user, users.ids, "users.dat")
    items, item = np.unique(ratings.movie, return_inverse=True)
    _check_pairs(
        ratings_file, ratings.user, ratings.movie, user * items.size + item
    )
    logging.info(
        "Parsed %s ratings of %s movies by %s users",
        *(f"{size:,}" for size in (item.size, items.size, users.ids.size)),
    )

    label = ratings.rating >= positive_rating
    domain_index = users.codes[domain][user]
    split = splits.stratified_split(label, domain_index, seed=seed)
    splits.check_split(split)
    inputs = [
        (sparse("user", users.ids.tolist()), user + 1),
        (sparse("item", items.tolist()), item + 1),
    ]
    options = {"domain": domain, "positive_rating": positive_rating}
    if features == "all":
        options |= {"features": features, "history": history}
        movies = parse_movies(files[-1])
        movie = _index(
            ratings_file, "movie", ratings.movie, movies.ids, "movies.dat"
        )
        inputs += _user_features(users, user, domain)
        inputs += _movie_features(movies, movie, train=split == 0)
        inputs.append(
            _history(items, item, user, ratings.timestamp, label, history)
        )
    manifest = folder.write(
        output,
        folder.Prepared(
            dataset="ml-1m",
            options=options,
            seed=seed,
            sources={
                pathlib.PurePath(file.path).name: staging.digest(
                    io.BytesIO(file.data)
                )
                for file in files
            },
            features=[feature for feature, _ in inputs],
            domain_name=domain,
            domains=DOMAINS[domain],
            columns={
                **{feature["name"]: column for feature, column in inputs},
                DOMAIN: domain_index,
                LABEL: label,
            },
            split=split,
        ),
        overwrite,
    )
    binary.log_counts(manifest)
    logging.info("Wrote %s in %.1f s", output, time.monotonic() - started)


def _user_features(users: Users, user: np.ndarray, domain: str) -> list[Input]:
    """What `users.dat` says of each row's user, but for the domain."""
    return [
        (sparse(name, codes), users.codes[name][user] + 1)
        for name, codes in DOMAINS.items()
        if name != domain
    ]


def _movie_features(
    movies: Movies, movie: np.ndarray, train: np.ndarray
) -> list[Input]:
    """What `movies.dat` says of each row's movie."""
    most = int(np.diff(movies.genres.offsets).max())
    year = movies.year[movie]
    return [
        (sequence("genres", GENRES, most), movies.genres.take(pa.array(movie))),
        (
            dense("year", boundaries=quantiles(year[train], YEAR_BUCKETS)),
            year,
        ),
    ]


def _history(
    items: np.ndarray,
    item: np.ndarray,
    user: np.ndarray,
    timestamp: np.ndarray,
    label: np.ndarray,
    length: int,
) -> Input:
    """The items that each row's user had clicked before."""
    feature = sequence(
        "history",
        items.tolist(),
        length,
        pooling="din",
        target="item",
        table="item",
    )
    return feature, lists(
        *last_before(user, timestamp, item + 1, label, length)
    )


def _index(
    file: RawFile,
    what: str,
    values: np.ndarray,
    known: np.ndarray,
    where: str,
) -> np.ndarray:
    """Returns the index of every row's user or movie in the sorted `known`."""
    found = np.isin(values, known)
    if not found.all():
        row = int(found.argmin())
        raise file.error(row + 1, f"{what} {values[row]} isn't in {where}")
    return np.searchsorted(known, values)


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
    flags.DEFINE_enum(
        "features",
        "ids",
        ["ids", "all"],
        "User and item alone, or all that the files say.",
    )
    flags.DEFINE_integer(
        "history",
        HISTORY,
        "The most movies of a user's history, with --features=all.",
        lower_bound=1,
    )
    binary.run(
        prepare, "raw", "domain", "positive_rating", "features", "history"
    )


if __name__ == "__main__":
    main()
