"""The header of NumPy's format 1.0, read by a pattern and never evaluated."""

import dataclasses
import math
import re
from typing import Literal

import numpy as np

LENGTH = 10
"""The bytes before the header: they say how long it is."""

_FIRST = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<>|](?:[fiub][1248]|U[0-9]{1,9}))', "
    rb"'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n"
)
"""What NumPy writes before numbers or text; objects aren't among them."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of its array.

    Attributes:
        dtype: The type of its numbers.
        order: How they are ordered, "C" or, column by column, "F".
        shape: The array's shape.
    """

    dtype: np.dtype
    order: Literal["C", "F"]
    shape: tuple[int, ...]


def end(content: bytes) -> int:
    """Where the header ends, given the file's first `LENGTH` bytes or more.

    Raises:
        ValueError: It is no array, or one of another format.
    """
    if len(content) < LENGTH or content[: len(_FIRST)] != _FIRST:
        raise ValueError("it holds what is no array.")
    return LENGTH + int.from_bytes(content[8:LENGTH], "little")


def parse(content: bytes, size: int) -> Header:
    """Reads a header, given its file's bytes up to where it ends.

    Args:
        content: Those bytes.
        size: The bytes of the whole file, which must be the array's.

    Raises:
        ValueError: It is no array of numbers, or not a whole one.
    """
    header = _HEADER.fullmatch(content[LENGTH:])
    if header is None:
        raise ValueError("it holds an array that isn't of numbers.")
    shape = tuple(int(size) for size in header[3].split(b",") if size.strip())
    try:
        dtype = np.dtype(header[1].decode())
    except (TypeError, ValueError) as error:
        raise ValueError(f"it holds no numbers: {error}.") from None
    if math.prod(shape) * dtype.itemsize != size - len(content):
        raise ValueError("it holds an array that isn't whole.")
    return Header(dtype, "F" if header[2] == b"True" else "C", shape)
