"""Hostile variants of good files, drawn by hypothesis.

Bytes are cut, flipped, doubled and overwritten, JSON is changed value by
value. A draw is a short list of steps, so that a failing one shrinks to few.
"""

import copy
import json
import struct

from hypothesis import strategies as st

DEEP = "[" * 10_000 + "]" * 10_000

HOSTILE = (
    "NaN",
    "-Infinity",
    "1e999",
    "-1",
    "0",
    "1.5",
    "9223372036854775808",
    "1" * 40,
    "9" * 5_000,
    "true",
    "null",
    "[]",
    "{}",
    '""',
    '"../../escaped"',
    '"/escaped"',
    '"a\\u0000b"',
    '"\\ud800"',
    '"domain"',
    '"' + "x" * 100_000 + '"',
    "[[[1]]]",
    DEEP,
)
"""Raw JSON, some of which no `json.dumps` would write."""

_NUMBERS = (
    *(
        struct.pack(form, number)
        for form in ("<B", "<H", "<I", "<Q", ">I")
        for number in (0, 1, 0x7F, 0xFF)
    ),
    b"\xff" * 2,
    b"\xff" * 4,
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
)

_PIECES = st.one_of(
    st.sampled_from(_NUMBERS),
    st.sampled_from([b"", b"\n", b",", b'"', b"\0", b"\xff\xfe", b"::", b"\r"]),
    st.sampled_from([b"nan", b"-1", b"1e999", b"9" * 30, b"../", b"\xed\xa0"]),
    st.binary(max_size=8),
)
_PLACES = st.floats(0, 1, exclude_max=True)
_STEPS = st.tuples(
    st.sampled_from(["flip", "write", "insert", "delete", "repeat", "cut"]),
    _PLACES,
    st.integers(1, 64),
    _PIECES,
)


def changed_bytes(content):
    """Draws variants of some bytes: one to four changes."""
    return st.lists(_STEPS, min_size=1, max_size=4).map(
        lambda steps: _run(content, steps)
    )


def changed_tail(content, size):
    """Draws variants of which the last bytes, where indices are, differ."""
    head, tail = content[:-size], content[-size:]
    return changed_bytes(tail).map(lambda drawn: head + drawn)


def _run(content, steps):
    data = bytearray(content)
    for kind, place, count, piece in steps:
        at = int(place * len(data))
        if kind == "flip" and data:
            data[at] ^= 1 << count % 8
        elif kind == "write":
            data[at : at + len(piece)] = piece
        elif kind == "insert":
            data[at:at] = piece
        elif kind == "delete":
            del data[at : at + count]
        elif kind == "repeat":
            data[at:at] = data[at : at + count]
        elif kind == "cut":
            del data[at:]
    return bytes(data)


@st.composite
def changed_json(draw, content):
    """Draws JSON texts of which one to three values are hostile.

    Values are replaced or left out, lists get another element, and objects a
    key that is there already, or a new one.
    """
    content = {"": copy.deepcopy(content)}
    raw = {}
    for number in range(draw(st.integers(1, 3))):
        places = list(_places(content))
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        marker = f"@{number}@"
        raw[json.dumps(marker)] = draw(st.sampled_from(HOSTILE))
        kind = draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "remove" and parent is not content:
            del parent[key]
        elif kind == "add" and isinstance(parent, list):
            parent.insert(key, marker)
        elif kind == "add" and parent is not content:
            parent[f"{key}{marker}"] = marker
            # The key's own text: it is there twice then, or has a suffix.
            suffix = draw(st.sampled_from(["", "x", "/../../escaped"]))
            raw[json.dumps(f"{key}{marker}")] = json.dumps(f"{key}{suffix}")
        else:
            parent[key] = marker
    text = json.dumps(content[""])
    for marker, value in raw.items():
        text = text.replace(marker, value)
    return text.encode()


def _places(content):
    """Every value's place: its list or object, and its index or key."""
    pairs = content.items() if isinstance(content, dict) else None
    for key, value in pairs or enumerate(content):
        yield content, key
        if isinstance(value, dict | list) and value:
            yield from _places(value)
