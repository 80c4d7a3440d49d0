"""A prepared folder as a study sees it."""

import dataclasses
import pathlib

from experiments.study.chosen import RESULTS
from experiments.study.chosen import Chosen
from experiments.study.chosen import chosen_on
from mlora_tf.data import DataError
from mlora_tf.manifest import MANIFEST
from mlora_tf.manifest import SCHEMA
from mlora_tf.manifest import Manifest
from mlora_tf.schema import Schema


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A prepared folder's path and what tells its content from others.

    Args:
        path: The folder.
        fingerprint: Its data hash, from the manifest.
        domains: The domains' names, in their order.
        chosen: What a search chose on it, which the preset `tuned` has.
    """

    path: str
    fingerprint: str
    domains: tuple[str, ...]
    chosen: Chosen = dataclasses.field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """The folder's name, which tables show."""
        return pathlib.Path(self.path).name

    @classmethod
    def open(cls, path: str, results: pathlib.Path = RESULTS) -> "DataSet":
        """Reads a folder's manifest and schema, not its rows.

        Args:
            path: The folder.
            results: Where a search of one's own may have written.

        Raises:
            DataError: There is no prepared folder at that path.
            SchemaError: Its schema is damaged.
        """
        folder = pathlib.Path(path).resolve()
        if not (folder / MANIFEST).is_file():
            raise DataError(
                f"{path} isn't a prepared folder (it has no {MANIFEST}): make "
                "one with a binary of data_prep, such as data_prep.movielens."
            )
        fingerprint = Manifest.load(folder / MANIFEST).fingerprint
        return cls(
            str(folder),
            fingerprint,
            Schema.load(folder / SCHEMA).domains,
            chosen_on(fingerprint, results),
        )
