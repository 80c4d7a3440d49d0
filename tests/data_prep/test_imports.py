"""Where `data_prep` may be imported, and its names from which module."""

import ast
import pathlib

import pytest

from tests import programs

ROOT = pathlib.Path(__file__).parents[2]
BINARIES = ("amazon", "mamdr", "movielens", "synthetic", "table", "taobao")


@pytest.mark.parametrize("name", BINARIES)
def test_a_binary_loads_no_tensorflow(name):
    """Data are prepared where TensorFlow isn't, and without a wait for it."""
    done = programs.python(
        "-c",
        f"import sys, data_prep.{name}\n"
        "print({'tensorflow', 'keras', 'mlora_tf'} & set(sys.modules))",
    )
    assert done.stdout == "set()\n", done.stderr


def imported(source):
    """What a source imports: the module and the name there, by its own name."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def doors(source, borrowed):
    """The names that a source takes from a module that itself borrows them.

    Args:
        source: The source.
        borrowed: By module of `data_prep`, the names that it imports.
    """
    names = imported(source)
    taken = {
        (module, name)
        for module, name in names.values()
        if name in borrowed.get(module, ())
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = ".".join(names.get(node.value.id, ()))
            if node.attr in borrowed.get(module, ()):
                taken.add((module, node.attr))
    return taken


BORROWED = {
    f"data_prep.{path.stem}": imported(path.read_text("utf-8"))
    for path in (ROOT / "data_prep").glob("*.py")
}


@pytest.mark.parametrize("package", ["data_prep", "experiments", "tests"])
def test_a_name_is_imported_from_the_module_that_defines_it(package):
    found = {
        str(path.relative_to(ROOT)): taken
        for path in sorted((ROOT / package).rglob("*.py"))
        if (taken := doors(path.read_text("utf-8"), BORROWED))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("from data_prep.folder import Writer", True),
        ("from data_prep.folder import Writer as Other", True),
        ("from data_prep import folder\nfolder.Writer()", True),
        ("from data_prep import folder as f\ndef g():\n f.Writer()", True),
        ("from data_prep.folder import write", False),
        ("from data_prep import folder\nfolder.write()", False),
        ("from data_prep.writer import Writer", False),
    ],
)
def test_a_door_is_seen(source, taken):
    expected = {("data_prep.folder", "Writer")} if taken else set()
    assert doors(source, BORROWED) == expected
