"""No file that is read can bring code along: neither data, nor a model."""

import ast
import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest

from experiments import finished_run

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for package in ("mlora_tf", "data_prep", "experiments", "tests")
    for path in sorted((ROOT / package).rglob("*.py"))
}
MODULES = {
    "cloudpickle",
    "dill",
    "imp",
    "joblib",
    "jsonpickle",
    "marshal",
    "pickle",
    "shelve",
    "yaml",
}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "extract",
    "extractall",
    "literal_eval",
    "read_hdf",
    "read_pickle",
    "system",
    "unpack_archive",
    "unsafe_load",
}
NEEDED = {
    "load_model": ("safe_mode", True),
    "read_array": ("allow_pickle", False),
    "write_array": ("allow_pickle", False),
}
"""Arguments that must be said, whatever their default is."""


def faults(source):
    """All that would let a file's bytes become code, or leave its folder."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names}
            names.add(getattr(node, "module", None) or "")
            tops = {name.partition(".")[0] for name in names}
            found += [f"imports {name}" for name in sorted(tops & MODULES)]
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        said = {
            one.arg: getattr(one.value, "value", None) for one in node.keywords
        }
        if isinstance(function, ast.Name) and name in BUILT_IN:
            found.append(f"calls {name}")
        if isinstance(function, ast.Attribute) and name in CALLS:
            found.append(f"calls {name}")
        if ast.unparse(function) in ("np.load", "numpy.load"):
            name, NEEDED[name] = "np.load", ("allow_pickle", False)
        if name in NEEDED:
            argument, value = NEEDED[name]
            if said.get(argument, "") is not value:
                found.append(f"{name} without {argument}={value}")
        if said.get("shell"):
            found.append("runs a shell")
    return found


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if not path.startswith("tests/")]
)
def test_a_file_that_is_read_brings_no_code(path):
    assert faults(SOURCES[path]) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import pickle", "imports pickle"),
        ("def f():\n from joblib import load", "imports joblib"),
        ("import yaml.loader", "imports yaml"),
        ("np.load(p)", "np.load without allow_pickle=False"),
        ("np.load(p, allow_pickle=True)", "np.load without"),
        ("np.lib.format.read_array(f)", "read_array without"),
        ("eval(text)", "calls eval"),
        ("exec(text)", "calls exec"),
        ("ast.literal_eval(text)", "calls literal_eval"),
        ("archive.extractall(folder)", "calls extractall"),
        ("keras.models.load_model(p)", "load_model without safe_mode=True"),
        ("load_model(p, safe_mode=flag)", "load_model without"),
        ("subprocess.run(text, shell=True)", "runs a shell"),
        ("re.compile(text).match(x)", None),
        ("model.compile('adam')", None),
        ("np.load(p, allow_pickle=False)", None),
        ("keras.models.load_model(p, safe_mode=True)", None),
    ],
)
def test_the_faults_are_seen(source, said):
    found = faults(source)
    assert (
        (found == [])
        if said is None
        else any(one.startswith(said) for one in found)
    )


@pytest.fixture
def run(tmp_path):
    """A run's folder, but for its model."""
    path = tmp_path / "run"
    path.mkdir()
    return path


def lambda_model(path, escaped):
    """Saves a model whose Lambda layer would write a file."""

    def layer(x):
        pathlib.Path(escaped).write_text("code")
        return x

    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Lambda(layer)(inputs))
    pathlib.Path(escaped).unlink()
    model.save(path)


def test_a_lambda_in_a_model_is_refused(run, tmp_path):
    escaped = tmp_path / "escaped"
    lambda_model(run / "model.keras", escaped)
    with pytest.raises(ValueError, match=r"model\.keras can't be read"):
        finished_run.loaded(run / "model.keras")
    assert not escaped.exists()


def test_a_function_of_another_module_is_refused(run, tmp_path):
    path = run / "model.keras"
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Activation("relu")(inputs)).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    (layer,) = (
        one
        for one in config["config"]["layers"]
        if one["class_name"] == "Activation"
    )
    layer["config"]["activation"] = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "function",
    }
    members["config.json"] = json.dumps(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="can't be read"):
        finished_run.loaded(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"])
def test_a_damaged_model_is_refused(content, run):
    (run / "model.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.keras can't be read"):
        finished_run.loaded(run / "model.keras")


def test_our_own_models_are_read(run):
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(run / "model.keras")
    model = finished_run.loaded(run / "model.keras")
    assert model(np.zeros((3, 2))).shape == (3, 1)
