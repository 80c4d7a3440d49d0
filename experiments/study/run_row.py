"""What of a finished run's folder stays: the row of the log."""

import csv
import json
import pathlib
from typing import Any

from experiments.study.run import Run

DIGITS = 7
"""Of metrics: a hundredth of the hundredth of a percent that anyone reads."""


def row(run: Run, folder: pathlib.Path) -> dict[str, Any]:
    """A run's row.

    Args:
        run: The run.
        folder: Its folder, finished.
    """
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    with (folder / "history.csv").open(encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    return {
        "data": run.data.name,
        "fingerprint": run.data.fingerprint,
        "recipe": run.recipe.to_dict(),
        "provenance": config["provenance"],
        "replicas": config["replicas"],
        "seconds": round(sum(map(_seconds, history)), 1),
        "phases": [
            _phase(one, [e for e in history if e["phase"] == one["phase"]])
            for one in metrics["phases"]
        ],
    }


def _seconds(epoch: dict[str, str]) -> float:
    return sum(
        float(value)
        for name, value in epoch.items()
        if name.endswith("_seconds") and value
    )


def _phase(
    phase: dict[str, Any], history: list[dict[str, str]]
) -> dict[str, Any]:
    valid, test = phase["valid"], phase["test"]
    kept = ("phase", "epochs", "best_epoch", "parameters", "domain_parameters")
    overall = ("wauc", "macro_auc", "auc", "logloss", "user_auc")
    return {
        **{name: phase[name] for name in kept},
        "train_seconds": round(
            sum(float(epoch["train_seconds"]) for epoch in history), 1
        ),
        "valid": {
            **{name: _rounded(valid[name]) for name in overall},
            "auc_by_domain": [_rounded(one["auc"]) for one in valid["domains"]],
        },
        "test": {
            **{name: _rounded(test[name]) for name in overall},
            "intervals": {
                name: None if ends is None else [_rounded(end) for end in ends]
                for name, ends in test["intervals"].items()
            },
            "domains": [
                {name: _rounded(value) for name, value in one.items()}
                for one in test["domains"]
            ],
        },
    }


def _rounded(value: Any) -> Any:
    return round(value, DIGITS) if isinstance(value, float) else value
