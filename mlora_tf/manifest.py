"""What a prepared folder's manifest says, checked before any file is opened."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Collection
from typing import Any

from mlora_tf import strict_json
from mlora_tf.columns import DataError
from mlora_tf.schema_checks import short

FORMAT = "mlora_tf.prepared/1"
SPLITS = ("train", "valid", "test")
SCHEMA = "schema.json"
MANIFEST = "manifest.json"

_NAME = re.compile("(train|valid|test)(?:-([0-9]{5}))?[.]parquet")
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The files of a prepared folder.

    Attributes:
        path: The manifest's own file.
        splits: By split, its Parquet files' names, in the order of the rows.
        digests: The SHA-256 of every file, by name.
        rows: The rows of every Parquet file, by name.
        fingerprint: The hash over the digests.
    """

    path: pathlib.Path
    splits: dict[str, list[str]]
    digests: dict[str, str]
    rows: dict[str, int]
    fingerprint: str

    @classmethod
    def load(cls, path: pathlib.Path) -> "Manifest":
        """Reads a manifest, which may name nothing outside its folder.

        Raises:
            DataError: It is damaged, or names files that a prepared folder
                doesn't have.
        """
        try:
            content = strict_json.loads(path.read_text("utf-8"))
            form = content["format"]
            fingerprint = content["fingerprint"]
            digests = {
                name: _digest(file["sha256"])
                for name, file in content["files"].items()
            }
            rows = {
                name: _rows(content["files"][name]["rows"])
                for name in digests
                if name.endswith(".parquet")
            }
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise DataError(
                f"{path}: no manifest of a prepared folder ({error!r}); "
                "prepare the data again."
            ) from None
        if form != FORMAT:
            raise DataError(
                f"{path}: this version reads the format {FORMAT!r}. Received: "
                f"{short(form)}"
            )
        return cls(path, _splits(path, digests), digests, rows, fingerprint)

    def check_names(self, vectors: Collection[str]) -> None:
        """Raises unless all other files are the schema and those vectors."""
        parquet = {name for names in self.splits.values() for name in names}
        others = set(self.digests) - parquet
        expected = {SCHEMA, *vectors}
        for name in sorted(others - expected):
            raise DataError(
                f"{self.path}: a prepared folder has no file of that name. "
                f"Received: {short(name)}"
            )
        for name in sorted(expected - others):
            raise DataError(
                f"{self.path}: it doesn't name {name}; prepare the data again."
            )

    def check_fingerprint(self) -> None:
        """Raises unless the fingerprint is the one of the listed digests."""
        if self.fingerprint != fingerprint(self.digests):
            raise DataError(
                f"{self.path}: its fingerprint isn't that of the files it "
                "names; prepare the data again."
            )

    def check_file(self, name: str) -> None:
        """Raises unless a file has the bytes that were prepared."""
        if digest(self.path.with_name(name)) != self.digests[name]:
            raise DataError(
                f"{self.path.parent} has changed since it was prepared: "
                f"{name} isn't the file in manifest.json; prepare the data "
                "again."
            )


def digest(path: pathlib.Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(digests: dict[str, str]) -> str:
    """The hash of files' digests, in the order of their names."""
    text = "".join(digests[name] for name in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"no SHA-256: {short(value)}")
    return value


def _rows(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"no number of rows: {short(value)}")
    return value


def _splits(path: pathlib.Path, names: Collection[str]) -> dict[str, list[str]]:
    """Each split's files: one, or shards that are numbered without gaps."""
    shards: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in sorted(names):
        if match := _NAME.fullmatch(name):
            shards[match[1]].append(name)
    for split, found in shards.items():
        numbered = [f"{split}-{i:05}.parquet" for i in range(len(found))]
        # Names sort "-" before ".".
        if not found or found not in ([f"{split}.parquet"], numbered):
            raise DataError(
                f"{path}: the split {split!r} must be the file "
                f"{split}.parquet, or the shards {split}-00000.parquet, "
                f"{split}-00001.parquet and so on, without a gap. Received: "
                f"{short(found)}"
            )
    return shards
