"""How far a test's metrics move with the rows that happen to be in it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mlora_tf import metric_inputs
from mlora_tf import metrics


def intervals(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    domains: npt.ArrayLike,
    num_domains: int,
    *,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Mapping[str, tuple[float, float]]:
    """Bootstrap intervals of WAUC and of the domains' mean AUC.

    Each resample counts every row as often as a draw from Poisson(1) says:
    the bootstrap of as many rows as there are, drawn with replacement. The
    interval is between the percentiles `(1 - level) / 2` and
    `(1 + level) / 2`. It tells of the test's rows alone: another seed of
    training moves a metric besides.

    Args:
        labels: 0 or 1, integer, boolean or float, `(n,)` or `(n, 1)`.
        scores: Finite numbers, `(n,)` or `(n, 1)`.
        domains: Integers in `[0, num_domains)`, `(n,)` or `(n, 1)`.
        num_domains: How many domains there are.
        resamples: How many times the rows are drawn.
        level: How much of the resamples' metrics lies in the interval.
        seed: Of the draws.

    Returns:
        "wauc" and "macro_auc" by name: the interval's lower and upper end;
        NaN where no resample has a domain with both labels.

    Raises:
        ValueError: As `metrics.grouped_auc`, or if `resamples` is below 1 or
            `level` isn't between 0 and 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> label = rng.random(2000) < 0.3
        >>> score = 0.2 * label + rng.random(2000)
        >>> low, high = intervals(label, score, np.zeros(2000, int), 1)["wauc"]
        >>> bool(low < metrics.auc(label, score) < high)
        True

    Reference:
        Chamandy et al., "Estimating Uncertainty for Massive Data Streams",
        Google, 2012 (the Poisson bootstrap).
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1. Received: {resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1. Received: {level}")
    y, s = metric_inputs.labels_and_scores(labels, scores)
    g = metric_inputs.group_ids(domains, num_domains, len(y))
    rng = np.random.default_rng(seed)
    auc = np.full((resamples, num_domains), np.nan)
    rows = np.zeros((resamples, num_domains))
    for domain in range(num_domains):
        inside = np.flatnonzero(g == domain)
        if not len(inside):
            continue
        inside = inside[np.argsort(s[inside])]
        clicks = y[inside].astype(bool)
        ordered = s[inside]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        for resample in range(resamples):
            counts = rng.poisson(1.0, len(inside))
            rows[resample, domain] = counts.sum()
            auc[resample, domain] = _auc(counts, clicks, starts)
    with_auc = ~np.isnan(auc)
    usable = with_auc.any(axis=1)
    return {
        "wauc": _percentiles(
            [
                metrics.wauc(values, weights)
                for values, weights in zip(
                    auc[usable], rows[usable], strict=True
                )
            ],
            level,
        ),
        "macro_auc": _percentiles(
            [float(np.nanmean(values)) for values in auc[usable]], level
        ),
    }


def _auc(
    counts: npt.NDArray[np.int64],
    clicks: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.intp],
) -> float:
    """AUC of rows that count several times.

    Args:
        counts: How often each row counts, in the order of the scores.
        clicks: Which rows are clicks, in that order.
        starts: Where each distinct score begins.
    """
    positive = np.add.reduceat(counts * clicks, starts)
    negative = np.add.reduceat(counts * ~clicks, starts)
    pairs = int(positive.sum()) * int(negative.sum())
    if not pairs:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)


def _percentiles(values: list[float], level: float) -> tuple[float, float]:
    if not values:
        return float("nan"), float("nan")
    low, high = np.percentile(
        values, [50 * (1 - level), 50 * (1 + level)]
    ).tolist()
    return low, high
