"""Statistics of columns that are too long to be held.

All depend on the values alone and, where rows are drawn, on their numbers: not
on how they come in chunks, and not on who adds up which: not to the last bit.
"""

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

SAMPLE = 1_000_000
"""The most rows that quantiles and points in time are found from."""

_BLOCK = 1 << 18
"""Numbers that are summed at once: few enough for sums without rounding."""

_BITS = 24
"""Of a `float32`'s mantissa."""

_LOWEST = -149
"""The exponent of two that divides every `float32`."""


class Moments:
    """Mean and standard deviation, from sums without any rounding.

    Args:
        sums: How many numbers there are, their sum in units of `2**-149`, and
            the sum of their squares in units of `2**-298`: what `sums` was.
        ends: The smallest number and the largest one: what `ends` was.

    Attributes:
        sums: The same with all that was added since.
        ends: The same with all that was added since.
    """

    def __init__(
        self,
        sums: Iterable[int] = (0, 0, 0),
        ends: Iterable[float] = (math.inf, -math.inf),
    ) -> None:
        self.sums = tuple(sums)
        self.ends = tuple(ends)

    @property
    def total(self) -> int:
        """How many numbers were added."""
        return self.sums[0]

    def add(self, values: np.ndarray) -> None:
        """Adds finite `float32` numbers."""
        for start in range(0, values.size, _BLOCK):
            block = values[start : start + _BLOCK]
            self.merge(_sums(block), (float(block.min()), float(block.max())))

    def merge(self, sums: Iterable[int], ends: Iterable[float]) -> None:
        """Adds the sums and the ends of other numbers."""
        low, high = ends
        self.ends = (min(self.ends[0], low), max(self.ends[1], high))
        self.sums = tuple(
            one + other for one, other in zip(self.sums, sums, strict=True)
        )

    def finish(self) -> tuple[float, float]:
        """Returns the mean and the standard deviation."""
        count, total, squares = self.sums
        unit = Fraction(2) ** _LOWEST
        variance = Fraction(count * squares - total**2, count**2) * unit**2
        return float(Fraction(total, count) * unit), math.sqrt(variance)

    def farthest(self) -> tuple[float, float]:
        """The number farthest from the mean, and by how many deviations.

        These are 0 if there are two numbers at most: none is near another.
        """
        count, total, squares = self.sums
        unit = Fraction(2) ** _LOWEST
        low, high = (Fraction(end) / unit for end in self.ends)
        # The sum of (number - low) * (high - number).
        between = (low + high) * total - squares - count * low * high
        mean, stddev = self.finish()
        number = max(self.ends, key=lambda end: abs(end - mean))
        if not between or not stddev:
            return number, 0.0
        return number, abs(number - mean) / stddev


def _sums(values: np.ndarray) -> tuple[int, int, int]:
    fractions, exponents = np.frexp(values.astype(np.float32))
    # Each number is `whole * 2**power`, and the smallest power is `_LOWEST`.
    whole = np.ldexp(fractions, _BITS).astype(np.int64)
    powers = exponents.astype(np.int64) - _BITS - _LOWEST
    # Numbers below the normal ones end in zeros: shifted, none is lost.
    whole >>= np.maximum(-powers, 0)
    powers = np.maximum(powers, 0)
    squares = whole**2
    parts = (whole, squares >> _BITS, squares & (1 << _BITS) - 1)
    total, high, low = (
        # Of whole numbers below 2**53, so that floats hold their sums.
        [int(one) for one in np.bincount(powers, weights=part)]
        for part in parts
    )
    return (
        values.size,
        sum(one << power for power, one in enumerate(total)),
        sum(
            ((one << _BITS) + other) << 2 * power
            for power, (one, other) in enumerate(zip(high, low, strict=True))
        ),
    )


class Sample:
    """Rows drawn at random from all rows: all of them, if they are few.

    Each row draws a number, and those with the smallest numbers stay.

    Args:
        seed: Seed of the draws.
        size: The most rows that stay; None is `SAMPLE`.
        start: The number of the first row that is added.
    """

    def __init__(
        self, seed: int, size: int | None = None, start: int = 0
    ) -> None:
        self._size = size or SAMPLE
        self._seed = seed
        self._next = start
        self._keys: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []
        self._held = 0

    def add(self, rows: np.ndarray, start: int | None = None) -> None:
        """Adds rows: an array with the rows on its first axis.

        Args:
            rows: The rows.
            start: The number of the first one; None is the next one.
        """
        start = self._next if start is None else start
        self._next = start + len(rows)
        if len(rows):
            self.merge(_draws(self._seed, start, len(rows)), rows)

    def merge(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Adds rows that have drawn already: what `stayed` gives."""
        self._keys.append(keys)
        self._rows.append(rows)
        self._held += len(rows)
        if self._held > 2 * self._size:
            self._shrink()

    def stayed(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The numbers drawn by the rows that stay, and those rows, if any."""
        if not self._held:
            return None
        self._shrink()
        return self._keys[0], self._rows[0]

    def finish(self) -> np.ndarray:
        """Returns the rows that stayed, in no order."""
        self._shrink()
        return self._rows[0]

    def _shrink(self) -> None:
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        if keys.size > self._size:
            stay = np.argpartition(keys, self._size - 1)[: self._size]
            keys, rows = keys[stay], rows[stay]
        self._keys, self._rows, self._held = [keys], [rows], keys.size


def _draws(seed: int, start: int, count: int) -> np.ndarray:
    """The numbers that rows draw, each by its own number."""
    # The stream of its raw numbers is frozen for good, four to a step.
    bits = np.random.Philox(key=seed).advance(start // 4)
    skipped = start % 4
    return bits.random_raw(skipped + count)[skipped:]
