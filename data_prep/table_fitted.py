"""What is learned of a log's training rows."""

import dataclasses
from typing import Any

import pyarrow as pa


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What is learned of the training rows.

    Args:
        features: The features as the schema has them.
        vocabularies: By table, the values in the order of their ids.
        means: By numeric column, what stands for a missing number.
        rows: How many rows of the kept domains there are.
    """

    features: list[dict[str, Any]]
    vocabularies: dict[str, pa.Array]
    means: dict[str, float]
    rows: int
