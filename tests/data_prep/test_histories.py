import numpy as np
import pytest

from data_prep.histories import last_before


def by_hand(user, time, item, kept, length):
    """The definition, row by row."""
    found = []
    for row in range(len(user)):
        before = [
            other
            for other in range(len(user))
            if user[other] == user[row]
            and time[other] < time[row]
            and kept[other]
        ]
        before.sort(key=lambda other: (time[other], other))
        found.append([int(item[other]) for other in before[-length:]])
    return found


def histories(*arguments):
    items, lengths = last_before(*arguments)
    assert lengths.sum() == len(items)
    parts = np.split(items, np.cumsum(lengths))
    assert not len(parts.pop())
    return [part.tolist() for part in parts]


def test_a_history_by_hand():
    user = np.array([0, 1, 0, 0, 0, 1])
    time = np.array([30, 10, 10, 20, 40, 20])
    item = np.array([5, 6, 7, 8, 9, 5])
    kept = np.array([1, 1, 1, 0, 1, 1])
    assert histories(user, time, item, kept, 9) == [
        [7],
        [],
        [],
        [7],
        [7, 5],
        [6],
    ]


@pytest.mark.parametrize("length", [1, 2, 7, 1000])
@pytest.mark.parametrize("times", [1, 3, 40, 10**17])
def test_it_is_the_definition(length, times):
    rng = np.random.default_rng([length, times])
    rows = 300
    arguments = (
        rng.integers(0, 6, rows),
        rng.integers(0, times, rows),
        rng.integers(0, 99, rows),
        rng.random(rows) < 0.6,
    )
    assert histories(*arguments, length) == by_hand(*arguments, length)


def test_no_row_sees_itself_or_what_is_at_its_time_or_later():
    # An item says its time, so that a leak would show.
    rng = np.random.default_rng(0)
    time = rng.integers(0, 50, 500)
    user = rng.integers(0, 3, 500)
    for history, now in zip(
        histories(user, time, time, np.ones(500), 30), time, strict=True
    ):
        assert all(then < now for then in history)
        assert history == sorted(history)


def test_rows_of_one_time_stay_in_their_order():
    time = np.array([1, 1, 1, 2])
    item = np.array([9, 3, 6, 0])
    user, kept = np.zeros(4, int), np.ones(4, bool)
    assert histories(user, time, item, kept, 5)[-1] == [9, 3, 6]
    assert histories(user, time, item, kept, 2)[-1] == [3, 6]


def test_where_nothing_is_kept_histories_are_empty():
    user, time = np.array([0, 0, 1]), np.array([1, 2, 3])
    assert histories(user, time, time, np.zeros(3), 5) == [[], [], []]
    none = np.zeros(0, int)
    assert histories(none, none, none, none, 5) == []
