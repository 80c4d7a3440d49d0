"""The log of runs: what a kill leaves, what two processes add, what is none."""

import dataclasses
import json
import multiprocessing

import pytest

from experiments.errors import RunError
from experiments.study import run as run_module
from experiments.study import trainer
from experiments.study.data_set import DataSet
from experiments.study.run import Run
from experiments.study.run_log import RunLog
from mlora_tf import recipes
from mlora_tf.recipes import Recipe

DATA = DataSet("data/some", "f" * 64, ("a", "b"))


def row(recipe, wauc=0.7):
    return {
        "data": "some",
        "fingerprint": DATA.fingerprint,
        "recipe": recipe.to_dict(),
        "seconds": 1.0,
        "phases": [{"test": {"wauc": wauc}}],
    }


def test_a_run_is_found_by_its_recipe_and_data(tmp_path):
    log = RunLog(tmp_path / "new" / "runs.jsonl")
    log.append(row(Recipe(dropout=0.2)))
    again = RunLog(log.path)
    assert Run(DATA, Recipe(dropout=0.2)) in again
    assert again[Run(DATA, Recipe(dropout=0.2))]["seconds"] == 1.0
    for other in (
        Run(DATA, Recipe(dropout=0.3)),
        Run(DATA, Recipe(dropout=0.2, seed=1)),
        Run(
            dataclasses.replace(DATA, fingerprint="e" * 64), Recipe(dropout=0.2)
        ),
    ):
        assert other not in again
        with pytest.raises(RunError, match="hasn't the run some mlp"):
            again[other]
    # Where the folder lies isn't part of what a run is.
    moved = dataclasses.replace(DATA, path="/elsewhere/other")
    assert Run(moved, Recipe(dropout=0.2)) in again


def test_the_latest_runs_most_alike_tell_how_long_one_takes(tmp_path):
    log = RunLog(tmp_path / "runs.jsonl")
    wanted = Run(DATA, Recipe(tower="mlora", seed=9))
    assert trainer.estimate(log, wanted) is None

    def add(seconds, **fields):
        for seed, one in enumerate(seconds):
            recipe = Recipe(**fields, seed=seed)
            log.append({**row(recipe), "seconds": one})

    add([100.0], backbone="dcn")
    assert trainer.estimate(log, wanted) == 100.0
    add([50.0])
    assert trainer.estimate(log, wanted) == 50.0
    # Of three slow ones and five fast ones, the fast ones came later.
    add([40.0] * 3 + [7.0, 8.0, 9.0, 10.0, 11.0], tower="mlora")
    assert trainer.estimate(log, wanted) == 9.0
    elsewhere = dataclasses.replace(DATA, fingerprint="e" * 64)
    assert trainer.estimate(log, Run(elsewhere, Recipe())) is None


def test_a_label_has_no_noise_and_the_key_all_digits():
    strength = 0.1 * 3e-6
    assert strength != 3e-7
    noisy, plain = (
        Run(DATA, Recipe(embedding_l2=one, tower_options={"lora_alpha": one}))
        for one in (strength, 3e-7)
    )
    assert "embedding_l2=3e-07" in noisy.label
    assert noisy.label == plain.label
    assert noisy.key != plain.key


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(Recipe)]
)
def test_every_field_of_a_recipe_is_part_of_its_key(field):
    values = Recipe().to_dict()
    changed = {**values, field: "something else"}
    keys = {run_module.key(DATA.fingerprint, one) for one in (values, changed)}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("fields", "has_one"),
    [
        ({"schedule": "two_phase"}, True),
        # Trained on a part of the rows alone.
        ({"schedule": "two_phase", "fresh_fraction": 0.5}, False),
        ({"tower": "star"}, True),
        # Trained together with its adapters.
        ({"tower": "star", "tower_options": {"mlora": "parallel"}}, False),
        ({"tower": "mlora"}, False),
        # Of a tower that isn't imported, and of a version that is to come.
        ({"tower": "mine"}, False),
        ({"tower": "star", "a_later_field": 1}, False),
    ],
)
def test_a_run_has_a_base_if_one_is_trained_by_itself(fields, has_one):
    values = Recipe().to_dict() | fields
    assert (run_module.base_key("f", values) is not None) == has_one


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"control": "bias_only"}, True),
        ({"stop_by_domain": True}, True),
        ({"temperature": 4}, True),
        ({"max_adapter_params": 99}, True),
        ({"rank_power": 0.5}, True),
        ({"lora_bias": False}, True),
        ({"tower_options": {"rank": 2}}, True),
        ({"patience": 9}, False),
        ({"seed": 9}, False),
    ],
)
def test_what_is_of_adapters_alone_leaves_their_base_the_same(fields, same):
    one = Recipe(schedule="two_phase")
    other = dataclasses.replace(one, **fields)
    keys = {run_module.base_key("f", each.to_dict()) for each in (one, other)}
    assert (len(keys) == 1) == same
    assert None not in keys


def test_a_field_that_is_new_leaves_older_keys_alone(monkeypatch):
    values = Recipe(dropout=0.2).to_dict()
    older = {k: v for k, v in values.items() if k != "window_rows"}
    assert run_module.key("f", older) == run_module.key("f", values)
    # A default that changes doesn't: what the older run had is in its row.
    before = run_module.key("f", values)
    monkeypatch.setitem(recipes.DEFAULTS, "embedding_l2", 1e-4)
    assert run_module.key("f", values) != before
    assert run_module.key("f", {**values, "embedding_l2": 1e-4}) != (
        run_module.key("f", values)
    )


def test_half_a_line_of_a_killed_process_is_removed(tmp_path):
    path = tmp_path / "runs.jsonl"
    log = RunLog(path)
    log.append(row(Recipe(seed=0)))
    with path.open("a") as file:
        file.write('{"data": "some", "rec')
    log = RunLog(path)
    assert len(log.rows) == 1
    log.append(row(Recipe(seed=1)))
    lines = path.read_text().splitlines()
    assert [json.loads(line)["recipe"]["seed"] for line in lines] == [0, 1]


def _add(path, seed):
    log = RunLog(path)
    for number in range(20):
        log.append(row(Recipe(seed=1000 * seed + number)))


def test_processes_that_add_at_a_time_lose_nothing(tmp_path):
    path = tmp_path / "runs.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add, args=(path, i)) for i in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
        assert one.exitcode == 0
    assert len(RunLog(path).rows) == 80


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[]", "{}", '{"fingerprint": "f", "recipe": {}}', "null"],
)
def test_a_line_that_is_no_run_is_named(tmp_path, line):
    path = tmp_path / "runs.jsonl"
    RunLog(path).append(row(Recipe()))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match=r"runs\.jsonl, line 2: no run"):
        RunLog(path)


def test_a_number_that_is_none_is_refused(tmp_path):
    log = RunLog(tmp_path / "runs.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        log.append(row(Recipe(), wauc=float("nan")))
    assert not log.rows
