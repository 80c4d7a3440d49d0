"""Counts what a later log has and an earlier folder doesn't know."""

import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from absl import logging

from data_prep.layout import short
from data_prep.table_columns import Numeric
from data_prep.table_like import SHOWN
from data_prep.table_like import Like

COUNTED = 4096
"""The most unknown domains that are told apart, so that memory is bounded."""

SUSPICIOUS = 0.5
"""A larger share of unknown values is warned of."""

_SMALL = 0.001
"""A share that one decimal of a percentage doesn't show."""


class Unknown:
    """Counts, by feature, the values that a folder doesn't know.

    Args:
        like: The folder.
    """

    def __init__(self, like: Like) -> None:
        self._like = like
        names = [
            column.name
            for column in like.columns.features
            if not isinstance(column, Numeric)
        ]
        self._unknown = dict.fromkeys(names, 0)
        self._total = dict.fromkeys(names, 0)
        self._items: set[str] = set()

    def add(self, encoded: Mapping[str, Any]) -> None:
        """Adds encoded rows."""
        for name in self._unknown:
            ids = encoded[name]
            if isinstance(ids, pa.ListArray):
                self._items.add(name)
                ids = ids.flatten().to_numpy(zero_copy_only=False)
            self._unknown[name] += int((ids == 0).sum())
            self._total[name] += len(ids)

    def shares(self, rows: str = "rows") -> dict[str, str]:
        """Says of each feature that has some which share is unknown.

        Args:
            rows: What the rows are called.
        """
        return {
            name: self._said(name, rows)
            for name, count in self._unknown.items()
            if count
        }

    def say(self) -> None:
        """Logs the shares that aren't none; large ones as warnings."""
        for name, count in self._unknown.items():
            if not count:
                continue
            large = count > SUSPICIOUS * self._total[name]
            log = logging.warning if large else logging.info
            log("column %r: %s: the id 0.", name, self._said(name, "rows"))

    def _said(self, name: str, rows: str) -> str:
        share = self._unknown[name] / max(self._total[name], 1)
        shown = f"{share:.1%}"
        if 0 < share < _SMALL:
            shown = f"less than {_SMALL:.1%}"
        # A long list is likely to have an unknown item, which tells nothing of
        # the others: so the items are counted, not the rows.
        folder = self._like.folder
        if name in self._items:
            return f"{folder} doesn't know {shown} of the items in the {rows}"
        return (
            f"{shown} of the {rows} have a value that {folder} doesn't know, "
            "or none"
        )


class UnknownDomains:
    """Counts the rows of domains that a folder doesn't have.

    The first `COUNTED` ones are told apart, with all their rows.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._more = False

    def add(self, names: pa.Array, rows: np.ndarray) -> None:
        """Adds domains, and how many rows are of each."""
        for name, count in zip(names.to_pylist(), rows.tolist(), strict=True):
            if name in self._rows or len(self._rows) < COUNTED:
                self._rows[name] = self._rows.get(name, 0) + count
            else:
                self._more = True

    def __str__(self) -> str:
        """Those with the most rows, and how many there are besides."""
        most = heapq.nsmallest(
            SHOWN, self._rows.items(), key=lambda one: (-one[1], one[0])
        )
        named = ", ".join(
            f"{short(name)} ({rows:,} row{'s' * (rows != 1)})"
            for name, rows in most
        )
        if self._more:
            return f"{named} and more"
        left = len(self._rows) - len(most)
        return f"{named} and {left:,} more" if left else named
