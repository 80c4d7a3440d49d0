"""What a user did before: for every row, the items of rows before it."""

import numpy as np


def last_before(
    user: np.ndarray,
    time: np.ndarray,
    item: np.ndarray,
    kept: np.ndarray,
    length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each row's history: the last items of its user before its time.

    A row's history holds no row of the same time, and so not the row itself.
    Kept rows of one time stay in the order they are given.

    Args:
        user: The user of each row, an index.
        time: The time of each row, in any unit.
        item: What each row adds to the histories of later rows.
        kept: Whether the row adds it: 0 or 1.
        length: The most items of a history; the most recent ones stay.

    Returns:
        The items of all histories in a row, each history from its oldest to
        its latest, and the length of each row's history.
    """
    times, time = np.unique(time, return_inverse=True)
    # Sorts by user, then by time. Ranks of times keep it within 64 bits.
    key = user.astype(np.int64) * times.size + time
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(key[rows], kind="stable")]
    kept_key = key[rows]
    first = np.searchsorted(kept_key, key - time)
    stop = np.searchsorted(kept_key, key)
    start = np.maximum(first, stop - length)
    lengths = stop - start
    # start, start + 1, ..., stop - 1 of the first row, then of the next.
    shifts = start - (np.cumsum(lengths) - lengths)
    positions = np.arange(lengths.sum()) + np.repeat(shifts, lengths)
    return item[rows[positions]], lengths
