import collections
import hashlib
import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_prep import implicit
from data_prep import negatives
from data_prep.implicit import Rows
from data_prep.implicit import ctrs
from data_prep.implicit import split_rows
from data_prep.implicit import with_negatives
from data_prep.splits import split_sizes
from data_prep.splits import stratified_split


def rows_of(clicks, ratios, seed=123, workers=1):
    """`with_negatives` of triples of a domain, a user and an item."""
    columns = np.array([*clicks], np.int64).reshape(-1, 3).T
    return with_negatives(*columns, ratios, seed, workers)


def triples(rows, label):
    """The (domain, user, item) of the rows of a label, in order."""
    of_label = rows.label == label
    return [
        *zip(
            rows.domain[of_label].tolist(),
            rows.user[of_label].tolist(),
            rows.item[of_label].tolist(),
            strict=True,
        )
    ]


def digest(rows):
    data = b"".join(vars(rows)[name].tobytes() for name in sorted(vars(rows)))
    return hashlib.sha256(data).hexdigest()


# The ctrs.


def test_the_ctrs_are_those_of_the_published_code():
    assert ctrs(30, 123) == [
        *(0.22, 0.23, 0.32, 0.23, 0.47, 0.21, 0.36, 0.30, 0.46, 0.25),
        *(0.30, 0.30, 0.27, 0.20, 0.33, 0.23, 0.38, 0.22, 0.29, 0.33),
        *(0.47, 0.23, 0.24, 0.44, 0.21, 0.47, 0.37, 0.28, 0.45, 0.43),
    ]
    assert ctrs(6, 123) == ctrs(30, 123)[:6]
    assert ctrs(6, 124) != ctrs(6, 123)
    assert ctrs(0, 123) == []


def test_the_ctrs_stay_in_their_range():
    assert ctrs(3, 7, low=0.3, high=0.3) == [0.3, 0.3, 0.3]
    values = ctrs(1000, 7, low=0.4, high=1.0)
    assert min(values) == 0.4
    assert max(values) == 1.0


@pytest.mark.parametrize(
    ("low", "high"), [(0.5, 0.2), (0.0, 0.5), (0.2, 1.01), (np.nan, 0.5)]
)
def test_a_wrong_range_of_ctrs(low, high):
    with pytest.raises(ValueError, match="low and high must be numbers"):
        ctrs(3, 123, low, high)


# What is drawn.


@pytest.mark.parametrize(
    ("clicks", "ctr", "count"),
    [
        (1, 0.22, 4),  # 4.54...
        (2, 0.22, 9),  # 9.09...
        (3, 0.22, 13),  # 13.6...
        (1, 0.5, 2),
        (3, 0.3, 10),
        (2, 0.47, 4),  # 4.25...
        (7, 0.2, 35),
        (1, 1.0, 1),
    ],
)
def test_a_user_gets_as_many_as_clicks_by_ctr(clicks, ctr, count):
    # Another user's clicks make a domain of 60 items.
    log = [(0, 0, item) for item in range(clicks)]
    log += [(0, 1, item) for item in range(60)]
    rows = rows_of(log, [ctr])
    drawn = triples(rows, 0)
    assert [user for _, user, _ in drawn] == [0] * count
    assert sorted(triples(rows, 1)) == log


def test_the_count_is_pythons_for_any_clicks_and_ctr():
    clicks = np.arange(1, 101)
    user = np.repeat(clicks, clicks)
    item = np.concatenate([np.arange(count) for count in clicks])
    for percent in range(20, 51):
        ctr = percent / 100
        # An endless domain: the cap is another test's.
        wanted = negatives.by_user(
            np.append(user, np.zeros(1000, int)),
            np.append(item, np.arange(1000)),
            ctr,
        ).wanted
        assert wanted[1:].tolist() == [
            int(count / ctr) for count in range(1, 101)
        ]


def test_what_is_drawn_is_capped_at_the_domains_items():
    # User 0 has clicked 3 of 5 items and wants 15 more; user 1 wants 5 and
    # has 4; user 2 has clicked everything.
    log = [(0, 0, item) for item in (10, 20, 30)]
    log += [(0, 1, 20)]
    log += [(0, 2, item) for item in (10, 20, 30, 40, 50)]
    rows = rows_of(log, [0.2])
    assert sorted(triples(rows, 0)) == [
        *((0, 0, item) for item in (40, 50)),
        *((0, 1, item) for item in (10, 30, 40, 50)),
    ]


def test_a_domain_has_its_own_items_and_clicks():
    # Each user has clicked in both domains; what wasn't clicked in the one
    # may have been clicked in the other.
    log = [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 1), (1, 1, 3)]
    rows = rows_of(log, [0.5, 0.5])
    assert sorted(triples(rows, 0)) == [
        (0, 0, 2),
        (0, 1, 1),
        (1, 0, 1),
        (1, 0, 3),
        (1, 1, 2),
    ]


def test_columns_have_small_types():
    rows = rows_of([(0, 0, 1), (0, 1, 2)], [0.5])
    assert [column.dtype for column in vars(rows).values()] == [
        *[np.int32] * 3,
        np.int8,
    ]


def test_domains_without_clicks_and_no_clicks_at_all():
    rows = rows_of([(1, 0, 1), (1, 1, 2)], [0.5, 0.5, 0.5])
    assert sorted(triples(rows, 0)) == [(1, 0, 2), (1, 1, 1)]
    for mode in implicit.NEGATIVES:
        assert split_rows(rows_of([], [0.5]), negatives=mode).size == 0


def large_log():
    """Three domains, users of one click and of most items."""
    stream = np.random.RandomState(0)
    return sorted(
        (domain, user, int(item))
        for domain in range(3)
        for user in range(200)
        for item in set(stream.randint(0, 300, stream.randint(1, 60)).tolist())
    )


def test_workers_and_their_number_change_nothing():
    log, ratios = large_log(), ctrs(3, 123)
    with mock.patch.object(negatives, "BLOCK", 3000):
        digests = {digest(rows_of(log, ratios, workers=n)) for n in (1, 2, 3)}
    assert len(digests) == 1


def test_the_rows_are_the_same_for_good():
    log = [(0, user, item) for user in range(20) for item in (user, user + 1)]
    log += [(1, user, item) for user in range(5) for item in range(5 * user)]
    assert digest(rows_of(log, [0.22, 0.5])) == (
        "839f334c3aa252b5a99c866a968641ce75c1f958f3dc435de77bf4b653057763"
    )


def test_another_seed_draws_other_rows():
    log, ratios = large_log(), ctrs(3, 123)
    one, two = (rows_of(log, ratios, seed) for seed in (1, 2))
    assert sorted(triples(one, 0)) != sorted(triples(two, 0))
    assert sorted(triples(one, 1)) == sorted(triples(two, 1))


def test_no_domain_changes_what_is_drawn_in_another():
    log, ratios = large_log(), ctrs(3, 123)
    every = rows_of(log, ratios)
    alone = rows_of([click for click in log if click[0] == 1], ratios)
    assert sorted(triples(alone, 0)) == [
        row for row in sorted(triples(every, 0)) if row[0] == 1
    ]


def test_domains_and_blocks_have_streams_of_their_own():
    # The same clicks in two domains, and in two blocks of a domain.
    log = [(d, u, i) for d in range(2) for u in range(40) for i in range(2)]
    log += [(d, 40, i) for d in range(2) for i in range(200)]
    with mock.patch.object(negatives, "BLOCK", 4 * 20):
        drawn = triples(rows_of(log, [0.5, 0.5]), 0)
    items = collections.defaultdict(set)
    for domain, user, item in drawn:
        items[domain, user].add(item)
    of_user = [[items[domain, user] for user in range(40)] for domain in (0, 1)]
    assert of_user[0] != of_user[1]
    assert of_user[0][:20] != of_user[0][20:]


def test_rows_are_shuffled():
    log, ratios = large_log(), ctrs(3, 123)
    rows = rows_of(log, ratios)
    tenth = rows.label.size // 10
    for first in range(0, 9 * tenth, tenth):
        part = slice(first, first + tenth)
        share = rows.label[part].mean() / rows.label.mean()
        assert 0.8 < share < 1.2
        assert set(rows.domain[part].tolist()) == {0, 1, 2}


def test_the_shuffle_is_not_the_splits():
    # Else a row's place in the file would say which split it is in.
    rows = rows_of([(0, user, user) for user in range(300)], [0.5])
    order = np.random.RandomState(123).permutation(rows.label.size)
    assert not np.array_equal(rows.label, order < 300)


@pytest.mark.parametrize(
    ("clicks", "message"),
    [
        (
            [(2, 0, 0)],
            "domain must hold integers from 0 to 1. Received: 2 to 2",
        ),
        ([(-1, 0, 0), (0, 0, 0)], "from 0 to 1. Received: -1 to 0"),
        ([(0, 1, 2), (1, 1, 2), (0, 1, 2)], "clicks must differ in their user"),
    ],
)
def test_wrong_clicks(clicks, message):
    with pytest.raises(ValueError, match=message):
        rows_of(clicks, [0.5, 0.5])


LOGS = st.sets(
    st.tuples(
        st.integers(0, 2), st.sampled_from([0, 1, 5, 7, 8]), st.integers(0, 11)
    ),
    min_size=1,
    max_size=80,
)
RATIOS = st.lists(
    st.integers(20, 50).map(lambda percent: percent / 100),
    min_size=3,
    max_size=3,
)


@settings(max_examples=40, deadline=None)
@given(log=LOGS, ratios=RATIOS, seed=st.integers(0, 2**32 - 1))
def test_laws_of_what_is_drawn(log, ratios, seed):
    with mock.patch.object(negatives, "BLOCK", 5):
        rows = rows_of(sorted(log), ratios, seed)
        assert (
            len(
                {
                    digest(rows_of(sorted(log), ratios, seed, n))
                    for n in (1, 2, 3)
                }
            )
            == 1
        )
    drawn = triples(rows, 0)
    assert sorted(triples(rows, 1)) == sorted(log)
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & log
    pool = {
        domain: {i for d, _, i in log if d == domain} for domain in range(3)
    }
    assert all(item in pool[domain] for domain, _, item in drawn)
    counts = collections.Counter((domain, user) for domain, user, _ in drawn)
    clicked = collections.Counter((domain, user) for domain, user, _ in log)
    for (domain, user), clicks in clicked.items():
        free = len(pool[domain]) - clicks
        wanted = int(clicks / ratios[domain])
        assert counts.pop((domain, user), 0) == min(wanted, free)
    assert not counts


# Each set of items is as likely as any other.


def chi_square(counts, expected):
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_each_set_of_numbers_is_as_likely(count):
    times = 20_000
    index, number = negatives.distinct(
        np.full(times, count), np.full(times, 5), np.random.RandomState(0)
    )
    assert index.tolist() == np.repeat(np.arange(times), count).tolist()
    sets = collections.Counter(map(tuple, number.reshape(-1, count).tolist()))
    every = [*itertools.combinations(range(5), count)]
    assert set(sets) == set(every)
    # Of a chi-square with 9 degrees of freedom, 99.9% are below 27.9.
    assert chi_square(sets.values(), times / len(every)) < 27.9


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_very_first_number_is_drawn_too(count):
    # Of the first set alone: among thousands of sets it doesn't show.
    drawn = {
        tuple(
            negatives.distinct(
                np.array([count]), np.array([4]), np.random.RandomState(seed)
            )[1].tolist()
        )
        for seed in range(60)
    }
    assert drawn == set(itertools.combinations(range(4), count))


def test_a_block_begins_where_a_blocks_rows_came_before():
    # Which stream a user's rows are from is what the prepared bytes rest on.
    with mock.patch.object(negatives, "BLOCK", 10):
        numbers, first, stop = negatives.blocks(np.array([4, 6, 3, 12, 1]))
    assert [*numbers] == [0, 1, 2]
    assert (first, stop) == ([0, 2, 4], [2, 4, 5])


def test_numbers_of_mixed_counts_and_sizes():
    counts = np.array([0, 3, 1, 0, 4, 2, 1])
    sizes = np.array([0, 3, 9, 5, 5, 1000, 1])
    index, number = negatives.distinct(counts, sizes, np.random.RandomState(0))
    assert np.bincount(index, minlength=7).tolist() == counts.tolist()
    assert np.all(number < sizes[index])
    pairs = [*zip(index.tolist(), number.tolist(), strict=True)]
    assert pairs == sorted(set(pairs))


def test_most_of_many_numbers_take_few_rounds():
    # The last of 5,000 numbers alone would take 5,000 rounds, if each round
    # drew what is still missing.
    stream = mock.Mock(wraps=np.random.RandomState(0))
    counts, sizes = np.array([5000, 4999, 2500]), np.full(3, 5000)
    index, _ = negatives.distinct(counts, sizes, stream)
    assert np.bincount(index).tolist() == counts.tolist()
    assert stream.randint.call_count < 40


@pytest.mark.parametrize(
    ("own", "ctr", "count"),
    [
        ([2, 5], 0.5, 4),
        ([0, 1, 9], 0.3, 7),
        ([4], 0.2, 5),
        ([0, 2, 3, 9], 0.9, 4),
        ([9], 0.125, 8),  # all but one of those left
    ],
)
def test_each_item_that_a_user_has_not_clicked_is_as_likely(own, ctr, count):
    users = 4000
    log = [(0, user, 10 * item) for user in range(users) for item in own]
    # The domain has items 0, 10, ..., 90.
    log += [(0, users, 10 * item) for item in range(10)]
    rows = rows_of(log, [ctr])
    counts = collections.Counter(item // 10 for _, _, item in triples(rows, 0))
    left = [item for item in range(10) if item not in own]
    assert set(counts) == set(left)
    assert sum(counts.values()) == users * count
    # Drawn without replacement, counts vary less than a chi-square's.
    degrees = len(left) - 1
    share = count / len(left)
    statistic = chi_square(counts.values(), users * share)
    if count < len(left):
        assert statistic / (1 - share) * degrees / len(left) < 26.1
    else:
        assert statistic == 0


# The split.


def one_user(negatives, clicks=20):
    """A user with so many rows of label 0, beside another's clicks."""
    return Rows(
        domain=np.zeros(negatives + clicks, np.int32),
        user=np.repeat([3, 0], [negatives, clicks]).astype(np.int32),
        item=np.arange(negatives + clicks, dtype=np.int32),
        label=np.repeat([0, 1], [negatives, clicks]).astype(np.int8),
    )


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (1, [1, 0, 0]),
        (2, [1, 0, 1]),
        (3, [1, 1, 1]),
        (4, [2, 1, 1]),
        (5, [3, 1, 1]),
        (6, [3, 1, 2]),
        (10, [6, 2, 2]),
    ],
)
def test_sizes_of_a_users_rows_per_user(count, sizes):
    rows = one_user(count)
    split = split_rows(rows, negatives="per_user")
    assert split.dtype == np.int8
    drawn = np.bincount(split[rows.label == 0], minlength=3)
    assert drawn.tolist() == sizes
    clicks = np.bincount(split[rows.label == 1], minlength=3)
    assert clicks.tolist() == [12, 4, 4]


def test_per_user_splits_clicks_by_domain_and_the_rest_by_user_and_domain():
    # Domain 0: user 0 has 3 clicks and 2 others, user 1 has 2 clicks and 6
    # others. Domain 1: user 0 has 1 click and 2 others.
    groups = [(0, 0, 1, 3), (0, 0, 0, 2), (0, 1, 1, 2), (0, 1, 0, 6)]
    groups += [(1, 0, 1, 1), (1, 0, 0, 2)]
    domain, user, label, size = np.array(groups).T
    repeat = [np.repeat(column, size) for column in (domain, user, label)]
    rows = Rows(repeat[0], repeat[1], np.arange(size.sum()), repeat[2])
    split = split_rows(rows, negatives="per_user")

    def sizes(domain, label, user=None):
        of = (rows.domain == domain) & (rows.label == label)
        if user is not None:
            of &= rows.user == user
        return np.bincount(split[of], minlength=3).tolist()

    assert sizes(0, 1) == [3, 1, 1]
    assert sizes(0, 0, user=0) == [1, 0, 1]
    assert sizes(0, 0, user=1) == [3, 1, 2]
    assert sizes(1, 1) == [1, 0, 0]
    assert sizes(1, 0, user=0) == [1, 0, 1]


@pytest.mark.parametrize("label", [0, 1])
def test_per_user_deals_each_row_out_at_random(label):
    # 3 rows of a label: one goes to each split, in 6 equally likely ways.
    rows = one_user(3, 3)
    ways = collections.Counter(
        tuple(
            split_rows(rows, seed=seed, negatives="per_user")[
                rows.label == label
            ].tolist()
        )
        for seed in range(600)
    )
    # Clicks of 3 rows have the sizes (1, 1, 1), too.
    assert set(ways) == set(itertools.permutations(range(3)))
    # Of a chi-square with 5 degrees of freedom, 99.9% are below 20.5.
    assert chi_square(ways.values(), 100) < 20.5


def test_per_user_takes_other_fractions():
    rows = one_user(10)
    split = split_rows(rows, (0.8, 0.1, 0.1), negatives="per_user")
    drawn = np.bincount(split[rows.label == 0], minlength=3)
    assert drawn.tolist() == [8, 1, 1]


def test_per_domain_is_the_stratified_split():
    rows = rows_of(large_log(), ctrs(3, 123))
    for fractions, seed in (((0.6, 0.2, 0.2), 123), ((0.5, 0.3, 0.2), 4)):
        np.testing.assert_array_equal(
            split_rows(rows, fractions, seed),
            stratified_split(rows.label, rows.domain, fractions, seed),
        )


def test_an_unknown_way_to_split():
    with pytest.raises(ValueError, match="Received: 'per_item'"):
        split_rows(one_user(3), negatives="per_item")


@settings(max_examples=40, deadline=None)
@given(
    log=LOGS,
    ratios=RATIOS,
    seed=st.integers(0, 2**32 - 1),
    mode=st.sampled_from(implicit.NEGATIVES),
)
def test_laws_of_the_split(log, ratios, seed, mode):
    rows = rows_of(sorted(log), ratios, seed)
    split = split_rows(rows, seed=seed, negatives=mode)
    np.testing.assert_array_equal(
        split, split_rows(rows, seed=seed, negatives=mode)
    )
    assert set(split.tolist()) <= {0, 1, 2}
    assert len(split) == rows.label.size
    keys = [(0, *row) for row in triples(rows, 0)]
    keys += [(1, *row) for row in triples(rows, 1)]
    # A row is there once, and so is in one split.
    assert len({key[1:] for key in keys}) == len(keys)
    groups = collections.defaultdict(list)
    for row, one in enumerate(split.tolist()):
        key = [int(rows.domain[row])]
        if mode == "per_user":
            user = -1 if rows.label[row] else int(rows.user[row])
            key.append(user)
        groups[tuple(key)].append(one)
    for group in groups.values():
        sizes = np.bincount(group, minlength=3).tolist()
        rule = split_sizes(len(group), (0.6, 0.2, 0.2)).tolist()
        if mode == "per_user" and len(group) == 1:
            rule = [1, 0, 0]
        assert sizes == rule
