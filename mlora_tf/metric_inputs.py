"""Checks what metrics are given: each error names the value and its row."""

from typing import Any

import numpy as np
import numpy.typing as npt


def vector(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """The values as an array of shape `(n,)`."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` must have shape (n,) or (n, 1). "
            f"Received: shape {array.shape}."
        )
    return array


def check_length(name: str, array: npt.NDArray[Any], length: int) -> None:
    """Raises unless there is one entry a label."""
    if len(array) != length:
        raise ValueError(
            f"`{name}` must have one entry a label. "
            f"Received: {len(array)} entries for {length} labels."
        )


def labels_and_scores(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Checked labels, as booleans, and scores, in the precision given."""
    y = vector("labels", labels)
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
    s = vector("scores", scores)
    check_length("scores", s, len(y))
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


def check_probabilities(scores: npt.NDArray[Any]) -> None:
    """Raises unless all scores are within [0, 1]."""
    bad = (scores < 0) | (scores > 1)
    if bad.any():
        raise ValueError(
            "`scores` must be probabilities, within [0, 1]. "
            f"Received: {scores[bad][0]} in row {int(np.argmax(bad))}."
        )


def group_ids(
    groups: npt.ArrayLike, num_groups: int, length: int
) -> npt.NDArray[Any]:
    """Checked group ids, as integers in `[0, num_groups)`."""
    if num_groups < 1:
        raise ValueError(
            f"There must be at least one group. Received: {num_groups}."
        )
    g = vector("groups", groups)
    check_length("groups", g, length)
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
