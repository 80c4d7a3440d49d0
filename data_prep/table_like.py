"""A prepared folder to prepare another log like: its columns and its ids.

What a model has learned belongs to its folder's vocabularies, domains,
buckets and means. A later log for that model gets these, not its own.
"""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging

from data_prep import features
from data_prep import table_config
from data_prep.layout import FORMAT
from data_prep.layout import MANIFEST
from data_prep.layout import SCHEMA
from data_prep.layout import PreparationError
from data_prep.table_categories import INTEGER
from data_prep.table_categories import TEXT
from data_prep.table_categories import Categories
from data_prep.table_categories import Known
from data_prep.table_columns import Columns
from data_prep.table_columns import Numeric
from data_prep.table_domains import OTHERS
from data_prep.table_domains import Counts
from data_prep.table_domains import Domains
from data_prep.table_fitted import Fitted

SHOWN = 5
"""The most unknown domains that are named."""


@dataclasses.dataclass(frozen=True)
class Like:
    """What a prepared folder says of its log.

    Attributes:
        folder: The folder.
        columns: The log's columns, without files of vectors.
        fingerprint: The folder's, which is in its manifest.
        features: Its features, as the schema has them.
        domains: The domains' names, in order.
        vectors: By table, the pretrained vectors of its ids.
        is_later: Whether it was itself prepared like an earlier folder.
    """

    folder: pathlib.Path
    columns: Columns
    fingerprint: str
    features: list[dict[str, Any]]
    domains: list[str]
    vectors: dict[str, np.ndarray]
    is_later: bool = False

    @property
    def fill(self) -> str:
        """What may be done about empty cells of a log, but to mend them."""
        folder = (
            f"the folder that {self.folder} was prepared like"
            if self.is_later
            else self.folder
        )
        return f"prepare {folder} anew with --missing=fill, and train on that"

    def choose(self, counts: Counts) -> tuple[Domains, int]:
        """The folder's domains, and how many rows the log has of them.

        Args:
            counts: Rows and clicks of each domain of the log, by its name.
        """
        known = sum(
            int(counts[name][0]) for name in self.domains if name in counts
        )
        unknown = sorted(set(counts) - {*self.domains, OTHERS})
        if not known:
            raise PreparationError(
                f"the log has no row of a domain of {self.folder}, such as "
                f"{self.domains[0]!r}; its column {self.columns.domain!r} "
                f"holds {unknown[0]!r}."
            )
        if unknown:
            rows = sum(int(count) for count, _ in counts.values()) - known
            more = len(unknown) - SHOWN
            others = f" and {more:,} more" if more > 0 else ""
            if OTHERS in counts:
                others = " and more"
            logging.warning(
                "%s left out: %s has no domain %s%s.",
                "1 row is" if rows == 1 else f"{rows:,} rows are",
                self.folder,
                ", ".join(map(repr, unknown[:SHOWN])),
                others,
            )
        values = pa.array(self.domains, pa.string())
        return Domains(self.columns.domain, values), known

    def fitted(self, rows: int) -> Fitted:
        """What was learned of the folder's training rows.

        Args:
            rows: How many rows of its domains the new log has.
        """
        vocabularies = {}
        means = {}
        for feature, column in zip(
            self.features, self.columns.features, strict=True
        ):
            if not isinstance(column, Numeric):
                vocabularies[column.table] = features.array(
                    feature["vocabulary"]
                )
            elif column.missing == "error":
                # No number is missing then, so that nothing stands for one.
                means[column.name] = np.nan
            elif "missing" in feature:
                means[column.name] = feature["missing"]
            else:
                raise PreparationError(
                    f"{self.folder} doesn't say what a missing "
                    f"{column.name!r} is filled with; prepare it once more."
                )
        return Fitted(self.features, vocabularies, means, rows)

    def cells(self) -> Categories:
        """Reads a log's columns of categories as what they are here."""
        kinds = {
            feature["name"]: INTEGER
            if features.are_integers(feature["vocabulary"])
            else TEXT
            for feature in self.features
            if "vocabulary" in feature
        }
        return Categories(self.columns.strings, Known(self.folder, kinds))


def read(folder: str | pathlib.Path) -> Like:
    """Reads a folder that `data_prep.table` prepared.

    Raises:
        PreparationError: It is none, or its files don't belong together.
    """
    folder = pathlib.Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        is_one = manifest["format"] == FORMAT
        dataset, options = manifest["dataset"], manifest["options"]
        fingerprint = manifest["fingerprint"]
        digests = {
            name: file["sha256"] for name, file in manifest["files"].items()
        }
    except (OSError, ValueError, RecursionError, KeyError, TypeError,
            AttributeError):  # fmt: skip
        is_one = False
    if not is_one:
        raise PreparationError(
            f"--like={folder} is no prepared folder; name one that "
            "data_prep.table wrote."
        )
    if dataset != "table":
        raise PreparationError(
            f"--like={folder} was prepared from {dataset!r}, whose own command "
            "says how; name a folder that data_prep.table wrote."
        )
    schema = json.loads(_checked(folder, SCHEMA, digests))
    columns = table_config.from_options(f"{folder}: ", options)
    return Like(
        folder,
        dataclasses.replace(
            columns,
            features=tuple(
                column
                if isinstance(column, Numeric)
                else dataclasses.replace(column, vectors=None)
                for column in columns.features
            ),
        ),
        fingerprint,
        schema["features"],
        schema["domain"]["values"],
        {
            table: _vectors(folder, f"vectors.{table}.npy", digests)
            for table in features.vector_shapes(schema["features"])
        },
        "like" in options,
    )


def _checked(folder: pathlib.Path, name: str, digests: dict[str, str]) -> bytes:
    """A file's bytes, which must be those that the manifest knows."""
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != digests.get(name):
        raise PreparationError(
            f"{folder / name} has changed since it was prepared; prepare "
            f"{folder} once more."
        )
    return content


def _vectors(
    folder: pathlib.Path, name: str, digests: dict[str, str]
) -> np.ndarray:
    _checked(folder, name, digests)
    array: np.ndarray = np.load(folder / name, allow_pickle=False)
    return array
