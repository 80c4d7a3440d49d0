"""Exact metrics of click prediction, per domain and over all, in NumPy.

Nothing here is approximated or binned: AUC comes from one sort of the scores,
in integer arithmetic until the last division, so that two models 0.01% apart
are told apart. For a stream too long to hold, see
`mlora_tf.streaming_wauc.StreamingWAUC`.

A domain with one class, or without a row, has no AUC. It is NaN here, it is
left out of every average, and `Evaluation.undefined` names it.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LOGLOSS_EPSILON = 1e-7
"""Probabilities are clipped to [epsilon, 1 - epsilon] before the logarithm."""

_FloatArray = npt.NDArray[np.float64]
_IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class DomainMetrics:
    """One domain's row of an `Evaluation`; NaN where a value is undefined.

    Attributes:
        name: The domain's name.
        rows: How many rows (impressions) it has.
        clicks: How many of them are clicks.
        ctr: clicks / rows.
        auc: Exact AUC; NaN with one class or no row.
        pcoc: Mean prediction over mean label; NaN without a click.
        logloss: Mean binary cross-entropy, in nats.
    """

    name: str
    rows: int
    clicks: int
    ctr: float
    auc: float
    pcoc: float
    logloss: float

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON-ready values: None stands for an undefined one."""
        return {
            field.name: _json(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        wauc: Domain AUCs weighted by the domains' rows (see `wauc`).
        macro_auc: Unweighted mean of the defined domain AUCs.
        auc: AUC over all rows, whatever their domain.
        logloss: Mean binary cross-entropy over all rows, in nats.
        user_auc: See `user_weighted_auc`; None if no users were given.
        domains: One `DomainMetrics` a domain, in the order of the ids.
        undefined: Names of the domains that have no AUC, hence no part in
            `wauc` and `macro_auc`.
    """

    wauc: float
    macro_auc: float
    auc: float
    logloss: float
    user_auc: float | None
    domains: tuple[DomainMetrics, ...]
    undefined: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as JSON-ready values: None for an undefined one."""
        return {
            "wauc": _json(self.wauc),
            "macro_auc": _json(self.macro_auc),
            "auc": _json(self.auc),
            "logloss": _json(self.logloss),
            "user_auc": _json(self.user_auc),
            "domains": [domain.to_dict() for domain in self.domains],
            "undefined": list(self.undefined),
        }


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
    y, s = _labels_and_scores(labels, scores)
    return _grouped_auc(y, s, _groups(groups, num_groups, len(y)), num_groups)


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
    y, s = _labels_and_scores(labels, scores)
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
    y, s = _labels_and_scores(labels, scores)
    return _user_weighted_auc(y, s, users)


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
    y, s = _labels_and_scores(labels, scores)
    _check_probabilities(s)
    g = _groups(groups, num_groups, len(y))
    return _divide(_sums(g, num_groups, s), _sums(g, num_groups, y))


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
    y, s = _labels_and_scores(labels, scores)
    _check_probabilities(s)
    return float(_losses(y, s).mean())


def evaluate(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    domains: npt.ArrayLike,
    domain_names: Sequence[str],
    users: npt.ArrayLike | None = None,
) -> Evaluation:
    """Everything at once: the exact evaluation of a set of predictions.

    Args:
        labels: 0 or 1, integer, boolean or float, `(n,)` or `(n, 1)`.
        scores: Predicted probabilities, `(n,)` or `(n, 1)`.
        domains: Each row's position in `domain_names`, `(n,)` or `(n, 1)`.
        domain_names: The domains' names, in the order of their ids.
        users: Each row's user, for `user_auc`; of any type that sorts.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: As `grouped_auc`, or if a score isn't within [0, 1].

    Example:
        >>> result = evaluate(
        ...     labels=[1, 0, 1, 0, 0],
        ...     scores=[0.9, 0.2, 0.4, 0.6, 0.3],
        ...     domains=[0, 0, 1, 1, 2],
        ...     domain_names=["books", "films", "games"],
        ... )
        >>> result.wauc, result.undefined
        (0.5, ('games',))

    Reference:
        - [Yang et al., 2024](https://arxiv.org/abs/2408.08913) (MLoRA)
        - [Sheng et al., 2021](https://arxiv.org/abs/2101.11427) (STAR)
    """
    y, s = _labels_and_scores(labels, scores)
    _check_probabilities(s)
    num_domains = len(domain_names)
    g = _groups(domains, num_domains, len(y))

    losses = _losses(y, s)
    rows = np.bincount(g, minlength=num_domains)
    clicks = _sums(g, num_domains, y)
    domain_auc = _grouped_auc(y, s, g, num_domains)
    domain_ctr = _divide(clicks, rows)
    domain_pcoc = _divide(_sums(g, num_domains, s), clicks)
    domain_logloss = _divide(_sums(g, num_domains, losses), rows)

    defined = ~np.isnan(domain_auc)
    return Evaluation(
        wauc=wauc(domain_auc, rows),
        macro_auc=(
            float(domain_auc[defined].mean()) if defined.any() else math.nan
        ),
        auc=_auc(y, s),
        logloss=float(losses.mean()),
        user_auc=None if users is None else _user_weighted_auc(y, s, users),
        domains=tuple(
            DomainMetrics(
                name=name,
                rows=int(rows[d]),
                clicks=int(clicks[d]),
                ctr=float(domain_ctr[d]),
                auc=float(domain_auc[d]),
                pcoc=float(domain_pcoc[d]),
                logloss=float(domain_logloss[d]),
            )
            for d, name in enumerate(domain_names)
        ),
        undefined=tuple(
            name
            for name, is_defined in zip(domain_names, defined, strict=True)
            if not is_defined
        ),
    )


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
    return _divide(won_twice, 2 * clicks * empties)


def _auc(labels: npt.NDArray[np.bool_], scores: npt.NDArray[Any]) -> float:
    everyone = np.zeros(len(labels), np.uint8)
    return float(_grouped_auc(labels, scores, everyone, 1)[0])


def _user_weighted_auc(
    labels: npt.NDArray[np.bool_],
    scores: npt.NDArray[Any],
    users: npt.ArrayLike,
) -> float:
    ids = _vector("users", users)
    _check_length("users", ids, len(labels))
    _, groups, impressions = np.unique(
        ids, return_inverse=True, return_counts=True
    )
    return wauc(
        _grouped_auc(labels, scores, groups, len(impressions)), impressions
    )


def _losses(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[Any]
) -> _FloatArray:
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


def _divide(
    numerator: npt.ArrayLike, denominator: npt.ArrayLike
) -> _FloatArray:
    """`numerator / denominator`, NaN where the denominator is zero."""
    b = np.asarray(denominator, dtype=np.float64)
    return np.divide(numerator, b, out=np.full(b.shape, np.nan), where=b != 0)


def _json(value: Any) -> Any:
    is_nan = isinstance(value, float) and math.isnan(value)
    return None if is_nan else value


def _vector(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` must have shape (n,) or (n, 1). "
            f"Received: shape {array.shape}."
        )
    return array


def _check_length(name: str, array: npt.NDArray[Any], length: int) -> None:
    if len(array) != length:
        raise ValueError(
            f"`{name}` must have one entry a label. "
            f"Received: {len(array)} entries for {length} labels."
        )


def _labels_and_scores(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Checked labels, as booleans, and scores, in the precision given."""
    y = _vector("labels", labels)
    if len(y) == 0:
        raise ValueError("`labels` must not be empty. Received: no row.")
    if y.dtype.kind not in "biuf":
        raise ValueError(
            f"`labels` must be numbers or booleans. Received: dtype {y.dtype}."
        )
    clicked = y == 1
    neither = ~(clicked | (y == 0))
    if neither.any():
        raise ValueError(
            "`labels` must be 0 or 1. "
            f"Received: {y[neither][0]} in row {int(np.argmax(neither))}."
        )
    s = _vector("scores", scores)
    _check_length("scores", s, len(y))
    if s.dtype.kind not in "biuf":
        raise ValueError(
            f"`scores` must be real numbers. Received: dtype {s.dtype}."
        )
    bad = ~np.isfinite(s)
    if bad.any():
        raise ValueError(
            "`scores` must be finite. "
            f"Received: {s[bad][0]} in row {int(np.argmax(bad))}."
        )
    return clicked, s


def _check_probabilities(scores: npt.NDArray[Any]) -> None:
    bad = (scores < 0) | (scores > 1)
    if bad.any():
        raise ValueError(
            "`scores` must be probabilities, within [0, 1]. "
            f"Received: {scores[bad][0]} in row {int(np.argmax(bad))}."
        )


def _groups(
    groups: npt.ArrayLike, num_groups: int, length: int
) -> npt.NDArray[Any]:
    if num_groups < 1:
        raise ValueError(
            f"There must be at least one group. Received: {num_groups}."
        )
    g = _vector("groups", groups)
    _check_length("groups", g, length)
    if g.dtype.kind not in "iu":
        raise ValueError(
            "The ids of groups (domains) must be integers. "
            f"Received: dtype {g.dtype}."
        )
    bad = (g < 0) | (g >= num_groups)
    if bad.any():
        raise ValueError(
            f"The ids of groups (domains) must lie in [0, {num_groups}). "
            f"Received: {g[bad][0]} in row {int(np.argmax(bad))}."
        )
    return g
