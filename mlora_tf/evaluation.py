"""One exact evaluation of a set of predictions: per domain and overall."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlora_tf import metric_inputs
from mlora_tf import metrics


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
        user_auc: See `user_weighted_auc`, of its rows alone, as in STAR's
            Table 2; None if no users were given.
    """

    name: str
    rows: int
    clicks: int
    ctr: float
    auc: float
    pcoc: float
    logloss: float
    user_auc: float | None = None

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
        undefined_users: How many users have no AUC, hence no part in
            `user_auc`; None if no users were given.
        unknown_user_rows: How many rows are of the `unknown_user`, hence have
            no part in `user_auc`; None if no users were given.
    """

    wauc: float
    macro_auc: float
    auc: float
    logloss: float
    user_auc: float | None
    domains: tuple[DomainMetrics, ...]
    undefined: tuple[str, ...]
    undefined_users: int | None
    unknown_user_rows: int | None

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
            "undefined_users": self.undefined_users,
            "unknown_user_rows": self.unknown_user_rows,
        }


def evaluate(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    domains: npt.ArrayLike,
    domain_names: Sequence[str],
    users: npt.ArrayLike | None = None,
    unknown_user: Any = None,
) -> Evaluation:
    """Everything at once: the exact evaluation of a set of predictions.

    Args:
        labels: 0 or 1, integer, boolean or float, `(n,)` or `(n, 1)`.
        scores: Predicted probabilities, `(n,)` or `(n, 1)`.
        domains: Each row's position in `domain_names`, `(n,)` or `(n, 1)`.
        domain_names: The domains' names, in the order of their ids.
        users: Each row's user, for `user_auc`; of any type that sorts.
        unknown_user: What `users` have for whoever isn't known. Such rows
            are of many users, and no part of `user_auc`; None is no value.

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
    y, s = metric_inputs.labels_and_scores(labels, scores)
    num_domains = len(domain_names)
    g = metric_inputs.group_ids(domains, num_domains, len(y))

    rows = np.bincount(g, minlength=num_domains)
    clicks = np.bincount(g, y, minlength=num_domains)
    losses = np.bincount(g, metrics.row_losses(y, s), minlength=num_domains)
    domain_auc = metrics.grouped_auc(y, s, g, num_domains)
    domain_pcoc = metrics.pcoc(y, s, g, num_domains)
    domain_ctr = metrics.divide(clicks, rows)
    domain_logloss = metrics.divide(losses, rows)

    user_auc = undefined_users = unknown_user_rows = None
    domain_user_auc: Sequence[float | None] = [None] * num_domains
    if users is not None:
        ids = metric_inputs.vector("users", users)
        metric_inputs.check_length("users", ids, len(y))
        known = np.ones(len(y), bool)
        if unknown_user is not None:
            known = ids != unknown_user
        user_auc, undefined_users = math.nan, 0
        domain_user_auc = [math.nan] * num_domains
        if known.any():
            of_known = y[known], s[known], ids[known]
            per_user, impressions = metrics.auc_per_user(*of_known)
            user_auc = metrics.wauc(per_user, impressions)
            undefined_users = int(np.isnan(per_user).sum())
            domain_user_auc = _user_auc_by_domain(
                *of_known, g[known], num_domains
            ).tolist()
        unknown_user_rows = int((~known).sum())

    defined = ~np.isnan(domain_auc)
    return Evaluation(
        wauc=metrics.wauc(domain_auc, rows),
        macro_auc=(
            float(domain_auc[defined].mean()) if defined.any() else math.nan
        ),
        auc=metrics.auc(y, s),
        logloss=metrics.logloss(y, s),
        user_auc=user_auc,
        undefined_users=undefined_users,
        unknown_user_rows=unknown_user_rows,
        domains=tuple(
            DomainMetrics(
                name=name,
                rows=int(rows[d]),
                clicks=int(clicks[d]),
                ctr=float(domain_ctr[d]),
                auc=float(domain_auc[d]),
                pcoc=float(domain_pcoc[d]),
                logloss=float(domain_logloss[d]),
                user_auc=domain_user_auc[d],
            )
            for d, name in enumerate(domain_names)
        ),
        undefined=tuple(
            name
            for name, is_defined in zip(domain_names, defined, strict=True)
            if not is_defined
        ),
    )


def _user_auc_by_domain(
    y: npt.NDArray[Any],
    s: npt.NDArray[Any],
    users: npt.NDArray[Any],
    domains: npt.NDArray[Any],
    num_domains: int,
) -> npt.NDArray[np.float64]:
    """Each domain's user-weighted AUC; NaN where no user has one."""
    known, number = np.unique(users, return_inverse=True)
    # Whoever is in two domains is a user of each.
    cells = domains.astype(np.int64) * len(known) + number
    aucs, rows = metrics.auc_per_user(y, s, cells)
    domain = np.unique(cells) // len(known)
    rows = np.where(np.isnan(aucs), 0, rows)
    weighted = np.bincount(domain, rows * np.nan_to_num(aucs), num_domains)
    return metrics.divide(weighted, np.bincount(domain, rows, num_domains))


def _json(value: Any) -> Any:
    is_nan = isinstance(value, float) and math.isnan(value)
    return None if is_nan else value
