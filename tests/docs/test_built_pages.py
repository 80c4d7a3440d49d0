"""The pages build without a warning and are read without a network."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tests.docs import pages

NEEDED = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers")

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason='building the pages needs `pip install -e ".[docs]"`',
)

LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preconnect|icon|preload))"
    r"[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
)
"""Tags that make a browser fetch something from elsewhere."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=pages.ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_they_build_without_a_warning(site):
    written = {path.stem for path in (site / "cookbook").glob("*.html")}
    assert written == {name.removesuffix(".md") for name in pages.COOKBOOK}


def test_they_fetch_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        assert not LOADED.findall(path.read_text("utf-8")), path
    for path in site.rglob("*.css"):
        text = path.read_text("utf-8")
        assert not re.findall(r"url\([\"']?(?:https?:)?//", text), path


def test_what_fetches_is_seen():
    for tag in (
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.googleapis.com/css">',
        '<img alt="x" src="http://example.org/a.png">',
    ):
        assert LOADED.search(tag)
    assert not LOADED.search('<a href="https://arxiv.org/abs/2408.08913">')


def test_examples_are_shown_as_code(site):
    text = (site / "reference" / "layers.html").read_text("utf-8")
    assert "<blockquote>" not in text
    assert text.count("Examples:") >= 25


def test_no_page_is_left_out_of_the_navigation():
    text = (pages.ROOT / "mkdocs.yml").read_text("utf-8")
    for path in pages.DOCS.rglob("*.md"):
        assert f"- {path.relative_to(pages.DOCS)}\n" in text or (
            f": {path.relative_to(pages.DOCS)}\n" in text
        )
