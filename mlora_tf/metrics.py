"""Exact metrics of click prediction, per domain and over all, in NumPy.

Nothing here is approximated or binned: AUC comes from one sort of the scores,
in integer arithmetic until the last division, so that two models 0.01% apart
are told apart. For a stream too long to hold, see
`mlora_tf.streaming_wauc.StreamingWAUC`.

A domain with one class, or without a row, has no AUC. It is NaN here, it is
left out of every average, and `evaluation.Evaluation.undefined` names it.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mlora_tf import metric_inputs

LOGLOSS_EPSILON = 1e-7
"""Probabilities are clipped to [epsilon, 1 - epsilon] before the logarithm."""

_FloatArray = npt.NDArray[np.float64]
_IntArray = npt.NDArray[np.int64]


def grouped_auc(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    num_groups: int,
) -> _FloatArray:
    """Exact AUC of each group, from one sort of all the rows.

    ```
    AUC_g = (#{s+ > s-} + #{s+ = s-} / 2) / (P_g N_g)
    ```

    over the pairs of a clicked (+) and a non-clicked (-) row of group g, of
    which there are P_g and N_g (the Mann-Whitney form; ties count half).

    Args:
        labels: 0 or 1, integer, boolean or float, `(n,)` or `(n, 1)`.
        scores: Finite numbers, higher for likelier clicks, `(n,)` or `(n, 1)`.
        groups: Integers in `[0, num_groups)`, `(n,)` or `(n, 1)`.
        num_groups: How many groups there are.

    Returns:
        float64 `(num_groups,)`; NaN for a group with one class or no row.

    Raises:
        ValueError: If the inputs are empty, of different lengths, or hold a
            value outside what is said above.

    Example:
        >>> labels = [1, 0, 1, 0, 1]
        >>> scores = [0.9, 0.1, 0.5, 0.5, 0.3]
        >>> grouped_auc(labels, scores, [0, 0, 1, 1, 2], 3)
        array([1. , 0.5, nan])
    """
    y, s = metric_inputs.labels_and_scores(labels, scores)
    return _grouped_auc(
        y, s, metric_inputs.group_ids(groups, num_groups, len(y)), num_groups
    )


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Exact AUC over all rows; NaN if they have one class.

    Args:
        labels: 0 or 1, `(n,)` or `(n, 1)`.
        scores: Finite numbers, `(n,)` or `(n, 1)`.

    Returns:
        The AUC, ties counted half.

    Raises:
        ValueError: As `grouped_auc`.
    """
    y, s = metric_inputs.labels_and_scores(labels, scores)
    return _auc(y, s)


def wauc(auc_per_group: npt.ArrayLike, rows_per_group: npt.ArrayLike) -> float:
    """AUC of the groups, weighted by their rows (MLoRA, eqs. 11 and 12).

    ```
    WAUC = sum_d w_d AUC_d,    w_d = n_d / sum_d n_d
    ```

    A group without an AUC is left out of both sums, so that the weights of
    the others add up to one.

    Args:
        auc_per_group: AUC, or NaN where there is none, `(num_groups,)`.
        rows_per_group: Rows n_d, not negative, `(num_groups,)`.

    Returns:
        The weighted mean; NaN if no group with a row has an AUC.

    Raises:
        ValueError: If the shapes differ or a number of rows is negative.

    Example:
        >>> wauc([0.8, float("nan"), 0.6], [300, 500, 100])
        0.75
    """
    values = np.asarray(auc_per_group, dtype=np.float64)
    rows = np.asarray(rows_per_group, dtype=np.float64)
    if values.ndim != 1 or values.shape != rows.shape:
        raise ValueError(
            "`auc_per_group` and `rows_per_group` must be vectors of one "
            f"length. Received: shapes {values.shape} and {rows.shape}."
        )
    if not (np.isfinite(rows) & (rows >= 0)).all():
        raise ValueError(
            "`rows_per_group` must hold finite numbers that aren't negative. "
            f"Received: {rows[~(np.isfinite(rows) & (rows >= 0))][0]}."
        )
    defined = ~np.isnan(values)
    total = rows[defined].sum()
    if total == 0:
        return math.nan
    return float(np.dot(values[defined], rows[defined]) / total)


def user_weighted_auc(
    labels: npt.ArrayLike, scores: npt.ArrayLike, users: npt.ArrayLike
) -> float:
    """AUC within each user, weighted by impressions (STAR, eq. 9).

    ```
    AUC = sum_i impressions_i AUC_i / sum_i impressions_i
    ```

    over the users i that have both a click and a non-click; the others have
    no order to get right and are left out of both sums.

    Args:
        labels: 0 or 1, `(n,)` or `(n, 1)`.
        scores: Finite numbers, `(n,)` or `(n, 1)`.
        users: Each row's user, of any type that sorts, `(n,)` or `(n, 1)`.

    Returns:
        The weighted mean; NaN if no user has both.

    Raises:
        ValueError: As `grouped_auc`.
    """
    return wauc(*auc_per_user(labels, scores, users))


def auc_per_user(
    labels: npt.ArrayLike, scores: npt.ArrayLike, users: npt.ArrayLike
) -> tuple[_FloatArray, _IntArray]:
    """Each user's AUC and number of rows, in the order of sorted users.

    Args:
        labels: 0 or 1, `(n,)` or `(n, 1)`.
        scores: Finite numbers, `(n,)` or `(n, 1)`.
        users: Each row's user, of any type that sorts, `(n,)` or `(n, 1)`.

    Returns:
        AUCs, NaN for a user with one class, and numbers of rows: both
        `(users,)`.

    Raises:
        ValueError: As `grouped_auc`.
    """
    y, s = metric_inputs.labels_and_scores(labels, scores)
    ids = metric_inputs.vector("users", users)
    metric_inputs.check_length("users", ids, len(y))
    _, groups, rows = np.unique(ids, return_inverse=True, return_counts=True)
    return _grouped_auc(y, s, groups, len(rows)), rows


def pcoc(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    num_groups: int,
) -> _FloatArray:
    """Predicted click rate over the observed one, per group.

    ```
    PCOC_g = mean(scores of g) / mean(labels of g)      (STAR, section 4.3.4)
    ```

    One is calibrated; above one predicts too many clicks.

    Args:
        labels: 0 or 1, `(n,)` or `(n, 1)`.
        scores: Probabilities, `(n,)` or `(n, 1)`.
        groups: Integers in `[0, num_groups)`, `(n,)` or `(n, 1)`.
        num_groups: How many groups there are.

    Returns:
        float64 `(num_groups,)`; NaN for a group without a click or a row.

    Raises:
        ValueError: As `grouped_auc`, or if a score isn't within [0, 1].
    """
    y, s = metric_inputs.labels_and_scores(labels, scores)
    metric_inputs.check_probabilities(s)
    g = metric_inputs.group_ids(groups, num_groups, len(y))
    return divide(_sums(g, num_groups, s), _sums(g, num_groups, y))


def logloss(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean binary cross-entropy, in nats and in float64.

    ```
    -mean(y log p + (1 - y) log(1 - p)),   p clipped to [1e-7, 1 - 1e-7]
    ```

    The clipping is Keras's: a prediction wrong with full confidence costs
    16.1 instead of infinity.

    Args:
        labels: 0 or 1, `(n,)` or `(n, 1)`.
        scores: Probabilities, `(n,)` or `(n, 1)`.

    Returns:
        The mean over the rows.

    Raises:
        ValueError: As `grouped_auc`, or if a score isn't within [0, 1].
    """
    y, s = metric_inputs.labels_and_scores(labels, scores)
    metric_inputs.check_probabilities(s)
    return float(row_losses(y, s).mean())


def _grouped_auc(
    labels: npt.NDArray[np.bool_],
    scores: npt.NDArray[Any],
    groups: npt.NDArray[Any],
    num_groups: int,
) -> _FloatArray:
    """`grouped_auc` of inputs already checked."""
    # Sort by (group, score). The second, stable sort sees the narrowest
    # integers that hold the groups: up to 65,536 of them NumPy counts them
    # into place (radix sort) instead of comparing.
    order = np.argsort(scores)
    narrow = groups.astype(np.min_scalar_type(num_groups - 1))
    order = order[np.argsort(narrow[order], kind="stable")]
    y, s, g = labels[order], scores[order], narrow[order]

    # A tie is a run of rows of one group with one score. `ends` is the row
    # behind each; c and e count its clicks and its other rows (empties).
    new = np.flatnonzero((s[1:] != s[:-1]) | (g[1:] != g[:-1])) + 1
    ends = np.append(new, len(y))
    clicks_until = np.cumsum(y, dtype=np.int64)[ends - 1]
    c = np.diff(clicks_until, prepend=0)
    e = np.diff(ends, prepend=0) - c

    # Where each group's ties begin and end, among the ties.
    rows = np.bincount(narrow, minlength=num_groups)
    last_row = np.cumsum(rows)
    bounds = np.searchsorted(ends, np.append(0, last_row), side="right")
    empties = _between(e, bounds)
    clicks = _between(c, bounds)

    # Twice the won pairs: each click of a tie beats the empties below it, in
    # its group, and half of those beside it. Integers: nothing is rounded.
    below = np.cumsum(e) - e
    below -= np.repeat(np.cumsum(empties) - empties, np.diff(bounds))
    won_twice = _between(c * (2 * below + e), bounds)
    return divide(won_twice, 2 * clicks * empties)


def _auc(labels: npt.NDArray[np.bool_], scores: npt.NDArray[Any]) -> float:
    everyone = np.zeros(len(labels), np.uint8)
    return float(_grouped_auc(labels, scores, everyone, 1)[0])


def row_losses(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[Any]
) -> _FloatArray:
    """Each row's binary cross-entropy in nats, of checked inputs."""
    p = np.clip(scores.astype(np.float64), LOGLOSS_EPSILON, 1 - LOGLOSS_EPSILON)
    return -np.log(np.where(labels, p, 1 - p))


def _sums(
    groups: npt.NDArray[Any], num_groups: int, values: npt.NDArray[Any]
) -> _FloatArray:
    """Sum of `values` in each group, in float64."""
    sums = np.bincount(groups, values, minlength=num_groups)
    return sums.astype(np.float64)  # It is already; NumPy's stubs differ.


def _between(values: _IntArray, bounds: _IntArray) -> _IntArray:
    """Sums of `values[bounds[i]:bounds[i + 1]]`; an empty slice sums to 0."""
    until = np.append(0, np.cumsum(values))[bounds]
    return until[1:] - until[:-1]


def divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> _FloatArray:
    """`numerator / denominator`, NaN where the denominator is zero."""
    b = np.asarray(denominator, dtype=np.float64)
    return np.divide(numerator, b, out=np.full(b.shape, np.nan), where=b != 0)
