import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from sklearn.metrics import roc_auc_score

from mlora_tf import evaluation
from mlora_tf import metrics

NAN = float("nan")


def reference(labels, scores, groups, num_groups):
    """Group by group, by scikit-learn."""
    result = np.full(num_groups, np.nan)
    for group in range(num_groups):
        rows = groups == group
        if len(set(labels[rows].tolist())) == 2:
            result[group] = roc_auc_score(labels[rows], scores[rows])
    return result


def assert_same(actual, expected):
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


# --- AUC --------------------------------------------------------------------


@pytest.mark.parametrize("score_dtype", ["float32", "float64"])
@pytest.mark.parametrize("levels", [2, 7, 1_000_000])
@pytest.mark.parametrize("num_groups", [1, 3, 400])
def test_grouped_auc_is_sklearns(num_groups, levels, score_dtype):
    rng = np.random.default_rng(num_groups + levels)
    n = 2000
    # Group sizes from many to none, and ties from many (levels=2) to few.
    groups = (num_groups * rng.random(n) ** 2).astype("int32")
    labels = rng.random(n) < 0.2
    scores = (rng.integers(0, levels, n) / levels).astype(score_dtype)
    expected = reference(labels, scores, groups, num_groups)
    if num_groups == 400:
        assert 10 < np.isnan(expected).sum() < 390
    actual = metrics.grouped_auc(labels, scores, groups, num_groups)
    assert_same(actual, expected)


@pytest.mark.parametrize("num_groups", [256, 257, 65_536, 65_537])
def test_the_last_group_is_itself_in_the_narrowest_integers(num_groups):
    # One id too narrow it would be group 0, whose order is the opposite.
    groups = np.repeat([0, num_groups - 1], 2)
    actual = metrics.grouped_auc(
        [0, 1, 0, 1], [0.9, 0.1, 0.2, 0.8], groups, num_groups
    )
    assert actual[[0, -1]].tolist() == [0.0, 1.0]
    assert np.isnan(actual[1:-1]).all()


def test_more_groups_than_sixteen_bits():
    rng = np.random.default_rng(0)
    num_groups = 70_000
    groups = np.tile([3, 66_000, 69_999], 100)
    labels = rng.integers(0, 2, 300)
    scores = rng.random(300)
    actual = metrics.grouped_auc(labels, scores, groups, num_groups)
    assert np.isnan(actual).sum() == num_groups - 3
    for group in (3, 66_000, 69_999):
        rows = groups == group
        expected = roc_auc_score(labels[rows], scores[rows])
        assert actual[group] == pytest.approx(expected, abs=1e-12)


rows_strategy = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([-1.5, -0.0, 0.0, 0.25, 0.5, 1e-30, 3.0]),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(rows_strategy)
def test_grouped_auc_counts_pairs(rows):
    labels, scores, groups = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    expected = []
    for group in range(5):
        won = [
            (p > n) + (p == n) / 2
            for y, p, g in rows
            if y == 1 and g == group
            for z, n, h in rows
            if z == 0 and h == group
        ]
        expected.append(sum(won) / len(won) if won else np.nan)
    assert_same(metrics.grouped_auc(labels, scores, groups, 5), expected)


@settings(deadline=None, max_examples=50)
@given(rows_strategy, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    a, b = (
        metrics.grouped_auc(
            *(np.array(column) for column in zip(*each, strict=True)), 5
        )
        for each in (rows, shuffled)
    )
    np.testing.assert_array_equal(a, b)


def test_one_class_absent_and_single_row_groups():
    labels = [1, 1, 0, 0, 1, 1, 0]
    scores = [0.2, 0.9, 0.1, 0.5, 0.5, 0.3, 0.3]
    groups = [0, 0, 1, 1, 2, 4, 4]
    actual = metrics.grouped_auc(labels, scores, groups, 6)
    assert_same(actual, [NAN, NAN, NAN, NAN, 0.5, NAN])


def test_a_single_row():
    np.testing.assert_array_equal(
        metrics.grouped_auc([1], [0.5], [1], 3), [NAN, NAN, NAN]
    )
    assert math.isnan(metrics.auc([1], [0.5]))


def test_large_groups_do_not_overflow():
    # 200,000 clicks x 200,000 others: 4e10 pairs, past 32 bits.
    n = 200_000
    labels = np.repeat([0, 1], n)
    scores = np.concatenate([np.zeros(n), np.ones(n)])
    scores[-1] = 0.0
    assert metrics.auc(labels, scores) == pytest.approx(1 - 0.5 / n, abs=1e-15)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int64", "float16", "float32"]
)
def test_labels_of_any_dtype(dtype):
    labels = np.array([1, 0, 1, 0, 0], dtype)
    scores = np.array([0.9, 0.8, 0.7, 0.1, 0.7], "float32")
    assert metrics.auc(labels, scores) == 4.5 / 6


def test_columns_are_vectors():
    labels = np.array([1, 0, 1, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.1], "float32")
    groups = np.array([0, 1, 0, 0])
    vector = evaluation.evaluate(labels, scores, groups, ["a", "b"], groups)
    column = evaluation.evaluate(
        labels[:, None],
        scores[:, None],
        groups[:, None],
        ["a", "b"],
        groups[:, None],
    )
    assert column.to_dict() == vector.to_dict()
    assert column.auc == 3 / 4


# --- Averages ---------------------------------------------------------------


def test_wauc_by_hand():
    # (0.8 * 300 + 0.6 * 100) / 400; the middle group is left out.
    assert metrics.wauc([0.8, NAN, 0.6], [300, 500, 100]) == 0.75
    assert metrics.wauc([0.8, 0.2, 0.6], [300, 0, 100]) == 0.75


@pytest.mark.parametrize(
    ("aucs", "rows"), [([NAN, NAN], [3, 4]), ([0.5], [0]), ([], [])]
)
def test_wauc_of_nothing(aucs, rows):
    assert math.isnan(metrics.wauc(aucs, rows))


def test_user_weighted_auc_by_hand():
    # User u: AUC 1 over 2 impressions; v: 1/2 over 3 (one of two pairs);
    # w has clicks alone and x one row: left out.
    users = ["u", "v", "w", "v", "u", "v", "w", "x"]
    labels = [1, 1, 1, 0, 0, 0, 1, 0]
    scores = [0.6, 0.5, 0.1, 0.9, 0.2, 0.3, 0.4, 0.5]
    expected = (2 * 1.0 + 3 * 0.5) / 5
    assert metrics.user_weighted_auc(labels, scores, users) == expected
    numbers = [10**12, -5, 7, -5, 10**12, -5, 7, 0]
    assert metrics.user_weighted_auc(labels, scores, numbers) == expected


def test_user_weighted_auc_without_a_user_of_both_classes():
    result = metrics.user_weighted_auc([1, 0], [0.5, 0.4], ["u", "v"])
    assert math.isnan(result)


# --- Calibration and loss ---------------------------------------------------


def test_pcoc_by_hand():
    labels = [1, 0, 0, 0, 1, 0]
    scores = [0.5, 0.25, 0.5, 0.25, 0.25, 0.75]
    groups = [0, 0, 0, 0, 1, 2]
    actual = metrics.pcoc(labels, scores, groups, 4)
    assert_same(actual, [1.5, 0.25, NAN, NAN])


def test_pcoc_sums_in_float64():
    # A float32 sum of these stops growing long before the end.
    n = 1 << 20
    scores = np.full(n, 0.1, "float32")
    labels = np.arange(n) % 10 == 0
    actual = metrics.pcoc(labels, scores, np.zeros(n, int), 1)
    expected = float(np.float32(0.1)) * n / labels.sum()
    assert_same(actual, [expected])


def test_logloss_is_sklearns():
    rng = np.random.default_rng(1)
    scores = rng.uniform(1e-6, 1 - 1e-6, 1000)
    labels = rng.integers(0, 2, 1000)
    actual = metrics.logloss(labels, scores)
    assert actual == pytest.approx(log_loss(labels, scores), abs=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logloss_clips(dtype):
    sure = np.array([0.0, 1.0], dtype)
    assert metrics.logloss([1, 0], sure) == pytest.approx(-math.log(1e-7))
    assert metrics.logloss([0, 1], sure) == pytest.approx(1e-7)


# --- evaluate ---------------------------------------------------------------


def test_users_whom_nobody_knows_are_not_one_user():
    labels, scores = [1, 0, 1, 0, 1, 0], [0.9, 0.8, 0.2, 0.1, 0.3, 0.6]
    rows = {
        "labels": labels,
        "scores": scores,
        "domains": [0] * 6,
        "domain_names": ["fr"],
    }
    users = np.array([0, 0, 0, 0, 7, 7])
    known = evaluation.evaluate(**rows, users=users, unknown_user=0)
    assert known.user_auc == known.domains[0].user_auc == 0.0
    assert known.unknown_user_rows == 4
    everyone = evaluation.evaluate(**rows, users=users)
    assert everyone.user_auc == (4 * 0.75 + 2 * 0.0) / 6
    assert everyone.unknown_user_rows == 0
    nobody = evaluation.evaluate(**rows, users=0 * users, unknown_user=0)
    assert np.isnan([nobody.user_auc, nobody.domains[0].user_auc]).all()
    assert nobody.undefined_users == 0
    assert evaluation.evaluate(**rows).unknown_user_rows is None


def small_evaluation(users=None):
    return evaluation.evaluate(
        labels=np.array([1, 0, 0, 1, 0, 0], "float32"),
        scores=np.array([0.75, 0.5, 0.25, 0.25, 0.5, 0.5], "float32"),
        domains=[0, 0, 0, 2, 2, 3],
        domain_names=["books", "films", "games", "music"],
        users=users,
    )


def test_evaluate_by_hand():
    result = small_evaluation(users=["u", "u", "v", "w", "w", "w"])
    assert result.wauc == (3 * 1.0 + 2 * 0.0) / 5
    assert result.macro_auc == 0.5
    assert result.auc == (4 + 0.5) / 8
    assert result.user_auc == (2 * 1.0 + 3 * 0.0) / 5
    assert result.undefined_users == 1
    assert result.undefined == ("films", "music")
    log = math.log
    losses = [
        -log(0.75) - log(0.5) - log(0.75),
        -log(0.25) - log(0.5),
        -log(0.5),
    ]
    assert result.logloss == pytest.approx(sum(losses) / 6, abs=1e-12)
    books, films, games, music = result.domains
    assert (books.name, books.rows, books.clicks) == ("books", 3, 1)
    assert (books.ctr, books.auc, books.pcoc) == (1 / 3, 1.0, 1.5)
    assert books.logloss == pytest.approx(losses[0] / 3, abs=1e-12)
    assert (films.name, films.rows, films.clicks) == ("films", 0, 0)
    assert np.isnan([films.ctr, films.auc, films.pcoc, films.logloss]).all()
    assert (games.ctr, games.auc, games.pcoc) == (0.5, 0.0, 0.75)
    assert (music.rows, music.clicks, music.ctr) == (1, 0, 0.0)
    assert np.isnan([music.auc, music.pcoc]).all()
    assert music.logloss == pytest.approx(losses[2], abs=1e-12)
    # The user w has one click in games, and one row without in music.
    assert (books.user_auc, games.user_auc) == (1.0, 0.0)
    assert np.isnan([films.user_auc, music.user_auc]).all()


def test_evaluate_agrees_with_its_parts():
    rng = np.random.default_rng(2)
    n, num_domains = 3000, 12
    domains = rng.integers(0, num_domains, n)
    scores = rng.random(n).astype("float32")
    labels = rng.random(n) < scores * (domains + 1) / num_domains
    users = rng.integers(0, 200, n)
    names = [f"domain {d}" for d in range(num_domains)]
    result = evaluation.evaluate(labels, scores, domains, names, users)
    aucs = reference(labels, scores, domains, num_domains)
    rows = np.bincount(domains)
    assert result.wauc == pytest.approx(np.average(aucs, weights=rows))
    assert result.macro_auc == pytest.approx(aucs.mean())
    assert result.auc == pytest.approx(roc_auc_score(labels, scores))
    assert result.logloss == metrics.logloss(labels, scores)
    assert result.user_auc == metrics.user_weighted_auc(labels, scores, users)
    assert_same(np.array([d.auc for d in result.domains]), aucs)
    assert_same(
        np.array([d.pcoc for d in result.domains]),
        metrics.pcoc(labels, scores, domains, num_domains),
    )
    for d, domain in enumerate(result.domains):
        own = domains == d
        assert domain.name == names[d]
        assert domain.ctr == pytest.approx(labels[own].mean(), abs=1e-12)
        assert domain.logloss == pytest.approx(
            metrics.logloss(labels[own], scores[own]), abs=1e-12
        )
        assert domain.user_auc == pytest.approx(
            metrics.user_weighted_auc(labels[own], scores[own], users[own]),
            abs=1e-12,
        )


def test_evaluate_without_any_defined_domain():
    result = evaluation.evaluate([1, 0], [0.5, 0.25], [0, 1], ["a", "b"])
    assert math.isnan(result.wauc)
    assert math.isnan(result.macro_auc)
    assert result.auc == 1.0
    assert result.user_auc is result.domains[0].user_auc is None
    assert result.undefined == ("a", "b")


def test_to_dict_is_json():
    result = small_evaluation()
    as_dict = result.to_dict()
    # allow_nan=False: a NaN, or a NumPy number, raises.
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict
    assert as_dict["wauc"] == 0.6
    assert as_dict["user_auc"] is None
    # With users of whom none has both classes it is undefined, too.
    without = small_evaluation(users=range(6)).to_dict()
    assert (without["user_auc"], without["undefined_users"]) == (None, 6)
    assert as_dict["undefined"] == ["films", "music"]
    assert as_dict["domains"][1] == {
        "name": "films",
        "rows": 0,
        "clicks": 0,
        "ctr": None,
        "auc": None,
        "pcoc": None,
        "logloss": None,
        "user_auc": None,
    }


# --- Errors -----------------------------------------------------------------


def evaluate_with(**changes):
    arguments = {
        "labels": [1, 0, 1],
        "scores": [0.1, 0.2, 0.3],
        "domains": [0, 1, 1],
        "domain_names": ["a", "b"],
        "users": [1, 1, 1],
    }
    evaluation.evaluate(**arguments)  # Fine as it stands.
    evaluation.evaluate(**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": []}, "must not be empty. Received: no row"),
        ({"labels": [1, 2, 0]}, "0 or 1. Received: 2 in row 1"),
        ({"labels": [1, 0, NAN]}, "0 or 1. Received: nan in row 2"),
        ({"labels": [1, 0.5, 0]}, "0 or 1. Received: 0.5 in row 1"),
        ({"labels": ["1", "0", "1"]}, "Received: dtype <U1"),
        ({"labels": [[1, 0], [0, 1]]}, r"Received: shape \(2, 2\)"),
        ({"scores": [0.1, 0.2]}, "Received: 2 entries for 3 labels"),
        ({"scores": [0.1, NAN, 0.2]}, "finite. Received: nan in row 1"),
        ({"scores": [0.1, 0.2, np.inf]}, "finite. Received: inf in row 2"),
        ({"scores": [0.1, 1.5, 0.2]}, "within.* Received: 1.5 in row 1"),
        ({"scores": [-0.5, 0.5, 0.2]}, "within.* Received: -0.5 in row 0"),
        ({"scores": ["a", "b", "c"]}, "real numbers. Received: dtype <U1"),
        ({"domains": [0, 1]}, "Received: 2 entries for 3 labels"),
        ({"domains": [0, 2, 1]}, r"\[0, 2\). Received: 2 in row 1"),
        ({"domains": [0, 1, -1]}, r"\[0, 2\). Received: -1 in row 2"),
        ({"domains": [0.0, 1.0, 1.0]}, "integers. Received: dtype float64"),
        ({"domain_names": []}, "at least one group. Received: 0"),
        ({"users": [1, 2]}, "`users`.* Received: 2 entries for 3 labels"),
    ],
)
def test_evaluate_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        evaluate_with(**changes)


@pytest.mark.parametrize(
    "function",
    [
        lambda y, s, g: metrics.auc(y, s),
        lambda y, s, g: metrics.logloss(y, s),
        lambda y, s, g: metrics.grouped_auc(y, s, g, 2),
        lambda y, s, g: metrics.pcoc(y, s, g, 2),
        lambda y, s, g: metrics.user_weighted_auc(y, s, g),
    ],
)
def test_every_function_checks(function):
    function([1, 0], [0.5, 0.4], [0, 0])
    with pytest.raises(ValueError, match="Received: nan in row 1"):
        function([1, 0], [0.5, NAN], [0, 0])
    with pytest.raises(ValueError, match="Received: 3 in row 0"):
        function([3, 0], [0.5, 0.5], [0, 0])
    with pytest.raises(ValueError, match="Received: 1 entries for 2 labels"):
        function([1, 0], [0.5], [0, 0])


@pytest.mark.parametrize("users", [[7], [7, 7, 7]])
def test_there_is_a_user_for_each_row(users):
    with pytest.raises(ValueError, match=f"Received: {len(users)} entries"):
        metrics.user_weighted_auc([1, 0], [0.5, 0.4], users)


def test_only_ranks_need_no_probabilities():
    assert metrics.auc([1, 0], [3.0, -2.0]) == 1.0
    for function in (
        lambda: metrics.logloss([1, 0], [3.0, -2.0]),
        lambda: metrics.pcoc([1, 0], [3.0, -2.0], [0, 0], 1),
    ):
        with pytest.raises(ValueError, match=r"Received: 3\.0 in row 0"):
            function()


@pytest.mark.parametrize(
    ("aucs", "rows", "message"),
    [
        ([0.5], [1, 2], r"shapes \(1,\) and \(2,\)"),
        ([[0.5]], [[1]], r"shapes \(1, 1\) and \(1, 1\)"),
        ([0.5, 0.5], [1, -2], "Received: -2.0"),
        ([0.5, 0.5], [NAN, 2], "Received: nan"),
        ([0.5, 0.5], [np.inf, 2], "Received: inf"),
    ],
)
def test_wauc_errors(aucs, rows, message):
    with pytest.raises(ValueError, match=message):
        metrics.wauc(aucs, rows)
