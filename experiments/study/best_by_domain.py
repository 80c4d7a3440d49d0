"""Several models as one that answers each domain with the best of them."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from mlora_tf.metrics import wauc

Phase = dict[str, Any]
"""What a row of the log has of a model, as `experiments.study.run_row` says."""


def best(phases: Sequence[Phase]) -> Phase:
    """The model that answers a domain with what validation prefers there.

    Which model a domain has is chosen by its own validation AUC; of equal ones,
    or where it has none, the first. The metrics over domains follow from those
    of each; what ranks rows of several domains against one another, `auc` and
    `user_auc`, and the bootstrap's intervals would need the predictions.

    Args:
        phases: The models, with the same domains in the same order.

    Returns:
        Its metrics and the parameters of all.
    """
    chosen = [
        max(range(len(phases)), key=[_rank(auc) for auc in aucs].__getitem__)
        for aucs in zip(
            *(phase["valid"]["auc_by_domain"] for phase in phases), strict=True
        )
    ]

    def taken(of_each: Sequence[Sequence[Any]]) -> list[Any]:
        return [of_each[model][index] for index, model in enumerate(chosen)]

    domains = taken([phase["test"]["domains"] for phase in phases])
    aucs = [_or_nan(one["auc"]) for one in domains]
    rows = [one["rows"] for one in domains]
    defined = [one for one in aucs if not math.isnan(one)]
    losses = [_or_nan(one["logloss"]) for one in domains]
    weighted = [n * loss for n, loss in zip(rows, losses, strict=True) if n]
    return {
        "phase": "by domain",
        "best_epoch": None,
        **{
            name: sum(phase[name] for phase in phases)
            for name in ("parameters", "domain_parameters", "train_seconds")
        },
        "valid": {
            "wauc": None,
            "auc_by_domain": taken(
                [phase["valid"]["auc_by_domain"] for phase in phases]
            ),
        },
        "test": {
            "wauc": wauc(aucs, rows),
            "macro_auc": statistics.mean(defined) if defined else None,
            "auc": None,
            "user_auc": None,
            "logloss": sum(weighted) / sum(rows) if sum(rows) else None,
            "intervals": {"wauc": None},
            "domains": domains,
        },
    }


def _rank(auc: float | None) -> float:
    return -math.inf if auc is None else auc


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
