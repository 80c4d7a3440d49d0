"""Reads what MAMDR's folders hold besides rows: names, ids and vectors."""

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep import vector_texts
from data_prep.archive import Source
from data_prep.csv_blocks import show
from data_prep.layout import PreparationError

PROPERTY = "domain_property.json"
PROCESSED = "processed_data/"

MAX_IDS = 100_000_000
"""No table has more; a larger id is a mistake that would fill the memory."""

AT_ONCE = 10_000
"""Vectors that are parsed at once: as numbers they take much less memory."""

_NAME = {"uid": "uid2id.json", "pid": "pid2id.json"}


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """How many ids a column has, and what they were in the raw data.

    Attributes:
        path: The file that says so.
        size: How many ids.
        raw: By id, the raw value, all integers or all strings; None if the
            file doesn't say.
    """

    path: str
    size: int
    raw: list[int] | list[str] | None


def read_vocabulary(
    source: Source, root: str, column: str, sources: dict[str, Any]
) -> Vocabulary | None:
    """Reads `uid2id.json` or `pid2id.json`, if it is there.

    Args:
        source: The files.
        root: What the paths of the domains' folders begin with.
        column: `"uid"` or `"pid"`.
        sources: Gets the digest of the file.
    """
    path, content = _read_json(source, root, _NAME[column], sources)
    if path is None:
        return None
    size = content.get("id")
    if type(size) is not int or not 0 < size <= MAX_IDS:
        raise PreparationError(
            f"{path}: 'id', the number of ids, must be an integer from 1 to "
            f"{MAX_IDS:,}, and is {show(str(size))}; fetch it again."
        )
    of_raw = content.get("raw_id2id")
    if not of_raw:
        return Vocabulary(path, size, None)
    if not isinstance(of_raw, dict) or not all(
        type(one) is int for one in of_raw.values()
    ):
        raise PreparationError(
            f"{path}: 'raw_id2id' must give each raw id an integer; fetch it "
            "again."
        )
    if sorted(of_raw.values()) != list(range(size)):
        raise PreparationError(
            f"{path}: 'raw_id2id' must give each of the ids 0 to {size - 1} to "
            "one raw id; fetch it again, or remove it: the ids then stand for "
            "themselves."
        )
    return Vocabulary(
        path, size, _typed(sorted(of_raw, key=lambda one: of_raw[one]))
    )


def read_vectors(
    source: Source,
    root: str,
    name: str,
    size: int,
    sources: dict[str, Any],
) -> np.ndarray | None:
    """Reads the vectors of the ids 0 to `size - 1`, if the file is there."""
    path, content = _read_json(source, root, name, sources)
    if path is None:
        return None
    texts = [content.get(str(one)) for one in range(size)]
    for one, text in enumerate(texts):
        if not isinstance(text, str) or not text.isascii():
            raise PreparationError(
                f"{path}: id {one} must have a vector, a string of numbers, "
                f"and has {show(str(text))}; fetch it again."
            )
    if len(content) > size:
        known = set(map(str, range(size)))
        extra = next(one for one in content if one not in known)
        raise PreparationError(
            f"{path}: {show(extra)} is none of the ids 0 to {size - 1}; fetch "
            "it again."
        )
    vectors: list[np.ndarray] = []
    for start in range(0, size, AT_ONCE):
        dim = vectors[0].shape[1] if vectors else None
        part = texts[start : start + AT_ONCE]
        vectors.append(_parse(path, start, part, dim))
    return np.concatenate(vectors)


def read_name(
    source: Source, root: str, folder: str, number: int, sources: dict[str, Any]
) -> str:
    """The name of a domain: its `domain_name`, or `domain_<number>`.

    Args:
        source: The files.
        root: What the paths of the domains' folders begin with.
        folder: The rest of the path of this domain's folder.
        number: The domain's number.
        sources: Gets the digest of the file.
    """
    path, content = _read_json(source, root, f"{folder}{PROPERTY}", sources)
    value = content.get("domain_name", number)
    # MLoRA's MovieLens has the number alone.
    if type(value) is int:
        return f"domain_{value}"
    if not isinstance(value, str) or not value:
        raise PreparationError(
            f"{path}: 'domain_name' must be a string, and is "
            f"{show(str(value))}; mend it, or remove the file."
        )
    return value


def _read_json(
    source: Source, root: str, name: str, sources: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """Reads an object from a file, if it is there; adds its digest."""
    for path in (name, f"{PROCESSED}{name}"):
        if f"{root}{path}" not in source.names:
            continue
        with source.open(f"{root}{path}") as file:
            text = file.stream.read()
            sources[path] = file.digest()
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise PreparationError(
                f"{file.path} isn't JSON ({reason}); fetch it again."
            ) from None
        if not isinstance(content, dict):
            raise PreparationError(
                f"{file.path} must hold a JSON object; fetch it again."
            )
        return file.path, content
    return None, {}


def _parse(
    path: str, start: int, texts: list[Any], dim: int | None
) -> np.ndarray:
    """Parses the vectors of the ids from `start` on."""

    def error(row: int, problem: str) -> PreparationError:
        return PreparationError(
            f"{path}, id {start + row}: {problem}; fetch it again."
        )

    return vector_texts.parse(pa.array(texts, pa.string()), dim, error)


def _typed(raw: list[str]) -> list[int] | list[str]:
    """Raw ids that JSON has made strings of, as integers if they were any."""
    if all(re.fullmatch("0|-?[1-9][0-9]{0,17}", one) for one in raw):
        return [int(one) for one in raw]
    return raw
