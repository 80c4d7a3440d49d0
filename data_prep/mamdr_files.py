"""Finds and reads the rows of MAMDR's folders, every line of them checked."""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.archive import File
from data_prep.archive import Source
from data_prep.csv_blocks import Block
from data_prep.csv_blocks import blocks
from data_prep.csv_blocks import check_columns
from data_prep.csv_blocks import read_header
from data_prep.csv_blocks import show
from data_prep.layout import PreparationError
from data_prep.mamdr_json import MAX_IDS
from data_prep.mamdr_json import Vocabulary

COLUMNS = ("uid", "pid", "domain", "label")
RAW_SPLITS = ("train", "val", "test")

_ROWS = re.compile(r"((?:.*/)?)domain_([0-9]{1,9})/(train|val|test)\.csv")
_LABELS = pa.array(["0", "1", "0.0", "1.0"])


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the files are.

    Attributes:
        root: What the paths of the domains' folders begin with, up to a "/".
        folders: By number, the path of each domain's folder, up to a "/".
    """

    root: str
    folders: dict[int, str]


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of one file, in their order.

    Attributes:
        path: The file.
        uid: The user of each row.
        pid: Its item.
        label: 0 or 1.
        domain: The one number of the file's column `domain`; None without
            rows.
    """

    path: str
    uid: np.ndarray
    pid: np.ndarray
    label: np.ndarray
    domain: int | None


def find(source: Source, subset: str | None) -> Layout:
    """Finds the domains' folders, which must be in one folder.

    Args:
        source: The files.
        subset: That folder's path in the source; None if there is one alone.
    """
    folders: dict[str, dict[int, str]] = {}
    for name in source.names:
        match = _ROWS.fullmatch(name)
        if not match:
            continue
        path = name[: name.rindex("/") + 1]
        of_root = folders.setdefault(match[1], {})
        if of_root.setdefault(int(match[2]), path) != path:
            raise PreparationError(
                f"{source.raw}: {of_root[int(match[2])]} and {path} are the "
                "same domain; remove one of them."
            )
    if subset is not None:
        root = f"{subset.strip('/')}/".removeprefix("/")
        folders = {root: folders[root]} if root in folders else {}
    if not folders:
        where = source.raw if subset is None else f"{source.raw}/{subset}"
        raise PreparationError(
            f"{where} holds no domain_0/train.csv or the like; name the folder "
            "or archive of the domains' folders."
        )
    if len(folders) > 1:
        raise PreparationError(
            f"{source.raw} holds the domains of several data sets, in "
            f"{', '.join(sorted(root or '.' for root in folders))}; name one "
            "as --subset."
        )
    ((root, found),) = folders.items()
    for path in found.values():
        for split in RAW_SPLITS:
            if f"{path}{split}.csv" not in source.names:
                raise PreparationError(
                    f"{source.raw}/{path} holds no {split}.csv; fetch it again."
                )
    return Layout(root, dict(sorted(found.items())))


def read_rows(
    file: File, vocabularies: Mapping[str, Vocabulary | None]
) -> Rows:
    """Reads the rows of one csv file."""
    header = read_header(file)
    check_columns(file, header, COLUMNS)
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("uid", "pid", "label")
    }
    domain: int | None = None
    for block in blocks(file, header):
        for name in ("uid", "pid"):
            stop, because = MAX_IDS, ", the most ids of a table"
            if known := vocabularies.get(name):
                stop, because = known.size, f", the size by {known.path}"
            ids = block.integers(name, stop, because)
            parts[name].append(ids.astype(np.int32))
        parts["label"].append(_labels(block))
        domain = _one_domain(block, domain)
    columns = {
        name: np.concatenate([*arrays, np.empty(0, np.int32)]).astype(np.int32)
        for name, arrays in parts.items()
    }
    return Rows(file.path, **columns, domain=domain)


def _labels(block: Block) -> np.ndarray:
    """The labels, which MLoRA's MovieLens has as 0.0 and 1.0."""
    texts = block.columns["label"]
    found = pc.index_in(texts, _LABELS)
    if found.null_count:
        row = int(pc.is_null(found).to_numpy(zero_copy_only=False).argmax())
        raise block.error(
            row, f"label must be 0 or 1, and is {show(texts[row])}"
        )
    return found.to_numpy() % 2


def _one_domain(block: Block, domain: int | None) -> int:
    """Raises unless all rows so far have one domain; returns it."""
    values = block.integers("domain", MAX_IDS)
    domain = int(values[0]) if domain is None else domain
    other = values != domain
    if other.any():
        row = int(other.argmax())
        raise block.error(
            row,
            f"domain must be {domain}, as in the rows before, and is "
            f"{values[row]}",
        )
    return domain
