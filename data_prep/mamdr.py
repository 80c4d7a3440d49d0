r"""Prepares the folders that MAMDR's and MLoRA's published code writes.

    python -m data_prep.mamdr --raw=Taobao_10.zip --output=data/taobao-10

`--raw` is a folder, `.zip`, `.tar` or `.tar.gz` that holds, at any depth but
in one folder, `domain_0/train.csv`, `val.csv` and `test.csv`, `domain_1/...`
and so on, with the columns `uid,pid,domain,label`: MAMDR's own archives, say,
https://github.com/RManLuo/MAMDR. If there are several such folders, `--subset`
names one. An archive is never unpacked.

- Rows, splits and repeated rows are kept as they are given.
- Domains come in the order of their folders' numbers, which may have gaps.
  Their names are the `domain_name` of `domain_0/domain_property.json`, or
  `domain_0`. The column `domain` must hold one number in all of a folder's
  rows. If it isn't the folder's, the folder's counts, and a warning says so.
- Ids are kept: the value v is the id v + 1, as 0 is for what is unknown. The
  raw values are those of `uid2id.json` and `pid2id.json`, beside the domains'
  folders or in `processed_data/`; without these files, or if they give a size
  alone, values stand for themselves.
- `user_emb.json` and `item_emb.json`, which Taobao's have there, too, become
  pretrained vectors; `python -m data_prep.taobao --help` says how to train
  with them. Unknown ids have the mean of all.
"""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import flags
from absl import logging

from data_prep import binary
from data_prep import domains
from data_prep import folder
from data_prep import staging
from data_prep import vector_texts
from data_prep.archive import Source
from data_prep.archive import opened
from data_prep.features import sparse
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import PreparationError
from data_prep.mamdr_files import RAW_SPLITS
from data_prep.mamdr_files import Layout
from data_prep.mamdr_files import Rows
from data_prep.mamdr_files import find
from data_prep.mamdr_files import read_rows
from data_prep.mamdr_json import Vocabulary
from data_prep.mamdr_json import read_name
from data_prep.mamdr_json import read_vectors
from data_prep.mamdr_json import read_vocabulary
from data_prep.splits import check_split

FEATURES = {"user": "uid", "item": "pid"}


def prepare(
    raw: str | pathlib.Path,
    output: str | pathlib.Path,
    subset: str | None = None,
    drop_one_class_domains: bool = False,
    seed: int = 123,
    overwrite: bool = False,
) -> None:
    """Reads the domains' folders and writes the prepared folder.

    Args:
        raw: The folder or the archive.
        output: The prepared folder to write.
        subset: The path in `raw` of the folder that holds the domains'; None
            if there is one alone.
        drop_one_class_domains: Whether domains whose rows are all clicks or
            all none are dropped.
        seed: Noted in the manifest; nothing here is random.
        overwrite: Whether a prepared folder of that name is replaced.
    """
    started = time.monotonic()
    staging.check_output(output, overwrite)
    sources: dict[str, Any] = {}
    with opened(raw, "the folder or archive of the domains") as source:
        layout = find(source, subset)
        root = layout.root
        names = [
            read_name(source, root, path.removeprefix(root), number, sources)
            for number, path in layout.folders.items()
        ]
        vocabularies = {
            column: read_vocabulary(source, root, column, sources)
            for column in FEATURES.values()
        }
        files = _read_all(source, layout, vocabularies, sources)
        values = {
            name: _values(column, vocabularies[column], files)
            for name, column in FEATURES.items()
        }
        vectors = {
            name: read_vectors(
                source, root, f"{name}_emb.json", len(values[name]), sources
            )
            for name in FEATURES
        }
    _check_names(names, layout)
    _check_domains(files, layout)
    columns, split = _joined(files, layout)
    stay = _drop(names, columns, drop_one_class_domains)
    check_split(split[stay])
    kept = np.isin(np.arange(len(names)), columns[DOMAIN][stay])
    columns = {name: column[stay] for name, column in columns.items()}
    columns[DOMAIN] = (np.cumsum(kept) - 1)[columns[DOMAIN]]
    manifest = folder.write(
        output,
        folder.Prepared(
            dataset="mamdr",
            options={"drop_one_class_domains": drop_one_class_domains},
            seed=seed,
            sources=dict(sorted(sources.items())),
            features=[
                sparse(
                    name,
                    values[name],
                    vectors=None if table is None else table.shape[1],
                )
                for name, table in vectors.items()
            ],
            domain_name="domain",
            domains=[names[index] for index in np.flatnonzero(kept)],
            columns=columns,
            split=split[stay],
            vectors={
                name: vector_texts.with_mean(table)
                for name, table in vectors.items()
                if table is not None
            },
        ),
        overwrite,
    )
    binary.log_counts(manifest)
    logging.info("Wrote %s in %.1f s", output, time.monotonic() - started)


Files = dict[tuple[int, str], Rows]
"""By a domain's number and split, the rows of its file."""


def _read_all(
    source: Source,
    layout: Layout,
    vocabularies: Mapping[str, Vocabulary | None],
    sources: dict[str, Any],
) -> Files:
    """Reads all csv files, in the order in which that is fastest."""
    keys = {
        f"{path}{split}.csv": (number, split)
        for number, path in layout.folders.items()
        for split in RAW_SPLITS
    }
    files = {}
    for name in source.names:
        if name not in keys:
            continue
        with source.open(name) as file:
            files[keys[name]] = read_rows(file, vocabularies)
            sources[name.removeprefix(layout.root)] = file.digest()
    return files


def _values(
    column: str, vocabulary: Vocabulary | None, files: Files
) -> list[int] | list[str]:
    """The raw value of each id of a column."""
    if vocabulary and vocabulary.raw:
        return vocabulary.raw
    if vocabulary:
        return list(range(vocabulary.size))
    highest = max(
        getattr(rows, column).max(initial=-1) for rows in files.values()
    )
    return list(range(highest + 1))


def _check_names(names: list[str], layout: Layout) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            one, other = (
                list(layout.folders.values())[place]
                for place in (names.index(name), index)
            )
            raise PreparationError(
                f"{one} and {other} have the domain_name {name!r} both; mend "
                "one domain_property.json, or remove it."
            )


def _check_domains(files: Files, layout: Layout) -> None:
    """Raises unless each folder's rows are of one domain."""
    for number in layout.folders:
        known = [
            rows
            for split in RAW_SPLITS
            if (rows := files[number, split]).domain is not None
        ]
        for rows in known:
            if rows.domain != known[0].domain:
                raise PreparationError(
                    f"{rows.path}: its domain is {rows.domain}, and that of "
                    f"{known[0].path} is {known[0].domain}: a folder's rows "
                    "must be of one domain; fetch them again."
                )
        if known and known[0].domain != number:
            logging.warning(
                "%s says domain %d in every row; the folder's number, %d, "
                "counts.",
                known[0].path,
                known[0].domain,
                number,
            )


def _joined(
    files: Files, layout: Layout
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns all columns, and each row's split."""
    domain, split, parts = [], [], []
    for index, number in enumerate(layout.folders):
        for place, name in enumerate(RAW_SPLITS):
            rows = files[number, name]
            parts.append(rows)
            domain.append(np.full(rows.label.size, index))
            split.append(np.full(rows.label.size, place, np.int8))
    columns = {
        name: np.concatenate([getattr(part, column) for part in parts]) + 1
        for name, column in FEATURES.items()
    }
    columns[DOMAIN] = np.concatenate(domain)
    columns[LABEL] = np.concatenate([part.label for part in parts])
    return columns, np.concatenate(split)


def _drop(
    names: list[str], columns: dict[str, np.ndarray], drop_one_class: bool
) -> np.ndarray:
    """Says which rows stay, once the domains that can't are dropped."""
    domain, label = columns[DOMAIN], columns[LABEL]
    kept = domains.kept(
        names,
        np.bincount(domain, minlength=len(names)),
        np.bincount(domain[label == 1], minlength=len(names)),
        drop_one_class=drop_one_class,
    )
    return kept[domain]


def main() -> None:
    """Defines the flags, reads them and prepares."""
    binary.define_flags(seed="Noted in the manifest; nothing here is random.")
    domains.define_flag()
    flags.DEFINE_string(
        "raw", None, "The folder or archive of the domains.", required=True
    )
    flags.DEFINE_string(
        "subset", None, "The path in --raw of the folder of the domains."
    )
    binary.run(prepare, "raw", "subset", "drop_one_class_domains")


if __name__ == "__main__":
    main()
