"""All pairs of fields, in the one order that every layer over pairs keeps."""

import itertools
from typing import Any


def field_pairs(
    inputs_shape: tuple[Any, ...], layer_name: str
) -> tuple[list[int], list[int]]:
    """The first and the second members of all pairs `i < j`, row by row.

    Args:
        inputs_shape: `(batch, fields, dim)`.
        layer_name: Whose pairs they are, for the message.

    Raises:
        ValueError: There are not two fields, or their number isn't known.

    Example:
    >>> field_pairs((None, 3, 8), "pairs")
    ([0, 0, 1], [1, 2, 2])
    """
    fields = inputs_shape[1]
    if fields is None or fields < 2:
        raise ValueError(
            f"{layer_name!r} is over pairs of fields, so that it needs a known "
            "number of them and at least 2. "
            f"Received: inputs of shape {tuple(inputs_shape)}"
        )
    pairs = list(itertools.combinations(range(fields), 2))
    return [i for i, _ in pairs], [j for _, j in pairs]


def num_pairs(fields: int) -> int:
    """How many pairs that many fields have."""
    return fields * (fields - 1) // 2
