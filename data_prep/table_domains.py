"""The domains of a log: those that it has, and those that are kept."""

import dataclasses
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from data_prep.table_categories import Categories
from data_prep.table_files import Chunk

OTHERS = ""
"""All domains beyond the most that are told apart; see `table_survey.add`.

None has that name, as no cell may be empty.
"""

Counts: TypeAlias = dict[int | str, np.ndarray]
"""Rows and clicks of each domain, by its raw value; see `table_survey.add`."""


@dataclasses.dataclass(frozen=True)
class Domains:
    """The domains that are kept.

    Args:
        name: Name of their column.
        values: Their raw values, in order.
    """

    name: str
    values: pa.Array

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [*map(str, self.values.to_pylist())]

    def of(self, chunk: Chunk, cells: Categories) -> np.ndarray:
        """Returns the index of each row's domain; -1 if it isn't kept."""
        return cells.domain(chunk, self.name).find(self.values)
