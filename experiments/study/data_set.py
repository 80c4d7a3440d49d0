"""A prepared folder as a study sees it."""

import dataclasses
import pathlib

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
    """

    path: str
    fingerprint: str
    domains: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's name, which tables show."""
        return pathlib.Path(self.path).name

    @classmethod
    def open(cls, path: str) -> "DataSet":
        """Reads a folder's manifest and schema, not its rows.

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
        return cls(
            str(folder),
            Manifest.load(folder / MANIFEST).fingerprint,
            Schema.load(folder / SCHEMA).domains,
        )
