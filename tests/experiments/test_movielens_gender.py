import json

import pytest

from experiments import movielens_gender
from experiments.movielens_gender import Run
from experiments.movielens_gender import Runner
from experiments.runs import RunError
from tests import clicks


def save(folder, run, valid, phases):
    """Writes what a finished run leaves, as far as the table reads it."""
    path = folder / run.name
    path.mkdir()
    reports = [
        {
            "phase": phase,
            "epochs": 3,
            "best_epoch": 2,
            "parameters": 10,
            "domain_parameters": 4,
            "valid": {"wauc": valid},
            "test": {
                "wauc": wauc,
                "macro_auc": wauc,
                "logloss": 0.5,
                "user_auc": 0.6,
                "domains": [
                    {"name": "F", "auc": wauc},
                    {"name": "M", "auc": wauc},
                ],
            },
        }
        for phase, wauc in phases.items()
    ]
    metrics = {
        "valid": reports[-1]["valid"],
        "test": reports[-1]["test"],
        "phases": reports,
    }
    (path / "metrics.json").write_text(json.dumps(metrics))
    config = {
        "recipe": {"dropout": run.dropout or 0.5, "temperature": 16},
        "data": "abc",
        "provenance": {"commit": "def"},
    }
    (path / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return clicks.prepare(tmp_path_factory.mktemp("data") / "clicks", rows=300)


@pytest.fixture
def runner(tmp_path, prepared):
    runner = Runner(str(prepared), tmp_path, jobs=1)
    runner.fingerprint = "abc"
    return runner


def test_dropout_is_chosen_on_validation_not_on_test(runner, tmp_path):
    for dropout, valid, test in (
        (0.0, 0.81, 0.7),
        (0.2, 0.82, 0.6),
        (0.5, 0.8, 0.9),
    ):
        run = Run("mlp", "mlora", "tuned", 0, dropout)
        save(tmp_path, run, valid, {"joint": test})
    assert movielens_gender.choose_dropout(runner, "mlp", "mlora") == 0.2


def test_the_table_pairs_arms_by_seed(runner, tmp_path, monkeypatch):
    monkeypatch.setattr(movielens_gender, "RESULTS", tmp_path / "results")
    chosen = {}
    for backbone in movielens_gender.BACKBONES:
        for tower in ("shared", "mlora"):
            chosen[backbone, tower] = 0.2
            for seed in range(2):
                gain = 0.01 * (seed + 1) * (tower == "mlora")
                phases = {"joint": 0.8 + 0.1 * seed + gain}
                for preset, rate in (("release", None), ("tuned", 0.2)):
                    run = Run(backbone, tower, preset, seed, rate)
                    save(tmp_path, run, 0.8, phases)
        for seed in range(2):
            phases = {"pretrain": 0.7, "adapters": 0.71}
            run = Run(backbone, "mlora", "paper", seed)
            save(tmp_path, run, 0.7, phases)
    movielens_gender.write_results(runner, chosen, seeds=2)
    results = tmp_path / "results"
    content = json.loads((results / "movielens_gender.json").read_text())
    assert content["data"] == "abc"
    assert len(content["rows"]) == 12
    table = (results / "movielens_gender.md").read_text()
    assert "| mlp | paper | base (pretrain) | 0.5 | 70.00 ± 0.00 |" in table
    assert "| 71.00 ± 0.00 | +1.00 ± 0.00 | 80.39 |" in table
    # 80 and 90 for the base, 81 and 92 for MLoRA: paired, gains of 1 and 2.
    assert "| mlp | tuned | base (joint) | 0.2 | 85.00 ± 7.07 |" in table
    assert "| 86.50 ± 7.78 | +1.50 ± 0.71 | 80.39 | 80.47 |" in table


@pytest.mark.slow
def test_a_failing_run_ends_everything_with_its_words(runner, tmp_path):
    runner.data = str(tmp_path / "nowhere")
    runs = [Run("mlp", "mlora", "tuned", seed, 0.0) for seed in range(50)]
    with pytest.raises(RunError, match="nowhere is no prepared folder"):
        runner.train(runs)  # all fifty would take minutes
    assert len(list(tmp_path.iterdir())) < 5


def test_runs_on_other_data_are_not_taken_for_these(runner, tmp_path):
    run = Run("mlp", "mlora", "tuned", 0, 0.0)
    save(tmp_path, run, 0.8, {"joint": 0.8})
    runner.fingerprint = "other"
    with pytest.raises(RunError, match="was trained on other data"):
        runner.train([run])


def test_finished_runs_are_not_trained_again(runner, tmp_path):
    run = Run("mlp", "mlora", "tuned", 0, 0.0)
    save(tmp_path, run, 0.8, {"joint": 0.8})
    runner.train([run])  # there is no data to train on
    assert runner.metrics(run)["test"]["wauc"] == 0.8
