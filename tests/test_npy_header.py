import io

import numpy as np
import pytest

from mlora_tf import npy_header


def stored(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def parse(content):
    return npy_header.parse(content[: npy_header.end(content)], len(content))


@pytest.mark.parametrize("kind", ["<f4", ">f8", "<i8", "|b1", "|u1", "<U7"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)])
def test_it_is_what_numpy_writes(kind, shape):
    header = parse(stored(np.zeros(shape, kind)))
    assert (header.dtype.str, header.shape) == (kind, shape)
    assert header.order == "C"


def test_columns_may_come_first():
    array = np.asfortranarray(np.ones((2, 3)))
    assert parse(stored(array)).order == "F"


GOOD = stored(np.zeros((2, 3), "<f4"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no array"),
        (GOOD.replace(b"NUMPY\x01", b"NUMPY\x03"), "is no array"),
        (GOOD[:-1], "isn't whole"),
        (GOOD + b"x", "isn't whole"),
        (GOOD.replace(b"(2, 3)", b"(9, 9)"), "isn't whole"),
        (GOOD.replace(b"(2, 3)", b"9*9, 9"), "isn't of numbers"),
        (GOOD.replace(b"'<f4'", b"'|O8'"), "isn't of numbers"),
        (GOOD.replace(b"'<f4'", b"'<f1'"), "no numbers"),
        (stored(np.zeros(2, [("a", "f4")])), "isn't of numbers"),
    ],
)
def test_what_it_refuses(content, said):
    with pytest.raises(ValueError, match=said):
        parse(content)
