"""What schemas check: names, values and numbers, each with a clear error."""

import keyword
import re
import reprlib
from typing import Any

# What float32, which models compute in, holds without becoming inf or 0.
LARGEST = 3.4028234663852886e38
SMALLEST = 1.1754943508222875e-38


class SchemaError(ValueError):
    """A schema that can't be used: says which part is wrong, and how."""


def get(content: Any, key: str, kind: type) -> Any:
    """Returns `content[key]`, which must be there and of that kind."""
    if not isinstance(content, dict) or key not in content:
        raise SchemaError(f"{key!r} is missing. Received: {short(content)}")
    value = content[key]
    if not isinstance(value, kind):
        raise SchemaError(
            f"{key!r} must be a {kind.__name__}. Received: {short(value)}"
        )
    return value


_INPUT_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


def check_input_name(name: Any, what: str) -> None:
    """Checks that a name is one that a model's input and layers can have."""
    # TensorFlow's scopes and signatures take no others.
    if not isinstance(name, str) or not _INPUT_NAME.fullmatch(name):
        raise SchemaError(
            f"{what} must be an ASCII letter, then letters, digits and "
            f"underscores. Received: {short(name)}"
        )
    # A signature's inputs are the arguments of a Python method.
    if keyword.iskeyword(name) or name == "self":
        raise SchemaError(
            f"{what} can't be a word of Python's own: no export could have "
            f"that input. Received: {short(name)}"
        )


def check_name(name: Any, what: str) -> None:
    """Checks that a name is an identifier."""
    # Names become layer names, Parquet columns and SavedModel inputs.
    if not isinstance(name, str) or not name.isidentifier():
        raise SchemaError(
            f"{what} must be an identifier (letters, digits, underscores). "
            f"Received: {short(name)}"
        )


def check_values(values: Any, what: str) -> None:
    """Checks that all are integers or all strings, and each is there once."""
    check_tuple(values, what)
    kinds = {type(value) for value in values}
    if kinds not in ({int}, {str}):
        names = sorted(kind.__name__ for kind in kinds)
        raise SchemaError(
            f"{what} must be all integers or all strings. Received: {names}"
        )
    if len(set(values)) < len(values):
        raise SchemaError(f"{what} has a value twice.")
    _check_storable(values, kinds == {int}, what)


def _check_storable(values: Any, integers: bool, what: str) -> None:
    """Checks that tensors can hold the values: 64 bits, or UTF-8."""
    if integers:
        for value in (min(values), max(values)):
            if not -(2**63) <= value < 2**63:
                raise SchemaError(
                    f"{what} must be integers of 64 bits. Received: "
                    f"{short(value)}"
                )
        return
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        raise SchemaError(
            f"{what} must be text that UTF-8 can write, and holds half of a "
            "surrogate pair."
        ) from None


def check_number(value: Any, what: str) -> None:
    """Checks that a value is a finite number, in `float32` too."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN is not below anything.
    if not number or not abs(value) <= LARGEST:
        raise SchemaError(
            f"{what} must be a finite float32 number. Received: {short(value)}"
        )


def check_tuple(values: Any, what: str) -> None:
    """Checks that there is a tuple, and something in it."""
    if not isinstance(values, tuple):
        raise SchemaError(
            f"{what} must be a tuple (in JSON: a list). Received: "
            f"{short(values)}"
        )
    if not values:
        raise SchemaError(f"{what} must not be empty.")


def check_positive(value: Any, what: str, most: int | None = None) -> None:
    """Checks that a value is an integer, 1 or more, and not above `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SchemaError(
            f"{what} must be a positive integer. Received: {short(value)}"
        )
    if most is not None and value > most:
        raise SchemaError(
            f"{what} must be at most {most:,}. Received: {short(value)}"
        )


def short(value: Any, length: int = 80) -> str:
    """The value's repr, cut: a message shall not repeat a whole file."""
    text = _REPR.repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


# Goes only a few levels deep, however deep a hostile file nests.
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80
