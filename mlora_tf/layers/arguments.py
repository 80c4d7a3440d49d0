"""What arguments of layers may be: the checks that many of them share."""

import math
from typing import Any


def check_integer(name: str, value: Any, least: int) -> None:
    """Raises unless an argument is an integer of at least `least`.

    Args:
        name: The argument's name, for the message.
        value: What was given; True and 2.0 are no integers.
        least: The smallest that may be.

    Raises:
        ValueError: It is anything else.
    """
    if type(value) is not int or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}. "
            f"Received: {name}={value!r}"
        )


def check_weight(name: str, value: Any) -> None:
    """Raises unless an argument is a finite number of at least 0.

    Args:
        name: The argument's name, for the message.
        value: What was given.

    Raises:
        ValueError: It is anything else.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"{name} must be a number of at least 0. Received: {name}={value!r}"
        )
