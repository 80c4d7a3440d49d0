"""The rows of a split, in memory."""

import contextlib
import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from mlora_tf.columns import DataError
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows of one split, column by column.

    Attributes:
        inputs: Each model input by name, arrays of the features' types:
            `(rows,)`, `int32` for ids and `float32` for numbers, or
            `(rows, max_length)` for sequences, `int32` with `PADDING` at the
            end.
        label: The clicks, a `float32` array of shape `(rows,)`.
        extra: Other numeric columns of the file, by name.

    Example:
        >>> split = Split(
        ...     {"item": np.array([3, 1, 2]), "domain": np.array([0, 1, 0])},
        ...     label=np.array([1.0, 0.0, 0.0]),
        ... )
        >>> split.take([2, 0]).inputs["item"]
        array([2, 3])
        >>> [len(block) for block in split.blocks()]
        [3]
    """

    inputs: dict[str, np.ndarray]
    label: np.ndarray
    extra: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def domain(self) -> np.ndarray:
        """Each row's domain."""
        return self.inputs[DOMAIN]

    def __len__(self) -> int:
        return len(self.label)

    def blocks(self, extra: Sequence[str] = ()) -> Iterator["Split"]:
        """The rows in their order, in blocks: here, all in one.

        Args:
            extra: Names of the other columns to read. In memory all are there.
        """
        yield self

    def take(self, rows: np.ndarray | Sequence[int]) -> "Split":
        """The split with those rows, in that order.

        Rows may be an array of any rank, whose shape the columns then have.
        """
        return Split(
            {name: column[rows] for name, column in self.inputs.items()},
            self.label[rows],
            {name: column[rows] for name, column in self.extra.items()},
        )

    def hold_out(
        self, fraction: float, seed: int, *, in_order: bool = False
    ) -> tuple["Split", "Split"]:
        """Parts the rows at random.

        Args:
            fraction: The share of the rows that are held out.
            seed: Seed of the choice.
            in_order: Whether both parts keep the order of the rows.

        Returns:
            The rest, and the rows held out.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        held = round(len(self) * fraction)
        parts = order[held:], order[:held]
        if in_order:
            parts = np.sort(parts[0]), np.sort(parts[1])
        return self.take(parts[0]), self.take(parts[1])


def concatenate(splits: Sequence[Split]) -> Split:
    """The rows of one split after another's: of the same columns, one or more.

    Example:
        >>> one = Split({"domain": np.array([0, 1])}, np.array([1.0, 0.0]))
        >>> concatenate([one, one]).domain
        array([0, 1, 0, 1])
    """
    first = splits[0]
    if len(splits) == 1:
        return first
    return Split(
        {
            name: np.concatenate([split.inputs[name] for split in splits])
            for name in first.inputs
        },
        np.concatenate([split.label for split in splits]),
        {
            name: np.concatenate([split.extra[name] for split in splits])
            for name in first.extra
        },
    )


def typed(rows: Split, schema: Schema) -> Split:
    """The rows with each input in its feature's type, as a model takes it.

    NumPy's own integers have 64 bits, of which Keras would keep 32.

    Args:
        rows: The rows.
        schema: Says which inputs are ids and which are numbers.

    Raises:
        DataError: A column isn't of integers that fit, or of numbers.
    """
    numbers = {
        feature.name
        for feature in schema.features
        if isinstance(feature, DenseFeature)
    }
    inputs = {
        name: _as_type(name, column, "float32" if name in numbers else "int32")
        for name, column in rows.inputs.items()
    }
    if all(inputs[name] is column for name, column in rows.inputs.items()):
        return rows
    return dataclasses.replace(rows, inputs=inputs)


def _as_type(name: str, column: np.ndarray, dtype: str) -> np.ndarray:
    if column.dtype == dtype:
        return column
    wrong = column.ravel()
    with (
        np.errstate(invalid="ignore", over="ignore"),
        contextlib.suppress(TypeError, ValueError),
    ):
        changed = column.astype(dtype)
        if dtype == "float32" or np.array_equal(changed, column):
            return changed
        wrong = column[changed != column]
    hint = "numbers" if dtype == "float32" else "ids that a vocabulary gives"
    raise DataError(
        f"the column {name!r} must be of {dtype}, {hint}. Received: "
        f"{column.dtype}, {wrong[:1].tolist()}"
    )
