"""Several models as one that answers each domain with the best of them."""

import math

import numpy as np
import pytest

from experiments.study import best_by_domain
from experiments.study.arm import Arm
from experiments.study.arm import ChosenArm
from experiments.study.data_set import DataSet
from experiments.study.result import results
from mlora_tf.evaluation import evaluate
from mlora_tf.recipes import Recipe

NAMES = ("a", "b", "c")


def models(seed, one_class):
    """Three models' phases on the same rows, and their scores in test."""
    rng = np.random.default_rng(seed)
    rows = 400
    splits = {}
    for split in ("valid", "test"):
        domain = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
        label = rng.integers(0, 2, rows) * (domain != one_class)
        splits[split] = label, domain
    phases, scores = [], []
    for model in range(3):
        phase = {
            "parameters": 100,
            "domain_parameters": 10,
            "train_seconds": 2.0 + model,
        }
        for split, (label, domain) in splits.items():
            score = rng.random(rows)
            phase[split] = evaluate(label, score, domain, NAMES).to_dict()
            domains = phase[split]["domains"]
            phase[split]["auc_by_domain"] = [one["auc"] for one in domains]
        phases.append(phase)
        scores.append(score)
    return phases, np.array(scores), *splits["test"]


@pytest.mark.parametrize("one_class", [None, 1, 0])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_the_chosen_models_predictions_give(seed, one_class):
    phases, scores, label, domain = models(seed, one_class)
    valid = np.array(
        [phase["valid"]["auc_by_domain"] for phase in phases], float
    )
    best = np.argmax(np.nan_to_num(valid, nan=-1.0), axis=0)
    mine = scores[best[domain], np.arange(len(domain))]
    expected = evaluate(label, mine, domain, NAMES).to_dict()
    found = best_by_domain.best(phases)
    assert found["test"]["domains"] == expected["domains"]
    for metric in ("wauc", "macro_auc", "logloss"):
        assert found["test"][metric] == pytest.approx(expected[metric])
    # These need the predictions.
    assert found["test"]["auc"] is found["test"]["user_auc"] is None
    assert found["parameters"] == 300
    assert found["train_seconds"] == 9.0
    if one_class is None:
        assert found["valid"]["auc_by_domain"] == valid.max(0).tolist()


def test_of_equal_models_the_first_one_answers():
    (first, *_), *_ = models(0, None)
    test = {**first["test"], "domains": [None] * 3}
    found = best_by_domain.best([first, {**first, "test": test}])
    assert found["test"]["domains"] == first["test"]["domains"]


def test_without_rows_in_any_domain_nothing_is_defined():
    (first, *_), *_ = models(0, None)
    nothing = {"rows": 0, "auc": None, "logloss": None}
    domains = [one | nothing for one in first["test"]["domains"]]
    phase = {**first, "test": {**first["test"], "domains": domains}}
    found = best_by_domain.best([phase])["test"]
    assert math.isnan(found["wauc"])
    assert found["macro_auc"] is found["logloss"] is None


def test_an_arm_by_domain_has_the_runs_of_all_that_it_is_of(tmp_path, fake_log):
    data = DataSet("data/shops", "a" * 64, NAMES)
    base = Arm(data, "mlp", "base", Recipe(tower="shared"))
    other = Arm(data, "mlp", "other", Recipe(), rival="base")
    best = ChosenArm("by domain", [other, base], by_domain=True)
    log = fake_log(tmp_path / "runs.jsonl", [base, other], seeds=3)
    found = results(log, [base, other, best])[-1]
    assert len(found.phases) == 3
    assert found.keys[:2] == (other.run(0).key, base.run(0).key)
    assert found.seconds == (20.0,) * 3
    assert [run.key for run in best.runs(1)] == list(found.keys[2:4])
    row = found.to_dict()
    assert row["phase"] == "by domain"
    assert row["recipe"].endswith("'other', 'base', domain by domain")
    assert row["valid_wauc"] == [None] * 3
    assert row["seeds"] == 3
    assert row["seconds"] == 20.0  # of a seed's runs, on average
    assert results(log, [other])[0].to_dict()["best_epoch"] == [2, 2, 2]
    # Calibration is a ratio, and no percentage as an AUC is.
    assert found.domain(1, "pcoc") == [1.1] * 3
    # The log's second arm is the better one in every domain.
    for index in range(len(NAMES)):
        assert found.domain(index, "auc") == (
            results(log, [other])[0].domain(index, "auc")
        )
