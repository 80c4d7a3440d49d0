"""Every public name says what it takes, raises and gives, and shows it."""

import ast
import dataclasses
import inspect
import re
import textwrap

import keras
import pytest

import mlora_tf
from mlora_tf import layers
from tests.docs import pages

VALUES = {"BACKBONES", "NORMS", "TOWERS", "__version__"}
"""Public names that are no function and no class."""

PUBLIC = {name: getattr(mlora_tf, name) for name in mlora_tf.__all__}
PUBLIC |= {name: getattr(layers, name) for name in layers.__all__}
DOCUMENTED = sorted(set(PUBLIC) - VALUES)

RAISING = re.compile(r"check_\w+$|_check\w*$|_lookup$|check$")
"""Names of functions that do nothing but raise."""


def sections(name):
    """The titles of a docstring's sections."""
    text = inspect.getdoc(PUBLIC[name]) or ""
    return set(re.findall(r"^([A-Z][a-z]+(?: [a-z]+)?):$", text, re.M))


def raises(thing):
    """Whether making or calling it can raise, as far as its own lines say."""
    if not inspect.isclass(thing):
        functions = [inspect.unwrap(thing)]
    else:
        # A dataclass's `__init__` is generated, and has no source.
        generated = dataclasses.is_dataclass(thing)
        names = ("__post_init__" if generated else "__init__", "build")
        functions = [vars(thing)[name] for name in names if name in vars(thing)]
    for function in functions:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise):
                return True
            if isinstance(node, ast.Call):
                called = node.func
                called = getattr(called, "id", getattr(called, "attr", ""))
                if RAISING.search(called):
                    return True
    return False


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_public_name_has_an_example_that_runs(name):
    # tests/test_docstrings.py runs it.
    text = inspect.getdoc(PUBLIC[name])
    assert "Example" in sections(name)
    assert ">>> " in text.partition("\nExample:")[2]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_public_name_says_what_it_raises(name):
    if raises(PUBLIC[name]):
        assert "Raises" in sections(name)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_public_name_says_what_it_takes(name):
    arguments = set(inspect.signature(PUBLIC[name]).parameters)
    arguments -= (
        {"args", "dtype", "kwargs", "name"}
        if isinstance(PUBLIC[name], type)
        else set()
    )
    if arguments:
        assert "Args" in sections(name)
    text = inspect.getdoc(PUBLIC[name])
    for argument in arguments:
        assert re.search(rf"^    \*{{0,2}}{argument}: ", text, re.M), argument


@pytest.mark.parametrize("name", layers.__all__)
def test_a_layer_says_what_its_call_takes_and_gives(name):
    layer = getattr(layers, name)
    if not issubclass(layer, keras.layers.Layer):
        return
    assert "Call arguments" in sections(name)
    if not inspect.isabstract(layer):
        assert "Returns" in sections(name)
    call = inspect.getdoc(layer).partition("Call arguments:")[2]
    assert "shape" in call


def test_every_public_name_is_on_a_page_of_the_reference():
    shown = set()
    for path in (pages.DOCS / "reference").glob("*.md"):
        text = path.read_text("utf-8")
        shown |= set(re.findall(r"^::: mlora_tf\.[\w.]*?(\w+)$", text, re.M))
    assert set(DOCUMENTED) <= shown
    text = (pages.DOCS / "reference" / "models.md").read_text("utf-8")
    for name in VALUES - {"__version__"}:
        assert f"`mlora_tf.{name}`" in text


def test_a_class_that_raises_is_seen():
    assert raises(layers.MLoRADense)
    assert raises(mlora_tf.build_model)
    assert not raises(layers.InnerProduct)
