r"""Every backbone and every tower on MovieLens-1M by gender, one seed.

    python -m experiments.movielens_models --data=data/ml1m-gender \
        --runs=runs/movielens_models

Trains the nine backbones with the towers shared, mlora and star, the MLP with
all eight towers, and what the STAR paper makes of these: STAR (star,
partitioned normalization, auxiliary network), its Base (batch normalization,
auxiliary network) and STAR + MLoRA in both forms. These four have the preset
`star`, with its seven layers; all others `tuned`. A run that is finished isn't
trained again. It takes about an hour on two cores. Writes
`experiments/results/movielens_models.json` and `.md`. Expect every base (the
shared towers) between 80.0 and 81.3: one far below means a bug.
"""

import csv
import dataclasses
import json
import pathlib
from typing import Any

from absl import flags

from experiments import binary
from experiments.provenance import ROOT
from experiments.provenance import provenance
from experiments.runner import Runner
from mlora_tf.backbones import BACKBONES
from mlora_tf.towers import TOWERS

COMPARED = ("shared", "mlora", "star")
COMMAND = (
    "python -m experiments.movielens_models --data=data/ml1m-gender "
    "--runs=runs/movielens_models"
)
RESULTS = ROOT / "experiments" / "results"


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of the table; its name is its run's folder."""

    backbone: str
    tower: str
    variant: str = ""
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return "-".join(
            filter(None, (self.backbone, self.tower, self.variant))
        ).replace(" ", "_")

    @property
    def flags(self) -> list[str]:
        """The flags of `experiments.train` that train it."""
        return [
            f"--backbone={self.backbone}",
            f"--tower={self.tower}",
            *self.options,
        ]


def models() -> list[Model]:
    """All models of the table, in its order."""
    star = ("--preset=star",)
    return [
        *(
            Model(backbone, tower)
            for backbone in BACKBONES
            for tower in (TOWERS if backbone == "mlp" else COMPARED)
        ),
        Model("mlp", "shared", "Base of STAR", star),
        Model("mlp", "star", "STAR", star),
        *(
            Model(
                "mlp",
                "star",
                f"STAR MLoRA {form}",
                (*star, f'--tower_options={{"mlora": "{form}"}}'),
            )
            for form in ("factorized", "parallel")
        ),
    ]


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("data", None, "The prepared folder.", required=True)
    flags.DEFINE_string("runs", None, "Folder of all runs.", required=True)
    flags.DEFINE_integer("jobs", 2, "Runs at a time.", lower_bound=1)


def main() -> None:
    """Trains what is missing and writes the table."""
    values = flags.FLAGS
    folder = pathlib.Path(values.runs)
    folder.mkdir(parents=True, exist_ok=True)
    runner = Runner(values.data, folder, values.jobs)
    runner.train(models())
    write_results(runner, models())


def write_results(runner: Runner, trained: list[Model]) -> None:
    """Writes the JSON and the Markdown table."""
    content = {
        "command": COMMAND,
        "data": runner.fingerprint,
        "seed": 0,
        "provenance": runner.config(trained[0])["provenance"],
        "table_provenance": provenance(),
        "rows": [row(runner, model) for model in trained],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "movielens_models.json").write_text(
        json.dumps(content, indent=1) + "\n", "utf-8"
    )
    (RESULTS / "movielens_models.md").write_text(markdown(content), "utf-8")


def row(runner: Runner, model: Model) -> dict[str, Any]:
    """What the table says of a model."""
    metrics, config = runner.metrics(model), runner.config(model)
    assert metrics is not None, model.name
    (phase,) = metrics["phases"]
    history = runner.folder / model.name / "history.csv"
    with history.open(encoding="utf-8") as file:
        seconds = [float(one["train_seconds"]) for one in csv.DictReader(file)]
    return {
        "backbone": model.backbone,
        "tower": model.tower,
        "variant": model.variant,
        "commit": config["provenance"]["commit"],
        "test_wauc": phase["test"]["wauc"],
        "test_macro_auc": phase["test"]["macro_auc"],
        "test_logloss": phase["test"]["logloss"],
        "test_auc": {
            domain["name"]: domain["auc"] for domain in phase["test"]["domains"]
        },
        "valid_wauc": phase["valid"]["wauc"],
        "parameters": phase["parameters"],
        "domain_parameters": phase["domain_parameters"],
        "epochs": phase["epochs"],
        "best_epoch": phase["best_epoch"],
        "seconds_per_epoch": min(seconds),
    }


def markdown(content: dict[str, Any]) -> str:
    """The table, and how to read it."""
    lines = [
        "| backbone | tower | | test WAUC | parameters | of the domains "
        "| s/epoch |\n|---|---|---|---|---|---|---|"
    ]
    lines += [
        f"| {one['backbone']} | {one['tower']} | {one['variant']} "
        f"| {100 * one['test_wauc']:.2f} | {one['parameters']:,} "
        f"| {one['domain_parameters']:,} | {one['seconds_per_epoch']:.1f} |"
        for one in content["rows"]
    ]
    return (
        "# Every backbone and tower on MovieLens-1M by gender\n\n"
        "Test WAUC in percent, one seed, preset `tuned` (the last four: "
        "`star`). Of the parameters, those of the domains' own are counted "
        "over both. Seconds are the fastest epoch of training on one thread, "
        f"two runs at a time. Written by `{content['command']}`.\n\n"
        + "\n".join(lines)
        + "\n"
    )


if __name__ == "__main__":
    define_flags()
    binary.run(main)
