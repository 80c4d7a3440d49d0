"""Means, spreads and paired tests, against numbers worked out by hand."""

import math

import pytest

from experiments.study.statistics import Comparison
from experiments.study.statistics import Summary


def test_a_summary_is_mean_and_sample_deviation():
    found = Summary.of([80.0, 81.0, 83.0])
    assert found.mean == pytest.approx(81.3333, abs=1e-4)
    assert found.std == pytest.approx(1.5275, abs=1e-4)
    assert found.text() == "81.33 ± 1.53"
    assert found.text(sign=True, digits=1) == "+81.3 ± 1.5"


def test_one_value_has_no_spread():
    assert Summary.of([80.0]).text() == "80.00"
    assert Summary.of([-0.5]).text(sign=True) == "-0.50"


def test_what_is_undefined_in_a_seed_is_so_in_all():
    """As the AUC of a domain whose test rows are all of one class."""
    found = Summary.of([80.0, math.nan, 81.0])
    assert math.isnan(found.mean)
    assert found.text() == found.text(sign=True) == ""
    compared = Comparison.of([80.0, math.nan, 81.0], [79.0, 80.0, 81.5])
    assert (compared.gain.text(), compared.p_text) == ("", "")
    assert not compared.significant


def test_p_is_the_paired_t_tests():
    # Differences .1, .3, .2: mean .2, error .1 / sqrt 3, t = 3.4641, and with
    # two degrees of freedom p = 1 - t / sqrt(t^2 + 2).
    found = Comparison.of([1.1, 2.3, 3.2], [1.0, 2.0, 3.0])
    t = 0.2 / (0.1 / math.sqrt(3))
    assert found.p == pytest.approx(1 - t / math.sqrt(t * t + 2))
    assert found.p_text == ".074"
    assert not found.significant


def test_pairs_count_and_not_spreads_over_seeds():
    one, other = [10.0, 20.0, 30.0, 40.0], [9.9, 19.8, 29.9, 39.8]
    found = Comparison.of(one, other)
    assert found.significant
    assert Comparison.of(one, other[::-1]).p > 0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1.0], [0.5]),
        ([1.0, 2.0], [1.0, 2.0]),
        ([1.5, 2.500001], [1.0, 2.0]),
        ([1.5, 2.5, 3.5], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
    ],
)
def test_where_there_is_nothing_to_test_there_is_no_p(one, other):
    found = Comparison.of(one, other)
    assert math.isnan(found.p)
    assert found.p_text == ""
    assert not found.significant


def test_seeds_must_be_the_same():
    with pytest.raises(ValueError, match=r"longer|shorter"):
        Comparison.of([1.0, 2.0], [1.0])
