"""JSON that means one thing, read from files that others wrote."""

import json
from typing import Any


def loads(text: str | bytes) -> Any:
    """Reads JSON in which every key of an object is there once.

    Of a key that is there twice Python keeps the last value, and other readers
    keep the first: a file could mean one thing to whoever checked it, and
    another here.

    Raises:
        ValueError: The text is no JSON, nests too deep, has a number of
            thousands of digits, or a key twice.

    Example:
        >>> loads('{"rows": 3, "rows": 300}')
        Traceback (most recent call last):
        ...
        ValueError: the key 'rows' is there twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it nests too deep.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                # Cut: a message shall not repeat a whole file.
                raise ValueError(f"the key {key[:80]!r} is there twice.")
            seen.add(key)
    return content
