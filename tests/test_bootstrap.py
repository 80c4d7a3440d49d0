"""The bootstrap: exact on counted rows, and as wide as theory says."""

import math

import numpy as np
import pytest

from mlora_tf import bootstrap
from mlora_tf import metrics


def rows(number, domains=2, seed=0):
    """Labels, scores with ties, and domains."""
    rng = np.random.default_rng(seed)
    label = (rng.random(number) < 0.3).astype(int)
    score = np.round(0.3 * label + rng.random(number), 2)
    return label, score, rng.integers(0, domains, number)


def test_a_row_that_counts_twice_is_a_row_given_twice():
    label, score, _ = rows(60)
    counts = np.random.default_rng(1).poisson(1.0, 60)
    order = np.argsort(score)
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    got = bootstrap._auc(counts[order], label[order].astype(bool), starts)
    repeated = np.repeat(np.arange(60), counts)
    assert got == pytest.approx(metrics.auc(label[repeated], score[repeated]))


def test_the_interval_is_as_wide_as_the_normal_one():
    # Hanley and McNeil's standard error of an AUC, from exponential scores.
    rng = np.random.default_rng(3)
    label = np.repeat([0, 1], [3000, 1000])
    score = rng.normal(label * 1.0, 1.0)
    auc = metrics.auc(label, score)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = math.sqrt(
        (auc * (1 - auc) + 999 * (q1 - auc**2) + 2999 * (q2 - auc**2)) / 3e6
    )
    low, high = bootstrap.intervals(
        label, score, np.zeros(4000, int), 1, resamples=400
    )["wauc"]
    assert low < auc < high
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.2)


def test_domains_weigh_by_their_rows_and_alike():
    label, score, domain = rows(4000)
    score = np.where(domain == 1, 1 - score, score)  # bad in the second
    domain = np.where(np.arange(4000) < 3000, 0, domain)
    found = bootstrap.intervals(label, score, domain, 2)
    auc = metrics.grouped_auc(label, score, domain, 2)
    counts = np.bincount(domain)
    for name, value in (
        ("wauc", metrics.wauc(auc, counts)),
        ("macro_auc", auc.mean()),
    ):
        low, high = found[name]
        assert low < value < high
    assert found["wauc"][0] > found["macro_auc"][1]


def test_a_domain_weighs_by_the_rows_that_were_drawn_of_it():
    rng = np.random.default_rng(5)
    label, score = np.tile([0, 1], 10), rng.random(20)
    domain = np.repeat([0, 1], [6, 14])
    found = bootstrap.intervals(label, score, domain, 2, resamples=1, seed=3)
    drawn, counts = np.random.default_rng(3), np.empty(20, int)
    for one in (0, 1):
        inside = np.flatnonzero(domain == one)
        inside = inside[np.argsort(score[inside])]
        counts[inside] = drawn.poisson(1.0, len(inside))
    again = np.repeat(np.arange(20), counts)
    auc = metrics.grouped_auc(label[again], score[again], domain[again], 2)
    weights = np.bincount(domain[again])
    assert weights[0] / weights.sum() != pytest.approx(6 / 20, abs=0.02)
    assert found["wauc"] == pytest.approx((metrics.wauc(auc, weights),) * 2)


def test_scores_that_are_all_alike_rank_nothing():
    # A tie counts half in every resample, however its rows are drawn.
    label, _, domain = rows(50)
    found = bootstrap.intervals(label, np.zeros(50), domain, 2, resamples=5)
    assert found == {"wauc": (0.5, 0.5), "macro_auc": (0.5, 0.5)}


def test_the_same_seed_gives_the_same_interval():
    one, other, another = (
        bootstrap.intervals(*rows(300), 2, resamples=20, seed=seed)
        for seed in (0, 0, 1)
    )
    assert one == other != another


def test_a_higher_level_is_wider():
    narrow, wide = (
        bootstrap.intervals(*rows(500), 2, level=level)["wauc"]
        for level in (0.5, 0.99)
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_domains_without_an_auc_are_left_out():
    label, score, domain = rows(400)
    alone = bootstrap.intervals(label, score, np.zeros(400, int), 1)
    label = np.concatenate([label, [0, 0]])
    score = np.concatenate([score, [0.1, 0.9]])
    domain = np.concatenate([np.zeros(400, int), [1, 1]])
    assert bootstrap.intervals(label, score, domain, 4) == alone


def test_rows_of_one_label_give_no_interval():
    found = bootstrap.intervals([0, 0], [0.1, 0.2], [0, 0], 1, resamples=3)
    assert all(math.isnan(end) for ends in found.values() for end in ends)


@pytest.mark.parametrize(
    ("name", "value"), [("resamples", 0), ("level", 0.0), ("level", 1.0)]
)
def test_a_bad_argument_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must"):
        bootstrap.intervals([0, 1], [0.1, 0.2], [0, 0], 1, **{name: value})
