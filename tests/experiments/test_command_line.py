"""What all command lines of the experiments have in common."""

import json
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from experiments import binary
from experiments import command_line
from experiments import export
from experiments import finished_run
from experiments import recipe_flags
from experiments.errors import RunError
from mlora_tf import build_model
from mlora_tf.towers import TOWERS
from tests import goldens
from tests import own_flags

MODULE = """
import keras
from mlora_tf.towers import TOWERS, Tower, shared_logit

def mine(domain, num_domains, hidden, *, width=3):
    return Tower(keras.layers.Dense(width, name="hidden.0"), shared_logit)

TOWERS["mine"] = mine
"""


@pytest.fixture
def my_towers(tmp_path, monkeypatch):
    """The name of a module that registers a tower, until the test ends."""
    (tmp_path / "my_towers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_towers"
    sys.modules.pop("my_towers", None)
    TOWERS.pop("mine", None)


@pytest.mark.parametrize("order", [1, -1])
def test_a_tower_of_ones_own_is_among_the_flags_values(
    my_towers, order, monkeypatch
):
    given = [f"--import={my_towers}", "--tower=mine"][::order]
    given.append('--tower_options={"width": 5}')
    monkeypatch.setattr(sys, "argv", ["it", "--unknown=1", *given])
    with own_flags.given(recipe_flags.define_recipe_flags, *given):
        assert flags.FLAGS["import"].value == [my_towers]
        recipe = recipe_flags.recipe_from_flags()
    model = build_model(
        goldens.SCHEMA, tower=recipe.tower, tower_options=recipe.tower_options
    )
    assert model.get_layer("hidden.0").units == 5


def test_without_its_module_it_is_unknown(my_towers, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["it", "--tower=mine"])
    with (
        pytest.raises(flags.IllegalFlagValueError, match="tower=mine"),
        own_flags.given(recipe_flags.define_recipe_flags, "--tower=mine"),
    ):
        pass


def test_a_module_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["it", "--import=nowhere.towers"])
    with (
        pytest.raises(SystemExit, match=r"^error: --import=nowhere\.towers: "),
        own_flags.given(export.define_flags, "--run=a", "--output=b"),
    ):
        pass


def test_an_export_asks_for_the_modules_of_its_run(tmp_path):
    finished_run.check_imports(tmp_path, [])  # A run without a record of any.
    config = {"imports": ["my_shop.towers", "my_shop.layers"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    finished_run.check_imports(tmp_path, ["my_shop.layers", "my_shop.towers"])
    with pytest.raises(RunError, match=r"add --import=my_shop.towers\.$"):
        finished_run.check_imports(tmp_path, ["my_shop.layers"])


def test_the_short_help_lists_flags_of_ours_alone(monkeypatch):
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    for name, module in (
        ("seeds", "experiments.study.study"),
        ("rounds", "experiments.benchmarks.suite"),
        ("verbosity", "absl.logging"),
    ):
        flags.DEFINE_integer(
            name, 1, "", flag_values=values, module_name=module
        )
    command_line._declare_own_flags()
    listed = values.get_key_flags_for_module(sys.argv[0])
    assert {flag.name for flag in listed} == {"seeds", "rounds"}


@pytest.mark.slow
def test_the_help_of_a_study_has_its_flags_and_no_noise():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.towers", "--helpshort"],
        cwd=pathlib.Path(binary.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert "--seeds: How many seeds." in done.stdout
    assert "--log_dir" not in done.stdout
