"""Data are prepared where TensorFlow isn't, and without a wait for it."""

import pytest

from tests import programs

BINARIES = ("amazon", "mamdr", "movielens", "synthetic", "table", "taobao")


@pytest.mark.parametrize("name", BINARIES)
def test_a_binary_loads_no_tensorflow(name):
    done = programs.python(
        "-c",
        f"import sys, data_prep.{name}\n"
        "print({'tensorflow', 'keras', 'mlora_tf'} & set(sys.modules))",
    )
    assert done.stdout == "set()\n", done.stderr
