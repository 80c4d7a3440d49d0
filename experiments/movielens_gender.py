r"""MLoRA's Table 2, MovieLens-gen, for MLP and DeepFM, with error bars.

    python -m experiments.movielens_gender --data=data/ml1m-gender \
        --runs=runs/movielens_gender

Trains base and base+MLoRA under three presets and three seeds, the `tuned`
ones with dropout 0, .2 and .5 on the first seed, and then with the rate that
its validation WAUC chose, for each arm by itself. A run that is finished
isn't trained again. It takes about an hour on two cores. Writes
`experiments/results/movielens_gender.json` and `.md`. Expect 80.4 to 81.2;
the paper prints 80.15 (MLP) and 80.24 (DeepFM), 80.39 and 80.46 with MLoRA.
"""

import dataclasses
import json
import pathlib
import statistics
from typing import Any

from absl import flags

from experiments import binary
from experiments.provenance import ROOT
from experiments.provenance import provenance
from experiments.runner import Runner

BACKBONES = ("mlp", "deepfm")
DROPOUTS = (0.0, 0.2, 0.5)
COMMAND = (
    "python -m experiments.movielens_gender --data=data/ml1m-gender "
    "--runs=runs/movielens_gender"
)
RESULTS = ROOT / "experiments" / "results"

PAPER = {
    ("mlp", "base"): 80.15,
    ("mlp", "mlora"): 80.39,
    ("deepfm", "base"): 80.24,
    ("deepfm", "mlora"): 80.46,
}
"""Test WAUC in percent, MLoRA's Table 2."""

ORIGINAL_CODE = {
    ("mlp", "base"): 80.37,
    ("mlp", "mlora"): 80.47,
    ("deepfm", "base"): 80.46,
}
"""The same, of the published code on the same data: joint, temperature 16."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run; its name is its folder's."""

    backbone: str
    tower: str
    preset: str
    seed: int
    dropout: float | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        rate = "" if self.dropout is None else f"-dropout{self.dropout}"
        return (
            f"{self.backbone}-{self.tower}-{self.preset}{rate}-seed{self.seed}"
        )

    @property
    def flags(self) -> list[str]:
        """The flags of `experiments.train` that train it."""
        rate = [] if self.dropout is None else [f"--dropout={self.dropout}"]
        return [
            f"--backbone={self.backbone}",
            f"--tower={self.tower}",
            f"--preset={self.preset}",
            f"--seed={self.seed}",
            *rate,
        ]


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("data", None, "The prepared folder.", required=True)
    flags.DEFINE_string("runs", None, "Folder of all runs.", required=True)
    flags.DEFINE_integer("seeds", 3, "How many seeds.", lower_bound=1)
    flags.DEFINE_integer("jobs", 2, "Runs at a time.", lower_bound=1)


def main() -> None:
    """Trains what is missing and writes the table."""
    values = flags.FLAGS
    folder = pathlib.Path(values.runs)
    folder.mkdir(parents=True, exist_ok=True)
    runner = Runner(values.data, folder, values.jobs)
    first = [
        Run(backbone, tower, "tuned", 0, dropout)
        for dropout in DROPOUTS
        for backbone in BACKBONES
        for tower in ("shared", "mlora")
    ]
    runner.train(first)
    chosen = {
        (backbone, tower): choose_dropout(runner, backbone, tower)
        for backbone in BACKBONES
        for tower in ("shared", "mlora")
    }
    for seed in range(values.seeds):
        runs = [
            Run(backbone, tower, "tuned", seed, dropout)
            for (backbone, tower), dropout in chosen.items()
        ]
        for backbone in BACKBONES:
            # Phase one of the paper's two is its base.
            runs.append(Run(backbone, "mlora", "paper", seed))
            runs.append(Run(backbone, "shared", "release", seed))
            runs.append(Run(backbone, "mlora", "release", seed))
        runner.train(runs)
        write_results(runner, chosen, seeds=seed + 1)


def choose_dropout(runner: Runner, backbone: str, tower: str) -> float:
    """The rate with the best validation WAUC on the first seed."""

    def score(dropout: float) -> float:
        metrics = runner.metrics(Run(backbone, tower, "tuned", 0, dropout))
        assert metrics is not None
        return metrics["valid"]["wauc"]

    return max(DROPOUTS, key=score)


def write_results(
    runner: Runner, chosen: dict[tuple[str, str], float], seeds: int
) -> None:
    """Writes the JSON and the Markdown table of the seeds so far."""
    rows = []
    for backbone in BACKBONES:
        for name in ("paper", "release", "tuned"):
            for arm, tower in (("base", "shared"), ("mlora", "mlora")):
                rate = chosen[backbone, tower] if name == "tuned" else None
                rows.append(
                    _row(runner, backbone, name, arm, tower, rate, seeds)
                )
    search = [
        {
            "backbone": backbone,
            "tower": tower,
            "dropout": dropout,
            "valid_wauc": metrics["valid"]["wauc"],
            "test_wauc": metrics["test"]["wauc"],
        }
        for backbone in BACKBONES
        for tower in ("shared", "mlora")
        for dropout in DROPOUTS
        if (
            metrics := runner.metrics(Run(backbone, tower, "tuned", 0, dropout))
        )
    ]
    any_run = Run("mlp", "mlora", "paper", 0)
    content = {
        "command": COMMAND,
        "data": runner.config(any_run)["data"],
        "seeds": seeds,
        "provenance": runner.config(any_run)["provenance"],
        "table_provenance": provenance(),
        "rows": rows,
        "dropout_search": search,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "movielens_gender.json").write_text(
        json.dumps(content, indent=1) + "\n", "utf-8"
    )
    (RESULTS / "movielens_gender.md").write_text(_markdown(content), "utf-8")


def _row(
    runner: Runner,
    backbone: str,
    preset: str,
    arm: str,
    tower: str,
    dropout: float | None,
    seeds: int,
) -> dict[str, Any]:
    """One arm's test metrics, seed by seed."""
    # The paper's base is the first phase of its two-phase run.
    phase = 0 if (preset, arm) == ("paper", "base") else -1
    if preset == "paper":
        tower = "mlora"
    phases = []
    for seed in range(seeds):
        run = Run(backbone, tower, preset, seed, dropout)
        metrics = runner.metrics(run)
        assert metrics is not None, run.name
        phases.append(metrics["phases"][phase])
    test = [one["test"] for one in phases]
    recipe = runner.config(Run(backbone, tower, preset, 0, dropout))["recipe"]
    return {
        "backbone": backbone,
        "preset": preset,
        "arm": arm,
        "phase": phases[0]["phase"],
        "dropout": recipe["dropout"],
        "temperature": recipe["temperature"],
        "parameters": phases[0]["parameters"],
        "domain_parameters": phases[0]["domain_parameters"],
        "test_wauc": [one["wauc"] for one in test],
        "test_macro_auc": [one["macro_auc"] for one in test],
        "test_logloss": [one["logloss"] for one in test],
        "test_user_auc": [one["user_auc"] for one in test],
        "test_auc": {
            domain["name"]: [one["domains"][i]["auc"] for one in test]
            for i, domain in enumerate(test[0]["domains"])
        },
        "valid_wauc": [one["valid"]["wauc"] for one in phases],
        "epochs": [one["epochs"] for one in phases],
        "best_epoch": [one["best_epoch"] for one in phases],
    }


def _markdown(content: dict[str, Any]) -> str:
    header = (
        "| backbone | preset | arm | dropout | test WAUC | gain over base |"
        " paper | original code |\n|---|---|---|---|---|---|---|---|"
    )
    lines = [header]
    base: dict[str, Any] = {}
    for row in content["rows"]:
        key = (row["backbone"], row["arm"])
        if row["arm"] == "base":
            base, gain = row, ""
        else:
            gain = _mean_std(
                [
                    mine - theirs
                    for mine, theirs in zip(
                        row["test_wauc"], base["test_wauc"], strict=True
                    )
                ],
                sign="+",
            )
        lines.append(
            f"| {row['backbone']} | {row['preset']} | {row['arm']} "
            f"({row['phase']}) | {row['dropout']} "
            f"| {_mean_std(row['test_wauc'])} | {gain} "
            f"| {PAPER[key]:.2f} | {ORIGINAL_CODE.get(key, '')} |"
        )
    return (
        "# MovieLens-1M by gender\n\n"
        f"Test WAUC in percent, mean ± standard deviation over "
        f"{content['seeds']} seeds; gains are paired by seed. Written by "
        f"`{content['command']}`.\n\n" + "\n".join(lines) + "\n"
    )


def _mean_std(values: list[float], sign: str = "") -> str:
    percent = [100 * value for value in values]
    spread = statistics.stdev(percent) if len(percent) > 1 else float("nan")
    return f"{statistics.mean(percent):{sign}.2f} ± {spread:.2f}"


if __name__ == "__main__":
    define_flags()
    binary.run(main)
