"""Holds the imports of every file to the floors of the house.

A file imports from lower floors, or from its own without a cycle. So a layer
knows no schema, a backbone no training, and preparing data needs no
TensorFlow.
"""

import ast
import graphlib
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("mlora_tf", "experiments", "data_prep")

FLOORS = {
    "mlora_tf.version": 0,
    "mlora_tf.durable": 0,
    "mlora_tf.cluster": 0,
    "mlora_tf.memory": 0,
    "mlora_tf.preflight": 0,
    "mlora_tf.quiet": 0,
    "mlora_tf.user_modules": 0,
    "mlora_tf.environment": 0,
    "mlora_tf.rendezvous": 0,
    "mlora_tf.adapter_file": 0,
    "mlora_tf.stored_zip": 0,
    "mlora_tf.schema_checks": 0,
    "mlora_tf.strict_json": 0,
    "mlora_tf.npy_header": 0,
    "mlora_tf.state_file": 0,
    "mlora_tf.features": 0,
    "mlora_tf.schema": 0,
    "mlora_tf.metric_inputs": 0,
    "mlora_tf.metrics": 0,
    "mlora_tf.evaluation": 0,
    "mlora_tf.streaming_wauc": 0,
    "mlora_tf.bootstrap": 0,
    "mlora_tf.layers": 1,
    "mlora_tf.optimizers": 1,
    "mlora_tf.columns": 1,
    "mlora_tf.manifest": 1,
    "mlora_tf.split": 1,
    "mlora_tf.streaming": 1,
    "mlora_tf.data": 1,
    "mlora_tf.cutting": 1,
    "mlora_tf.memory_order": 1,
    "mlora_tf.streamed_batches": 1,
    "mlora_tf.batch_sources": 1,
    "mlora_tf.batches": 1,
    "mlora_tf.untuned_pipelines": 1,
    "mlora_tf.field_columns": 2,
    "mlora_tf.field_tables": 2,
    "mlora_tf.fields": 2,
    "mlora_tf.towers": 2,
    "mlora_tf.backbones": 3,
    "mlora_tf.adapt_targets": 4,
    "mlora_tf.adapted_dense": 4,
    "mlora_tf.adapting": 4,
    "mlora_tf.adapters": 4,
    "mlora_tf.cloning": 4,
    "mlora_tf.cost": 4,
    "mlora_tf.disabling": 4,
    "mlora_tf.domain_input": 4,
    "mlora_tf.domain_slices": 4,
    "mlora_tf.domains": 4,
    "mlora_tf.fine_tuning": 4,
    "mlora_tf.flops": 4,
    "mlora_tf.layer_copies": 4,
    "mlora_tf.merge": 4,
    "mlora_tf.merging": 4,
    "mlora_tf.models": 4,
    "mlora_tf.rebuild": 4,
    "mlora_tf.ranks": 4,
    "mlora_tf.transform": 4,
    "mlora_tf.vocabulary": 4,
    "mlora_tf.weight_names": 4,
    "mlora_tf.callbacks": 5,
    "mlora_tf.domain_stopping": 5,
    "mlora_tf.distribution": 5,
    "mlora_tf.divergence": 5,
    "mlora_tf.exchange": 5,
    "mlora_tf.doctor": 5,
    "mlora_tf.doctor_folders": 5,
    "mlora_tf.keras_multi_worker": 5,
    "mlora_tf.predictor": 5,
    "mlora_tf.golden_request": 5,
    "mlora_tf.phases": 5,
    "mlora_tf.one_training": 5,
    "mlora_tf.presets": 5,
    "mlora_tf.raw_inputs": 5,
    "mlora_tf.recipe_checks": 5,
    "mlora_tf.recipe_models": 5,
    "mlora_tf.recipes": 5,
    "mlora_tf.replies": 5,
    "mlora_tf.serving": 5,
    "mlora_tf.serving_signatures": 5,
    "mlora_tf.stop_signals": 5,
    "mlora_tf.stored_weights": 5,
    "mlora_tf.training": 5,
    "mlora_tf.training_state": 5,
    "mlora_tf.version_folder": 5,
    "mlora_tf.warm_up": 5,
    "mlora_tf.workers": 5,
    "experiments": 6,
    "data_prep": 1,
}
"""Of a module, or of a package and all in it."""

OWN_FLOORS = {"mlora_tf": 5}
"""Of a package's `__init__.py` alone: it shows what is below."""

TENSORFLOW_LAYERS = (
    "mlora_tf.layers.checks",
    "mlora_tf.layers.domain_ops",
    "mlora_tf.layers.domain_parts",
    "mlora_tf.layers.domain_tables",
    "mlora_tf.layers.replicas",
)
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE = {"Lambda", "enable_unsafe_deserialization"}
UNSAFE_ARGUMENTS = {("allow_pickle", True), ("safe_mode", False)}


def sources():
    """The source of every module by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found[".".join(parts)] = path.read_text("utf-8")
    return found


SOURCES = sources()
every_file = pytest.mark.parametrize("module", SOURCES)


def imports(module, source, modules):
    """What a source imports, wherever in it: modules of ours exactly."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                names.add(inside if inside in modules else node.module)
    return names


def floor(module):
    if module in OWN_FLOORS:
        return OWN_FLOORS[module]
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in FLOORS:
            return FLOORS[prefix]
    raise AssertionError(f"{module} has no floor: give it one in FLOORS")


def faults(module, source, modules):
    """All that a source must not do."""
    found = []
    imported = imports(module, source, modules)
    tops = {name.partition(".")[0] for name in imported}
    for name in sorted(imported):
        if name.partition(".")[0] not in PACKAGES:
            continue
        if floor(name) > floor(module):
            found.append(f"imports {name}, which is above it")
        if module.startswith("data_prep") and name.startswith("mlora_tf"):
            found.append(f"prepares data and imports {name}")
    if module.startswith("data_prep"):
        for name in {"tensorflow", "keras"} & tops:
            found.append(f"prepares data and imports {name}")
    if module.startswith("mlora_tf.layers"):
        known = {"keras", "mlora_tf", *sys.stdlib_module_names}
        if module in TENSORFLOW_LAYERS:
            known.add("tensorflow")
        for name in tops - known:
            found.append(f"is a layer and imports {name}")
    if module.startswith("mlora_tf") and "absl" in tops:
        found.append("imports absl, whose flags are the binaries'")
    for name in PICKLES & tops:
        found.append(f"imports {name}")
    for node in ast.walk(ast.parse(source)):
        name = getattr(node, "attr", getattr(node, "id", None))
        if name in UNSAFE:
            found.append(f"uses {name}")
        if isinstance(node, ast.keyword) and isinstance(
            node.value, ast.Constant
        ):
            pair = (node.arg, node.value.value)
            if pair in UNSAFE_ARGUMENTS:
                found.append(f"says {pair[0]}={pair[1]}")
    return found


@every_file
def test_a_file_keeps_to_its_floor(module):
    assert faults(module, SOURCES[module], SOURCES) == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        module: imports(module, source, SOURCES)
        for module, source in SOURCES.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_a_circle_would_be_seen():
    modules = {"mlora_tf.models": "", "mlora_tf.transform": ""}
    graph = {
        "mlora_tf.models": imports(
            "mlora_tf.models", "from mlora_tf import transform", modules
        ),
        "mlora_tf.transform": imports(
            "mlora_tf.transform", "import mlora_tf.models", modules
        ),
    }
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph).prepare()


def test_every_floor_named_has_a_file():
    assert set(FLOORS) <= set(SOURCES)
    assert {"mlora_tf", "mlora_tf.layers.domain_ops"} <= set(SOURCES)


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("mlora_tf.layers.x", "from mlora_tf.schema import Schema", None),
        ("mlora_tf.layers.x", "from mlora_tf import models", "above it"),
        ("mlora_tf.layers.x", "import mlora_tf", "above it"),
        ("mlora_tf.layers.x", "def f():\n import mlora_tf.data", None),
        ("mlora_tf.layers.x", "import tensorflow as tf", "is a layer"),
        ("mlora_tf.layers.x", "def f():\n import tensorflow", "is a layer"),
        ("mlora_tf.layers.domain_ops", "import tensorflow as tf", None),
        ("mlora_tf.layers.x", "import numpy as np", "is a layer"),
        ("mlora_tf.schema", "from mlora_tf.layers import X", "above it"),
        ("mlora_tf.towers.x", "from mlora_tf.backbones import X", "above it"),
        ("mlora_tf.models", "from mlora_tf import training", "above it"),
        ("mlora_tf.models", "from mlora_tf.training import x", "above it"),
        ("mlora_tf.training", "from mlora_tf.models import x", None),
        ("mlora_tf.training", "from experiments import runs", "above it"),
        ("mlora_tf.training", "from absl import flags", "imports absl"),
        ("experiments.x", "from absl import flags", None),
        ("experiments.x", "from mlora_tf import training", None),
        ("data_prep.x", "from absl import flags", None),
        ("data_prep.x", "import tensorflow.data", "prepares data"),
        ("data_prep.x", "def f():\n from keras import ops", "prepares data"),
        ("data_prep.x", "from mlora_tf.schema import X", "prepares data"),
        ("mlora_tf.data", "import pickle", "imports pickle"),
        ("experiments.x", "from joblib import dump", "imports joblib"),
        ("mlora_tf.data", "np.load(p, allow_pickle=True)", "allow_pickle"),
        ("mlora_tf.data", "np.load(p, allow_pickle=False)", None),
        ("mlora_tf.data", "load_model(p, safe_mode=False)", "safe_mode"),
        ("mlora_tf.models", "keras.layers.Lambda(f)", "uses Lambda"),
        ("mlora_tf.models", "f = lambda x: x", None),
    ],
)
def test_the_faults_are_seen(module, source, said):
    found = faults(module, source, SOURCES)
    if said is None:
        assert found == []
    else:
        assert any(said in fault for fault in found), found


def test_a_file_without_a_floor_is_named():
    with pytest.raises(AssertionError, match=r"mlora_tf\.attic has no floor"):
        faults("mlora_tf.attic", "from mlora_tf import models", SOURCES)


def test_build_names_every_module():
    build = (ROOT / "BUILD.md").read_text("utf-8")
    (tree,) = re.findall(r"\n## The floors\n.*?```\n(.*?)```", build, re.S)
    named = set(re.findall(r"\w+", tree))
    families = tuple(re.findall(r"(\w+_)\*", tree))
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path.stem.startswith("__") or path.parent.name == "benchmarks":
                continue
            assert path.stem in named or path.stem.startswith(families), path
