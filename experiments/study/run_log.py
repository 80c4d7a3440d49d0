"""The file of all finished runs: one line of JSON for each."""

import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from experiments.runs import RunError
from experiments.study import run
from experiments.study.run import Run

Row = dict[str, Any]


class RunLog:
    """Finished runs by their keys, in a file that is only ever added to.

    A line holds the whole recipe, so its key can be formed again: a default
    that changes later doesn't make it another run's. Several processes may
    add lines; one that was killed while it wrote leaves a part of a line,
    which the next one removes.

    Args:
        path: The file; it needn't exist.

    Raises:
        RunError: A line is no run.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        if path.is_file():
            for number, line in enumerate(_whole_lines(path), start=1):
                self._remember(line, number)

    def __contains__(self, wanted: Run) -> bool:
        return wanted.key in self.rows

    def __getitem__(self, wanted: Run) -> Row:
        try:
            return self.rows[wanted.key]
        except KeyError:
            raise RunError(
                f"{self.path} hasn't the run {wanted.label}: train it with "
                "the command of its table."
            ) from None

    def append(self, row: Row) -> None:
        """Adds a run; once this returns, a crash doesn't lose it."""
        line = json.dumps(row, separators=(",", ":"), allow_nan=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(_whole_length(file.name))
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[run.key(row["fingerprint"], row["recipe"])] = row

    def _remember(self, line: bytes, number: int) -> None:
        try:
            row = json.loads(line)
            key = run.key(row["fingerprint"], row["recipe"])
            row["phases"][-1]["test"]["wauc"]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise RunError(
                f"{self.path}, line {number}: no run ({error!r}); delete the "
                "line, and the run is trained again."
            ) from None
        self.rows[key] = row


def _whole_lines(path: pathlib.Path) -> Iterator[bytes]:
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield line


def _whole_length(path: str) -> int:
    return pathlib.Path(path).read_bytes().rfind(b"\n") + 1
