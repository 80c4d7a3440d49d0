"""The file of all finished runs: one line of JSON for each."""

import pathlib
from typing import Any

from experiments.errors import RunError
from experiments.study import lines
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

    Attributes:
        rows: The runs by their keys.
        differing: Keys of two runs whose bases are of one recipe and seed and
            yet differ: machines round in different ways, as
            `experiments.provenance` says.

    Raises:
        RunError: A line is no run.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self.differing: list[tuple[str, str]] = []
        self._bases: dict[str, str] = {}
        for number, row in enumerate(lines.read(path), start=1):
            try:
                self.take(row)
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                raise lines.damaged(path, number, error) from None

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

    def with_base(self, wanted: Run) -> str | None:
        """The key of a run whose first phase is the base of the wanted one."""
        key = run.base_key(wanted.data.fingerprint, wanted.recipe.to_dict())
        return None if key is None else self._bases.get(key)

    def append(self, row: Row) -> None:
        """Adds a run; once this returns, a crash doesn't lose it."""
        lines.append(self.path, row)
        self.take(row)

    def take(self, row: Row) -> None:
        """Takes up a row that is in the file, under its key and its base's."""
        place = row["fingerprint"], row["recipe"]
        key, base = run.key(*place), run.base_key(*place)
        # Tables read it: a row without it is no run's, and raises here.
        _wauc(row, -1)
        self.rows[key] = row
        if base is not None:
            first = self._bases.setdefault(base, key)
            if _wauc(self.rows[first], 0) != _wauc(row, 0):
                self.differing.append((first, key))


def _wauc(row: Row, phase: int) -> float:
    """A phase's WAUC in test: of the first one, 0, it is the base's."""
    wauc: float = row["phases"][phase]["test"]["wauc"]
    return wauc
