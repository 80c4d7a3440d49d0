"""Reads the files of Taobao's cloud themes, every line of them checked."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from data_prep import vector_texts
from data_prep.archive import File
from data_prep.archive import Source
from data_prep.csv_blocks import blocks
from data_prep.csv_blocks import check_columns
from data_prep.csv_blocks import read_header
from data_prep.layout import PreparationError

LOG = "theme_click_log.csv"
USERS = "user_embedding.csv"
ITEMS = "item_embedding.csv"
LOG_COLUMNS = ("user_id", "item_id", "theme_id", "reach_time")

_STOP = 10**18


@dataclasses.dataclass(frozen=True)
class Clicks:
    """The click log, line by line: raw ids.

    Attributes:
        path: The file, for errors.
        user: Each click's user.
        item: Its item.
        theme: Its theme.
    """

    path: str
    user: np.ndarray
    item: np.ndarray
    theme: np.ndarray


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """The pretrained vectors of some ids.

    Attributes:
        ids: The raw ids, in rising order.
        vectors: A row for each, `float32`.
    """

    ids: np.ndarray
    vectors: np.ndarray

    def has(self, ids: np.ndarray) -> np.ndarray:
        """Whether each of these ids has a vector."""
        return np.isin(ids, self.ids)

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The vectors of these ids, all of which have one."""
        return self.vectors[np.searchsorted(self.ids, ids)]


def read_clicks(source: Source) -> tuple[Clicks, dict[str, Any]]:
    """Reads the click log; returns the digest of its file, too."""
    with source.open(_find(source, LOG)) as file:
        header = read_header(file)
        check_columns(file, header, LOG_COLUMNS)
        parts = [
            [block.integers(name, _STOP) for name in LOG_COLUMNS[:3]]
            for block in blocks(file, header)
        ]
        if not parts:
            raise PreparationError(
                f"{file.path} holds no clicks; fetch it again."
            )
        columns = [
            np.concatenate(column) for column in zip(*parts, strict=True)
        ]
        return Clicks(file.path, *columns), file.digest()


def read_embeddings(
    source: Source, name: str, wanted: np.ndarray
) -> tuple[Embeddings, dict[str, Any]]:
    """Reads the vectors of the ids that are wanted; checks all of them.

    Args:
        source: The files.
        name: `USERS` or `ITEMS`.
        wanted: Raw ids, in rising order.

    Returns:
        The vectors of those wanted ids that have one, and the digest of the
        file.
    """
    with source.open(_find(source, name)) as file:
        header = _embedding_header(file)
        vectors = np.empty((0, 0), np.float32)
        found = np.zeros(wanted.size, bool)
        ids = []
        for block in blocks(file, header):
            ids.append(block.integers(header[0], _STOP))
            parsed = vector_texts.parse(
                block.columns[header[1]],
                vectors.shape[1] or None,
                block.error,
            )
            if not vectors.size:
                vectors = np.zeros((wanted.size, parsed.shape[1]), np.float32)
            position = np.searchsorted(wanted[:-1], ids[-1])
            known = wanted[position] == ids[-1]
            vectors[position[known]] = parsed[known]
            found[position[known]] = True
        if not ids:
            raise PreparationError(
                f"{file.path} holds no vectors; fetch it again."
            )
        _check_ids(file, header[0], np.concatenate(ids))
        return Embeddings(wanted[found], vectors[found]), file.digest()


def _find(source: Source, name: str) -> str:
    """Returns the one path in the source that ends in this file name."""
    paths = [
        path
        for path in source.names
        if pathlib.PurePosixPath(path).name == name
    ]
    if not paths:
        raise PreparationError(
            f"{source.raw} holds no {name}; name the folder or the archive of "
            f"{LOG}, {USERS} and {ITEMS} as --raw."
        )
    if len(paths) > 1:
        raise PreparationError(
            f"{source.raw} holds {name} {len(paths)} times: "
            f"{', '.join(paths)}; name the folder of one as --raw."
        )
    return paths[0]


def _embedding_header(file: File) -> list[str]:
    """Reads the two columns' names, which are free."""
    header = read_header(file)
    if len(header) != 2 or header[0] == header[1]:
        raise file.error(
            1,
            "there must be two columns, the id and its vector, and there are "
            f"{','.join(header[:6])}",
        )
    if header[0].strip().isdigit():
        raise file.error(
            1,
            "it must hold the columns' names, and holds the vector of id "
            f"{header[0].strip()}: put a line of names before it",
        )
    return header


def _check_ids(file: File, name: str, ids: np.ndarray) -> None:
    """Raises on the first line whose id has been there before."""
    order = np.argsort(ids, kind="stable")
    again = ids[order][1:] == ids[order][:-1]
    if again.any():
        row = int(order[1:][again].min())
        first = int((ids == ids[row]).argmax())
        raise file.error(
            row + 2,
            f"{name} {ids[row]} has a vector before, on line {first + 2}",
        )
