"""Deals rows out to train, valid and test."""

import math
from collections.abc import Sequence

import numpy as np

from data_prep.layout import SPLITS
from data_prep.layout import PreparationError


def stratified_split(
    label: np.ndarray,
    domain: np.ndarray,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 123,
) -> np.ndarray:
    """Splits rows at random, with each domain's share of clicks kept.

    A domain's sizes are those of scikit-learn's `train_test_split`, called
    once for train and again to part valid from test. Its clicks are shared
    out in proportion to these sizes, to the nearest row.

    Args:
        label: 0 or 1 a row.
        domain: The domain of each row. Only which rows share a domain
            matters, not how domains are numbered.
        fractions: The shares of train, valid and test; they add up to 1.
        seed: Seed of the one shuffle that deals out the rows.

    Returns:
        The split of each row, an index into `SPLITS`.
    """
    _check_fractions(fractions)
    # RandomState's stream is frozen for good; a Generator's may change with
    # the NumPy version, and the prepared bytes with it.
    shuffled = np.random.RandomState(seed).permutation(len(label))
    # Sorting the shuffled rows stably by group shuffles within every group.
    groups = np.asarray(domain, np.int64)[shuffled] * 2
    groups += np.asarray(label, np.int64)[shuffled]
    shuffled = shuffled[np.argsort(groups, kind="stable")]

    split = np.empty(len(label), np.int8)
    start = 0
    for one in np.unique(domain):
        rest, clicks = (np.sum(groups == 2 * one + bit) for bit in (0, 1))
        sizes = split_sizes(int(rest + clicks), fractions)
        click_sizes = _in_proportion(clicks, sizes)
        for part in (sizes - click_sizes, click_sizes):
            stop = start + part.sum()
            split[shuffled[start:stop]] = np.repeat(np.arange(3), part)
            start = stop
    return split


def hashed_split(
    start: int,
    count: int,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 123,
) -> np.ndarray:
    """Splits some rows of a log that is too long to be held.

    Each row goes to a split at random, by the seed and its own number alone,
    so that the rows of a log have the same splits in chunks of any size.

    Args:
        start: The number of the first of these rows, 0 for the log's first.
        count: How many rows.
        fractions: The shares of train, valid and test; they add up to 1.
        seed: Seed of the rows' hashes.

    Returns:
        The split of each row, an `int8` index into `SPLITS`.
    """
    _check_fractions(fractions)
    # SplitMix64, whose n-th number takes no walk over those before it.
    weyl = np.uint64(0x9E3779B97F4A7C15)
    numbers = np.arange(start, start + count, dtype=np.uint64)
    hashes = _mix(_mix(np.array([seed], np.uint64)) + (numbers + 1) * weyl)
    shares = (hashes >> np.uint64(11)) * 2.0**-53
    train, valid, _ = fractions
    return (shares >= train).astype(np.int8) + (shares >= train + valid)


def check_split(split: np.ndarray) -> None:
    """Raises unless train, valid and test have rows.

    A preparation that fits anything to the rows of train calls this before.
    """
    check_sizes([(split == index).sum() for index in range(len(SPLITS))])


def check_sizes(
    sizes: Sequence[int] | np.ndarray,
    hint: str = "prepare a larger log than that of --raw or --input",
) -> None:
    """Raises unless the sizes of train, valid and test are positive.

    Args:
        sizes: The rows of each.
        hint: What the user may do, or why there are none.

    Raises:
        PreparationError: A split has no rows.
    """
    for name, size in zip(SPLITS, sizes, strict=True):
        if not size:
            raise PreparationError(
                f"no row is left for the {name} split: {hint}."
            )


def add_up(fractions: Sequence[float]) -> bool:
    """Whether there is a share for each split, and they add up to 1."""
    return len(fractions) == len(SPLITS) and math.isclose(sum(fractions), 1)


def split_sizes(rows: int, fractions: Sequence[float]) -> np.ndarray:
    """Returns the sizes of train, valid and test; they add up to `rows`."""
    _, valid, test = fractions
    held_out = _ceil(rows * (valid + test))
    last = _ceil(held_out * test / (valid + test)) if held_out else 0
    return np.array([rows - held_out, held_out - last, last])


def _check_fractions(fractions: Sequence[float]) -> None:
    if not add_up(fractions):
        raise ValueError(
            f"fractions must be {len(SPLITS)} numbers that add up to 1. "
            f"Received: {fractions}"
        )


def _mix(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64's hash of `uint64` numbers (Steele et al., 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(
        0xBF58476D1CE4E5B9
    )
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(
        0x94D049BB133111EB
    )
    return numbers ^ (numbers >> np.uint64(31))


def _ceil(value: float) -> int:
    # Rounded first: (0.1 + 0.2) * 10 is a hair above 3, and means 3.
    return math.ceil(round(value, 6))


def _in_proportion(total: int, weights: np.ndarray) -> np.ndarray:
    """Shares `total` out by the method of largest remainders."""
    quotas, remainders = np.divmod(total * weights, weights.sum())
    largest = np.argsort(-remainders, kind="stable")
    quotas[largest[: total - quotas.sum()]] += 1
    return quotas
