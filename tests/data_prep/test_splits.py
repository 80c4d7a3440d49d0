import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from data_prep import splits
from data_prep.layout import PreparationError


@pytest.mark.parametrize(
    ("domain", "counts"),
    [
        # 10 rows, 5 of them clicks: 6, 2 and 2 rows.
        (4, {"clicks": [3, 1, 1], "others": [3, 1, 1]}),
        # 20 rows, 5 clicks.
        (9, {"clicks": [3, 1, 1], "others": [9, 3, 3]}),
        # 10 rows, 4 clicks: 2.4, 0.8 and 0.8 to the nearest row.
        (2, {"clicks": [2, 1, 1], "others": [4, 1, 1]}),
        # A single click goes where most rows go.
        (7, {"clicks": [1, 0, 0], "others": [5, 2, 2]}),
    ],
)
def test_split_by_hand(domain, counts):
    domains = np.repeat([4, 9, 2, 7], [10, 20, 10, 10])
    clicks = np.repeat([1, 0] * 4, [5, 5, 5, 15, 4, 6, 1, 9])
    split = splits.stratified_split(clicks, domains, seed=1)
    here = domains == domain
    assert {
        "clicks": np.bincount(
            split[here & (clicks == 1)], minlength=3
        ).tolist(),
        "others": np.bincount(
            split[here & (clicks == 0)], minlength=3
        ).tolist(),
    } == counts


def test_split_has_the_sizes_of_the_paper():
    domain = np.repeat([0, 1], [246_440, 753_769])
    label = np.random.RandomState(0).rand(domain.size) < 0.226
    split = splits.stratified_split(label, domain)
    assert np.bincount(domain * 3 + split).tolist() == [
        *(147_864, 49_288, 49_288),
        *(452_261, 150_754, 150_754),
    ]
    for one in (0, 1):
        rate = label[domain == one].mean()
        for index in range(3):
            part = label[(domain == one) & (split == index)]
            assert abs(part.sum() - rate * part.size) <= 1


@pytest.mark.parametrize("rows", [5, 7, 11, 23, 99, 1001])
def test_split_has_the_sizes_of_scikit_learn(rows):
    train, held_out = train_test_split(np.arange(rows), test_size=0.4)
    valid, test = train_test_split(held_out, test_size=0.5)
    split = splits.stratified_split(np.arange(rows) % 2, np.zeros(rows))
    assert np.bincount(split).tolist() == [
        len(train),
        len(valid),
        len(test),
    ]


def test_split_sizes_withstand_rounding():
    # (0.1 + 0.2) * 10 is 3.0000000000000004.
    split = splits.stratified_split(
        np.zeros(10), np.zeros(10), fractions=(0.7, 0.1, 0.2)
    )
    assert np.bincount(split).tolist() == [7, 1, 2]


def test_a_split_may_have_no_share():
    assert splits.split_sizes(7, (1.0, 0.0, 0.0)).tolist() == [7, 0, 0]
    assert splits.split_sizes(7, (0.8, 0.0, 0.2)).tolist() == [5, 0, 2]


def test_split_depends_on_the_seed_alone():
    label, domain = np.arange(60) % 3 == 0, np.arange(60) % 2
    split = splits.stratified_split(label, domain, seed=1)
    again = splits.stratified_split(label, domain, seed=1)
    other = splits.stratified_split(label, domain, seed=2)
    renumbered = splits.stratified_split(label, 5 - domain, seed=1)
    np.testing.assert_array_equal(split, again)
    np.testing.assert_array_equal(split, renumbered)
    assert (split != other).any()


def test_split_is_a_shuffle():
    split = splits.stratified_split(np.zeros(3000), np.zeros(3000))
    # Each third of the log gets its share of every split.
    for third in np.split(split, 3):
        np.testing.assert_allclose(
            np.bincount(third) / 1000, [0.6, 0.2, 0.2], atol=0.05
        )


def test_the_split_of_a_seed_is_frozen():
    # A different split is a different data set under the same name.
    split = splits.stratified_split(np.zeros(10), np.zeros(10), seed=123)
    assert split.tolist() == [0, 1, 2, 0, 0, 0, 1, 0, 0, 2]


@pytest.mark.parametrize("fractions", [(0.6, 0.4), (0.6, 0.2, 0.1)])
def test_split_refuses_wrong_fractions(fractions):
    with pytest.raises(ValueError, match=r"add up to 1\. Received"):
        splits.stratified_split(np.zeros(9), np.zeros(9), fractions)


# The split of an endless log.


def test_the_hashed_split_of_a_seed_is_frozen():
    assert splits.hashed_split(0, 20, seed=123).tolist() == [
        mix_by_hand(123, row) for row in range(20)
    ]


def mix_by_hand(seed, row, fractions=(0.6, 0.2, 0.2)):
    """SplitMix64 with Python's integers."""
    mask = (1 << 64) - 1

    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    state = (mix(seed) + (row + 1) * 0x9E3779B97F4A7C15) & mask
    share = (mix(state) >> 11) / 2**53
    return 0 if share < fractions[0] else 1 if share < sum(fractions[:2]) else 2


@settings(max_examples=50, deadline=None)
@given(
    start=st.integers(0, 2**40),
    counts=st.lists(st.integers(0, 50), max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_hashed_split_is_the_same_in_any_chunks(start, counts, seed):
    whole = splits.hashed_split(start, sum(counts), seed=seed)
    starts = start + np.cumsum([0, *counts])
    parts = [
        splits.hashed_split(int(one), count, seed=seed)
        for one, count in zip(starts, counts, strict=False)
    ]
    assert whole.dtype == np.int8
    np.testing.assert_array_equal(
        whole, np.concatenate([np.empty(0, np.int8), *parts])
    )


def test_the_hashed_split_has_the_shares_everywhere():
    split = splits.hashed_split(10**12, 300_000, (0.7, 0.1, 0.2), seed=5)
    for third in np.split(split, 3):
        shares = np.bincount(third) / third.size
        np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.006)


def test_the_hashed_split_depends_on_the_seed():
    one, other = (splits.hashed_split(0, 10_000, seed=seed) for seed in (1, 2))
    # 0.6^2 + 0.2^2 + 0.2^2 of the rows agree by chance.
    assert abs((one == other).mean() - 0.44) < 0.03


def test_the_hashed_split_refuses_wrong_fractions():
    with pytest.raises(ValueError, match=r"add up to 1\. Received"):
        splits.hashed_split(0, 9, (0.6, 0.4))


@pytest.mark.parametrize(
    ("split", "name"), [([1, 2], "train"), ([0, 2], "valid"), ([1, 0], "test")]
)
def test_an_empty_split_is_named(split, name):
    with pytest.raises(
        PreparationError, match=f"no row is left for the {name} split"
    ):
        splits.check_split(np.array(split))
