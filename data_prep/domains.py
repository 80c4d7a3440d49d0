"""Which domains of a click log are kept: those that a model can be judged on.

An AUC needs a click and a row without one. A domain that has only one of the
two is kept with a warning, or dropped with `--drop_one_class_domains`.
"""

from collections.abc import Sequence

import numpy as np
from absl import flags
from absl import logging

from data_prep.layout import PreparationError

# The flag defined below counts as the binary's own, so --help lists it.
flags.disclaim_key_flags()

_NAMED = 20
"""How many domains a log names, at most."""


def define_flag() -> None:
    """Defines --drop_one_class_domains."""
    flags.DEFINE_bool(
        "drop_one_class_domains",
        False,
        "Drop the domains whose rows are all clicks or all none.",
    )


def kept(
    names: Sequence[str],
    rows: np.ndarray,
    clicks: np.ndarray,
    *,
    drop_one_class: bool,
) -> np.ndarray:
    """Says which domains stay, and warns of those that have no AUC.

    Args:
        names: The domains' names.
        rows: How many rows each has.
        clicks: How many of them are clicks.
        drop_one_class: Whether domains of one class are dropped.

    Returns:
        A bool for each domain.

    Raises:
        PreparationError: A domain has no rows, or none would stay.
    """
    if not names:
        raise PreparationError("there is no domain; prepare a log with rows.")
    rows, clicks = np.asarray(rows), np.asarray(clicks)
    for name, count in zip(names, rows.tolist(), strict=True):
        if not count:
            raise PreparationError(
                f"domain {name!r} has no rows; leave it out, or prepare a log "
                "that has some."
            )
    one_class = (clicks == 0) | (clicks == rows)
    if drop_one_class and one_class.all():
        raise PreparationError(
            "every domain is all clicks or all none, so that "
            "--drop_one_class_domains would drop all; check the labels."
        )
    without_auc = np.flatnonzero(one_class).tolist()
    for index in without_auc[:_NAMED]:
        logging.warning(
            "domain %r has no AUC: %s. %s",
            names[index],
            f"all of its {rows[index]:,} rows are clicks"
            if clicks[index]
            else f"none of its {rows[index]:,} rows is a click",
            "It is dropped."
            if drop_one_class
            else "--drop_one_class_domains drops it.",
        )
    if len(without_auc) > _NAMED:
        logging.warning(
            "%s more domains have no AUC either.",
            f"{len(without_auc) - _NAMED:,}",
        )
    if drop_one_class:
        return ~one_class
    return np.ones(len(names), bool)
