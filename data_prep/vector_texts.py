"""Reads pretrained vectors that are written as numbers parted by spaces."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.csv_blocks import show
from data_prep.layout import PreparationError


def parse(
    texts: pa.StringArray,
    dim: int | None,
    error: Callable[[int, str], PreparationError],
) -> np.ndarray:
    """Returns the vectors, `float32` of shape `(texts, dimension)`.

    Args:
        texts: A vector each.
        dim: The dimension that all must have; None is the first one's.
        error: Makes the error about one of them, from its index and what is
            wrong with it.
    """
    parts = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts))
    sizes = pc.list_value_length(parts).to_numpy()
    # The parts of nothing are one part, of nothing.
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    blank = blank.to_numpy(zero_copy_only=False)
    if blank.any():
        raise error(int(blank.argmax()), "a vector has no numbers")
    if dim is None:
        dim = int(sizes[0]) if sizes.size else 0
    check_sizes(sizes, dim, error)
    words = parts.flatten()
    try:
        numbers = pc.cast(words, pa.float32()).to_numpy()
    except pa.ArrowInvalid:
        numbers = np.array([_number(word) for word in words], np.float32)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        first = int(wrong.argmax())
        raise error(
            first // dim,
            "a vector must hold numbers that are finite in float32, and number "
            f"{first % dim + 1} is {show(words[first])}",
        )
    return numbers.reshape(-1, dim)


def check_sizes(
    sizes: np.ndarray,
    dim: int,
    error: Callable[[int, str], PreparationError],
) -> None:
    """Raises unless all vectors have as many numbers.

    Args:
        sizes: How many each has.
        dim: How many they must have.
        error: As in `parse`.
    """
    wrong = sizes != dim
    if wrong.any():
        row = int(wrong.argmax())
        raise error(
            row,
            f"a vector must have {dim} numbers, as the first one has, and "
            f"this one has {sizes[row]}",
        )


def with_mean(vectors: np.ndarray) -> np.ndarray:
    """Puts the mean of all before them, as the out-of-vocabulary bucket's.

    It is where the vectors are, unlike the origin: a frozen table gives a
    model nothing else to go by for an id that it doesn't know.
    """
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.concatenate([mean[np.newaxis], vectors])


def _number(word: pa.StringScalar) -> float:
    """The number that a word is, and NaN if it is none."""
    try:
        return pc.cast(word, pa.float32()).as_py()
    except pa.ArrowInvalid:
        return np.nan
