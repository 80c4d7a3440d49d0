import collections
import dataclasses
import json

import pytest
from absl import flags

from experiments import movielens_models
from experiments import recipe_flags
from experiments import runner as runner_module
from experiments.movielens_models import Model
from experiments.runner import Runner
from experiments.runs import RunError
from mlora_tf.backbones import BACKBONES
from mlora_tf.presets import preset
from mlora_tf.towers import TOWERS
from tests import clicks

MODELS = movielens_models.models()


def save(folder, model, wauc=0.8, data="abc"):
    """Writes what a finished run leaves, as far as the table reads it."""
    path = folder / model.name
    path.mkdir()
    test = {
        "wauc": wauc,
        "macro_auc": 0.79,
        "logloss": 0.5,
        "domains": [{"name": "F", "auc": 0.7}, {"name": "M", "auc": 0.75}],
    }
    report = {
        "phase": "joint",
        "epochs": 3,
        "best_epoch": 2,
        "parameters": 12345,
        "domain_parameters": 1678,
        "valid": {"wauc": 0.81},
        "test": test,
    }
    metrics = {"valid": report["valid"], "test": test, "phases": [report]}
    (path / "metrics.json").write_text(json.dumps(metrics))
    config = {"data": data, "provenance": {"commit": "def"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "history.csv").write_text(
        "phase,epoch,train_seconds\njoint,0,9.0\njoint,1,2.0\njoint,2,2.5\n"
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return clicks.prepare(tmp_path_factory.mktemp("data") / "clicks", rows=300)


@pytest.fixture
def runner(tmp_path, prepared):
    runner = Runner(str(prepared), tmp_path, jobs=2)
    runner.fingerprint = "abc"
    return runner


def recipe_of(model):
    """The recipe that `experiments.train` makes of a model's flags."""
    values = flags.FlagValues()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe_flags.flags, "FLAGS", values)
        for kind in ("enum", "bool", "list", "float", "integer", "string"):
            name = f"DEFINE_{kind}"
            define = getattr(recipe_flags.flags, name)

            def into(*args, define=define):
                return define(*args, flag_values=values)

            patch.setattr(recipe_flags.flags, name, into)
        recipe_flags.define_recipe_flags()
        assert values(["train", *model.flags]) == ["train"]
        return recipe_flags.recipe_from_flags()


# --- Which models ------------------------------------------------------------


def test_every_run_has_a_folder_of_its_own():
    names = [model.name for model in MODELS]
    assert len(set(names)) == len(names)
    for name in names:
        assert not set(name) & set(" /{}\"'")


def test_the_table_has_the_models_that_it_says():
    plain = {
        (model.backbone, model.tower) for model in MODELS if not model.variant
    }
    assert {tower for (backbone, tower) in plain if backbone == "mlp"} == set(
        TOWERS
    )
    for backbone in BACKBONES:
        towers = {tower for (name, tower) in plain if name == backbone}
        assert towers >= {"shared", "mlora", "star"}
    assert [model.variant for model in MODELS if model.variant] == [
        "Base of STAR",
        "STAR",
        "STAR MLoRA factorized",
        "STAR MLoRA parallel",
    ]
    assert len(MODELS) == 3 * len(BACKBONES) + len(TOWERS) - 3 + 4


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_flags_of_a_model_are_a_recipe(model):
    recipe = recipe_of(model)
    assert (recipe.backbone, recipe.tower) == (model.backbone, model.tower)
    assert recipe.schedule == "joint"
    if not model.options:
        assert recipe == preset("tuned", model.backbone, model.tower)


def test_what_the_star_paper_makes_of_them():
    recipes = {
        model.variant: recipe_of(model) for model in MODELS if model.variant
    }
    assert recipes.pop("Base of STAR") == preset("star", "mlp", "shared")
    forms = {"": {}, "factorized": {}, "parallel": {}}
    for variant, recipe in recipes.items():
        star = preset("star", "mlp", "star")
        options = recipe.tower_options
        assert recipe == dataclasses.replace(star, tower_options=options)
        forms[variant.partition("STAR MLoRA ")[2]] = recipe.tower_options
    assert forms == {
        "": {},
        "factorized": {"mlora": "factorized"},
        "parallel": {"mlora": "parallel"},
    }


# --- The table ---------------------------------------------------------------


def test_a_row_is_what_its_run_left(runner, tmp_path):
    model = Model("mlp", "star", "STAR")
    save(tmp_path, model)
    assert movielens_models.row(runner, model) == {
        "backbone": "mlp",
        "tower": "star",
        "variant": "STAR",
        "commit": "def",
        "test_wauc": 0.8,
        "test_macro_auc": 0.79,
        "test_logloss": 0.5,
        "test_auc": {"F": 0.7, "M": 0.75},
        "valid_wauc": 0.81,
        "parameters": 12345,
        "domain_parameters": 1678,
        "epochs": 3,
        "best_epoch": 2,
        "seconds_per_epoch": 2.0,
    }


def test_the_table_has_a_line_for_each_model(runner, tmp_path, monkeypatch):
    monkeypatch.setattr(movielens_models, "RESULTS", tmp_path / "results")
    for i, model in enumerate(MODELS):
        save(tmp_path, model, wauc=0.8 + i / 1000)
    movielens_models.write_results(runner, MODELS)
    results = tmp_path / "results"
    content = json.loads((results / "movielens_models.json").read_text())
    assert content["data"] == "abc"
    assert content["provenance"] == {"commit": "def"}
    assert content["command"] == movielens_models.COMMAND
    assert [row["test_wauc"] for row in content["rows"]] == [
        0.8 + i / 1000 for i in range(len(MODELS))
    ]
    text = (results / "movielens_models.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(MODELS)
    assert {line.count("|") for line in lines} == {8}
    assert lines[1] == "| mlp | shared |  | 80.00 | 12,345 | 1,678 | 2.0 |"
    assert "| mlp | star | STAR MLoRA parallel |" in lines[-1]
    assert movielens_models.COMMAND in text
    counts = collections.Counter(line.split(" | ")[1] for line in lines[1:])
    assert counts["mlora"] == len(BACKBONES)


# --- The runner --------------------------------------------------------------


class Finished:
    """A process that has ended."""

    returncode, words = 0, ""

    def __init__(self, command=(), **kwargs):
        pass

    def communicate(self):
        return None, self.words

    def terminate(self):
        pass

    def wait(self, timeout):
        pass


def test_what_is_missing_alone_is_trained(runner, tmp_path, monkeypatch):
    started = []

    def start(command, **kwargs):
        started.append(command)
        return Finished()

    monkeypatch.setattr(runner_module.subprocess, "Popen", start)
    save(tmp_path, MODELS[0])
    runner.train(MODELS[:3])
    assert len(started) == 2
    for command in started:
        assert command[1:3] == ["-m", "experiments.train"]
        assert f"--data={runner.data}" in command
    for model in MODELS[1:3]:
        output = f"--output={tmp_path / model.name}"
        (command,) = (one for one in started if output in one)
        assert command[-len(model.flags) :] == model.flags


def test_a_failure_ends_everything_with_its_words(runner, monkeypatch):
    class Failed(Finished):
        returncode, words = 1, "error: no such thing"

    monkeypatch.setattr(runner_module.subprocess, "Popen", Failed)
    with pytest.raises(RunError, match=r"failed:\nerror: no such thing"):
        runner.train(MODELS)


def test_runs_on_other_data_are_not_taken_for_these(runner, tmp_path):
    save(tmp_path, MODELS[0], data="other")
    with pytest.raises(RunError, match="was trained on other data"):
        runner.train(MODELS[:1])


def test_runs_of_other_flags_are_not_taken_for_these(
    runner, tmp_path, monkeypatch
):
    first = MODELS[0]
    other = dataclasses.replace(first, options=("--dropout=.5",))
    assert other.name == first.name
    monkeypatch.setattr(runner_module.subprocess, "Popen", Finished)
    runner.train([other])
    save(tmp_path, other)
    runner.train([other])
    with pytest.raises(RunError, match="was trained with other flags"):
        runner.train(MODELS[:1])
