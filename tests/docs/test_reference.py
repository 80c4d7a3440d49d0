"""Every public name says what it takes, raises and gives, and shows it."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
import types

import keras
import pytest

import mlora_tf
from mlora_tf import layers
from mlora_tf.backbones import BACKBONES
from mlora_tf.towers import TOWERS
from tests.docs import pages

VALUES = {
    "mlora_tf.BACKBONES",
    "mlora_tf.NORMS",
    "mlora_tf.TOWERS",
}
"""Public names that are no function and no class: a page says what they are."""

OF_NO_PAPER = {
    "CheckedIds",
    "CheckedNumbers",
    "DomainIds",
    "DomainLayer",
    "EmbeddingTable",
    "OwnNetwork",
    "PerDomain",
    "PretrainedEmbedding",
    "SequenceMask",
    "SideBySideDense",
}
"""Layers that no paper has, so that they cite none."""

PAGES = {
    path.name: path.read_text("utf-8")
    for path in (pages.DOCS / "reference").glob("*.md")
}

RAISING = re.compile(r"check_\w+$|_check\w*$|_lookup$|check$")
"""Names of functions that do nothing but raise."""

SHAPE = re.compile(r"`\(batch\b")
CITATION = re.compile(r'"[^"]+",\s+(?:\w+\s+)?20\d\d')
TITLE = re.compile(r"^([A-Z][a-z]+(?: [a-z]+)?):$", re.M)


def named(path):
    """What has that dotted path; a package may hide a module by its name."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


SHOWN = [
    path
    for text in PAGES.values()
    for path in re.findall(r"^::: ([\w.]+)$", text, re.M)
]
PUBLIC = {path: named(path) for path in sorted(SHOWN)}
MEMBERS = [
    (path, member)
    for text in PAGES.values()
    for path, members in re.findall(
        r"^::: ([\w.]+)\n    options:\n      members: \[(.+)\]$", text, re.M
    )
    for member in members.split(", ")
]
"""The classes' members that a page shows, too."""

FUNCTIONS = sorted(
    path for path, thing in PUBLIC.items() if inspect.isfunction(thing)
)
LAYERS = sorted(
    path
    for path, thing in PUBLIC.items()
    if inspect.isclass(thing)
    and issubclass(thing, keras.layers.Layer)
    and not inspect.isabstract(thing)
)
KINDS = {"mlora_tf.backbones": BACKBONES, "mlora_tf.towers": TOWERS}
PARTS = sorted(
    f"{package}.{name}.{name}" for package in KINDS for name in KINDS[package]
)
"""The paths of the backbones and of the towers."""


def sections(thing):
    """A docstring's sections: the text under each title."""
    parts = TITLE.split(inspect.getdoc(thing) or "")[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


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


def used(block):
    """What a block of Python takes from `mlora_tf`, by dotted path."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                path = f"{node.module}.{alias.name}"
                if path.startswith("mlora_tf."):
                    yield path
        elif isinstance(node, ast.Attribute):
            path = ast.unparse(node)
            if re.fullmatch(r"mlora_tf\.\w+", path):
                yield path


def is_shown(thing):
    """Whether a page of the reference has it, under whichever path."""
    return any(thing is shown for shown in PUBLIC.values())


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_name_has_an_example_that_runs(path):
    # tests/test_docstrings.py runs it, as it does for every module of ours.
    example = sections(PUBLIC[path])["Example"]
    assert ">>> " in example
    assert "doctest:" not in example
    assert PUBLIC[path].__module__.startswith("mlora_tf.")


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_name_says_what_it_raises(path):
    if raises(PUBLIC[path]):
        assert "Raises" in sections(PUBLIC[path])


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_name_says_what_it_takes(path):
    thing = PUBLIC[path]
    arguments = set(inspect.signature(thing).parameters)
    arguments -= (
        {"args", "dtype", "kwargs", "name"} if inspect.isclass(thing) else set()
    )
    found = sections(PUBLIC[path])
    text = found.get("Args", "")
    if dataclasses.is_dataclass(thing):
        text += found.get("Attributes", "")
    for argument in arguments:
        assert re.search(rf"^    \*{{0,2}}{argument}: ", text, re.M), argument


@pytest.mark.parametrize(("path", "member"), MEMBERS)
def test_a_member_on_a_page_says_what_it_takes_and_gives(path, member):
    thing = inspect.getattr_static(PUBLIC[path], member)
    assert inspect.getdoc(thing)
    if isinstance(thing, property):
        return
    method = getattr(PUBLIC[path], member)
    signature = inspect.signature(method)
    for argument in set(signature.parameters) - {"self"}:
        text = sections(method)["Args"]
        assert re.search(rf"^    \*{{0,2}}{argument}: ", text, re.M), argument
    if signature.return_annotation is not None:
        assert "Returns" in sections(method)
    if raises(method):
        assert "Raises" in sections(method)


@pytest.mark.parametrize("path", FUNCTIONS)
def test_a_function_says_what_it_gives(path):
    function = inspect.unwrap(PUBLIC[path])
    # A context manager gives what is within it.
    is_context = function is not PUBLIC[path]
    if inspect.signature(function).return_annotation is None or is_context:
        return
    assert "Returns" in sections(PUBLIC[path])


@pytest.mark.parametrize("path", LAYERS)
def test_a_layer_says_what_its_call_takes_and_gives(path):
    taken = sections(PUBLIC[path])["Call arguments"]
    assert SHAPE.search(taken) or "any shape" in taken
    given = sections(PUBLIC[path])["Returns"]
    assert SHAPE.search(given) or "shape" in given


@pytest.mark.parametrize("path", PARTS)
def test_a_backbone_or_tower_says_its_shapes_and_its_paper(path):
    found = sections(PUBLIC[path])
    assert SHAPE.search(found["Args"])
    assert SHAPE.search(found["Returns"])
    assert CITATION.search(found["Reference"])


def test_all_backbones_and_towers_are_on_a_page():
    assert set(PARTS) <= set(PUBLIC)


@pytest.mark.parametrize("name", layers.__all__)
def test_a_layer_names_its_paper(name):
    reference = sections(getattr(layers, name)).get("Reference")
    assert (reference is None) == (name in OF_NO_PAPER)
    assert reference is None or CITATION.search(reference)


@pytest.mark.parametrize(
    "package", [mlora_tf, layers], ids=lambda one: one.__name__
)
def test_every_public_name_is_on_a_page_of_the_reference(package):
    for name in package.__all__:
        if name == "__version__" or f"mlora_tf.{name}" in VALUES:
            continue
        assert is_shown(getattr(package, name)), name


def test_a_name_is_on_one_page_once():
    assert len(SHOWN) == len(PUBLIC)
    assert len({id(thing) for thing in PUBLIC.values()}) == len(PUBLIC)


@pytest.mark.parametrize("path", sorted(VALUES))
def test_a_page_says_what_a_value_is(path):
    assert any(f"`{path}`" in text for text in PAGES.values())


@pytest.mark.parametrize("page", pages.COOKBOOK)
def test_what_the_cookbook_uses_is_on_a_page_of_the_reference(page):
    for block in pages.blocks(pages.DOCS / "cookbook" / page):
        if block.kind != "python":
            continue
        for path in used(block):
            thing = named(path)
            if path in VALUES or isinstance(thing, types.ModuleType):
                continue
            assert is_shown(thing), path


def test_what_a_page_uses_is_seen():
    text = "from mlora_tf.fields import add\nmlora_tf.adapt(keras.Model())\n"
    block = pages.Block("python", text, 1)
    assert set(used(block)) == {"mlora_tf.fields.add", "mlora_tf.adapt"}


def test_a_class_that_raises_is_seen():
    assert raises(layers.MLoRADense)
    assert raises(mlora_tf.build_model)
    assert not raises(layers.InnerProduct)
