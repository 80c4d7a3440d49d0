"""Writes a prepared folder from chunks of rows: see `data_prep.folder`."""

import contextlib
import pathlib
import shutil
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep import contents
from data_prep import features
from data_prep import folder_readme
from data_prep import staging
from data_prep.features import Column
from data_prep.folder_lock import locked
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import MANIFEST
from data_prep.layout import README
from data_prep.layout import ROW_GROUP
from data_prep.layout import SCHEMA
from data_prep.layout import SPLITS
from data_prep.layout import Description
from data_prep.split_file import SplitFiles
from data_prep.splits import check_sizes

SHARD_ROWS = 32 * ROW_GROUP


class Writer:
    """Writes a prepared folder chunk by chunk; whole or not at all.

    However the rows come in chunks, the bytes are the same, and no more than
    a row group of each split is kept in memory.

        with Writer(output, description) as writer:
            for columns, split in chunks:
                writer.add(columns, split)
            manifest = writer.finish()

    The folder appears with `finish`. Without it, or after an error, nothing
    is left; what a killed process left beside it is deleted. Meanwhile no
    other writer gets the folder.

    Args:
        output: The folder to make.
        content: All that it shall hold but the rows and the vectors.
        overwrite: Whether a prepared folder of that name is replaced.
        shard_rows: The most rows of a file; None is one file a split.
        vectors: By table, the pretrained vectors of its ids, those of the
            out-of-vocabulary bucket first.

    Raises:
        PreparationError: The folder exists and may not be replaced, or, at
            the end, a split has no rows.
        FolderInUseError: Another process writes it.
    """

    def __init__(
        self,
        output: str | pathlib.Path,
        content: Description,
        *,
        overwrite: bool = False,
        shard_rows: int | None = SHARD_ROWS,
        vectors: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        if shard_rows is not None and shard_rows < 1:
            raise ValueError(
                f"shard_rows must be positive. Received: {shard_rows}"
            )
        staging.check_output(output, overwrite)
        self._output = pathlib.Path(output).resolve()
        self._content = content
        self._overwrite = overwrite
        self._shard_rows = shard_rows
        self._vectors = contents.vector_files(content, vectors or {})
        self._counts = np.zeros(
            (len(SPLITS), len(content.domains), 2), np.int64
        )
        self._adopted: dict[str, dict[str, Any]] = {}
        self._schema: pa.Schema | None = None
        self._splits: list[SplitFiles] | None = None

    def __enter__(self) -> "Writer":
        lock = self._output.with_name(f".{self._output.name}.lock")
        with contextlib.ExitStack() as stack:
            made = staging.make_parents(self._output)
            stack.callback(staging.remove_empty, made)
            stack.enter_context(locked(lock, self._output))
            staging.delete_left_behind(self._output, whole=False)
            self._staging = staging.sibling(self._output)
            self._staging.mkdir()
            self._splits = [
                SplitFiles(self._staging, name, self._shard_rows)
                for name in SPLITS
            ]
            self._held = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if self._splits is None:
            return
        splits, self._splits = self._splits, None
        with self._held:
            try:
                for split in splits:
                    # A full disk may refuse a file's last bytes; all go anyway.
                    with contextlib.suppress(OSError, pa.ArrowException):
                        split.abandon()
            finally:
                shutil.rmtree(self._staging, ignore_errors=True)

    def add(self, columns: Mapping[str, Column], split: np.ndarray) -> None:
        """Adds a chunk of rows.

        Args:
            columns: By name, one value a row: every feature's encoded ids,
                numbers or lists, `"domain"`, `"label"`, and any further
                column of floats, the same in every chunk.
            split: The split of each row, an index into `SPLITS`.

        Raises:
            ValueError: A column breaks the format. That is the preparation's
                mistake, not the user's, and keeps its traceback.
        """
        splits = self._open_splits()
        split = features.integers("split", split, len(SPLITS), np.int8)
        typed = contents.typed_columns(self._content, columns, split.shape)
        table = pa.table(typed)
        self._schema = self._schema or table.schema
        if table.schema != self._schema:
            raise ValueError(
                "every chunk must have the first one's columns, "
                f"{_in_words(self._schema)}. Received: "
                f"{_in_words(table.schema)}"
            )
        self._count(split, typed[DOMAIN], typed[LABEL])
        for index, files in enumerate(splits):
            rows = np.flatnonzero(split == index)
            files.add(table, None if rows.size == split.size else rows)

    def finish(self, extras: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Writes what is left and moves the folder into place.

        Args:
            extras: What the manifest shall hold under `"extras"`, if
                anything: JSON-ready values.

        Returns:
            The content of the folder's manifest.
        """
        splits = self._open_splits()
        check_sizes(self._counts[:, :, 0].sum(axis=1))
        files: dict[str, Any] = {**self._adopted}
        for split in splits:
            files |= split.finish()
        for name, array in self._vectors.items():
            with staging.durable(self._staging / name) as stream:
                # The order in memory would else be part of the bytes.
                rows = np.ascontiguousarray(array)
                np.lib.format.write_array(stream, rows, allow_pickle=False)
            files[name] = {"sha256": staging.sha256(self._staging / name)}
        self.write_schema()
        files[SCHEMA] = {"sha256": staging.sha256(self._staging / SCHEMA)}
        manifest = contents.manifest(self._content, self._counts, files)
        if extras is not None:
            manifest["extras"] = dict(extras)
        page = folder_readme.readme(self._content, manifest)
        staging.write_text(self._staging / README, page)
        # The last file: with it the folder counts as whole.
        staging.write_json(self._staging / MANIFEST, manifest, indent=2)
        staging.sync_folder(self._staging)
        # Another run may have made the folder in the meantime.
        staging.check_output(self._output, self._overwrite)
        staging.move_into_place(self._staging, self._output)
        staging.delete_left_behind(self._output, whole=True)
        self._splits = None
        self._held.close()
        return manifest

    @property
    def folder(self) -> pathlib.Path:
        """Where the folder is made, for files that other processes write."""
        self._open_splits()
        return self._staging

    def write_schema(self) -> None:
        """Writes the schema; `finish` does, too."""
        staging.write_json(
            self._staging / SCHEMA, contents.schema(self._content)
        )

    def adopt(
        self, files: Mapping[str, Mapping[str, Any]], counts: np.ndarray
    ) -> None:
        """Takes over Parquet files that were written into `folder`.

        Args:
            files: The rows and the SHA-256 of each by its name, in order.
            counts: Their rows and clicks, of shape `(splits, domains, 2)`.
        """
        self._adopted |= {name: dict(file) for name, file in files.items()}
        self._counts += counts

    def _open_splits(self) -> list[SplitFiles]:
        if self._splits is None:
            raise RuntimeError(
                "a Writer takes rows inside its `with`, and before finish()."
            )
        return self._splits

    def _count(
        self, split: np.ndarray, domain: np.ndarray, label: np.ndarray
    ) -> None:
        """Counts rows and clicks by split and domain."""
        cell = split.astype(np.int64) * len(self._content.domains) + domain
        for index, cells in enumerate((cell, cell[label == 1])):
            counts = np.bincount(cells, minlength=self._counts[..., 0].size)
            self._counts[..., index] += counts.reshape(len(SPLITS), -1)


def _in_words(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
