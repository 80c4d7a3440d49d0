"""What is released: built, installed where nothing of ours is, and used."""

import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

import mlora_tf
from tests.docs import pages

RELEASED = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "mlora_tf")

USE = """
import pathlib

import numpy as np
import mlora_tf

assert pathlib.Path(mlora_tf.__file__).is_relative_to({prefix!r})
items = mlora_tf.SparseFeature("item", ("pen", "ink", "nib"))
schema = mlora_tf.Schema((items,), "country", ("fr", "it"))
model = mlora_tf.build_model(schema, "deepfm", "mlora", hidden_units=[8])
model.compile("adam", {{"ctr": "binary_crossentropy"}})
rows = {{"item": np.array([1, 2, 3, 0]), "domain": np.array([0, 1, 1, 0])}}
logs = model.fit(rows, np.array([[1.0], [0.0], [1.0], [0.0]]), verbose=0)
assert np.isfinite(logs.history["loss"]).all()
print(mlora_tf.__version__)
"""


def run(*command, cwd):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the sdist, and of the wheel that is made from it."""
    root = tmp_path_factory.mktemp("release")
    source = root / "source"
    source.mkdir()
    for name in RELEASED:
        path = pages.ROOT / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, source / name, ignore=ignored)
        else:
            shutil.copy(path, source / name)
    venv.create(root / "builder", with_pip=True)
    python = root / "builder" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "build", cwd=root)
    run(python, "-m", "build", "-q", "-o", root / "dist", source, cwd=root)
    return root / "dist"


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"mlora_tf-{mlora_tf.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (metadata,) = (one for one in names if one.endswith("/METADATA"))
        about = file.read(metadata).decode()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"mlora_tf", f"mlora_tf-{mlora_tf.__version__}.dist-info"}
    assert "mlora_tf/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)
    sources = {
        str(path.relative_to(pages.ROOT))
        for path in (pages.ROOT / "mlora_tf").rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == sources
    for line in ("Requires-Python: >=3.11", "Provides-Extra: and-cuda"):
        assert line in about


@pytest.mark.slow
def test_the_sdist_builds_that_wheel_and_has_the_licence(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE"} <= names
    assert "mlora_tf/py.typed" in names
    assert not {name for name in names if name.startswith("experiments")}


@pytest.mark.slow
def test_the_wheel_trains_a_model_in_a_clean_environment(built, tmp_path):
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(python, "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    use = USE.format(prefix=str(tmp_path))
    told = run(python, "-c", use, cwd=tmp_path)
    assert told.split()[-1] == mlora_tf.__version__


def test_the_version_is_in_one_place():
    number = re.escape(mlora_tf.__version__)
    stated = [
        path.relative_to(pages.ROOT).as_posix()
        for folder in ("mlora_tf", "experiments", "data_prep")
        for path in (pages.ROOT / folder).rglob("*.py")
        if re.search(rf"[\"']{number}[\"']", path.read_text("utf-8"))
    ]
    assert stated == ["mlora_tf/version.py"]
    text = (pages.ROOT / "setup.py").read_text("utf-8")
    assert mlora_tf.__version__ not in text
    changes = (pages.ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## (\S+)", changes, re.M)
    assert newest[1] == mlora_tf.__version__


def test_readme_states_the_versions_that_tests_run_on():
    import importlib.metadata

    text = pages.README.read_text("utf-8")
    table = text.partition("## Supported versions")[2].partition("\n## ")[0]
    here = [f"{sys.version_info.major}.{sys.version_info.minor}"]
    for name in ("tensorflow", "keras", "numpy"):
        here.append(".".join(importlib.metadata.version(name).split(".")[:2]))
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in table.splitlines()
        if row.startswith("| 3")
    ]
    if rows[0][0] != here[0]:
        pytest.skip(f"these tests run on Python {here[0]}, which isn't stated")
    assert here in [row[:4] for row in rows]
