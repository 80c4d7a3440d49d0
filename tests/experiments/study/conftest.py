"""A log of runs that nobody trained, for tests of tables."""

import pytest

from experiments.study.arm import ChosenArm
from experiments.study.run_log import RunLog


def phase(name, domains, wauc):
    """A phase's row, with all that tables read."""
    overall = {
        "wauc": wauc,
        "macro_auc": wauc - 0.01,
        "auc": wauc + 0.01,
        "logloss": 0.5,
        "user_auc": wauc - 0.02,
    }
    return {
        "phase": name,
        "epochs": 3,
        "best_epoch": 2,
        "parameters": 100,
        "domain_parameters": 10,
        "train_seconds": 2.0,
        "valid": {**overall, "auc_by_domain": [wauc] * len(domains)},
        "test": {
            **overall,
            "intervals": {"wauc": [wauc - 0.001, wauc + 0.001]},
            "domains": [
                {
                    "name": domain,
                    "rows": 50,
                    "clicks": 10,
                    "ctr": 0.2,
                    "auc": wauc + index / 1000,
                    "pcoc": 1 + index / 10,
                    "logloss": 0.5,
                    "user_auc": wauc - 0.02 + index / 1000,
                }
                for index, domain in enumerate(domains)
            ],
        },
    }


@pytest.fixture
def fake_log():
    """Makes a log that has all runs of some arms."""

    def make(path, arms, seeds):
        log = RunLog(path)
        for number, arm in enumerate(arms):
            if isinstance(arm, ChosenArm):
                continue  # It has no run of its own.
            for seed in range(seeds):
                run = arm.run(seed)
                if run in log:
                    continue
                # Seeds differ more than arms do, and gains by seed a little.
                wauc = 0.7 + 0.05 * seed + 0.001 * number * (1 + seed / 10)
                names = (
                    ("pretrain", "adapters")
                    if arm.recipe.schedule == "two_phase"
                    else ("joint",)
                )
                log.append(
                    {
                        "data": run.data.name,
                        "fingerprint": run.data.fingerprint,
                        "recipe": run.recipe.to_dict(),
                        "provenance": {"commit": "abc"},
                        "replicas": 1,
                        "seconds": 10.0,
                        "phases": [
                            phase(name, run.data.domains, wauc + 0.002 * i)
                            for i, name in enumerate(names)
                        ],
                    }
                )
        return log

    return make
