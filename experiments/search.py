r"""Chooses what the preset `tuned` has on a data set, on validation alone.

    python -m experiments.search --data=data/ml1m-gender

For each tower of `--towers` a greedy search: lever by lever, every value is
trained with the best values so far of the others, and the one with the best
validation WAUC (its mean over `--seeds`) stays. The shared tower has the
levers of every model; the others start from what it chose, have the same
levers again and, with adapters, their own: more chances on the same validation
rows, of which more `--seeds` leave less to luck. `--towers=star_mlora` is STAR
with what was chosen for adapters beside it, as in Table 2, and has the shared
levers alone. Of levers that `--levers` doesn't name, what an earlier search
chose stays. The test split is never looked at. What is chosen on the MLP counts
for every backbone; what `--backbone=fibinet`, say, chooses, counts for that one
alone, in place of it.

Writes `experiments/results/tuned.json`, which every table with
`--preset=tuned` reads, and `search.md`: each value that was tried. All runs
are in `runs.jsonl`, shared with the tables. With another `--output` it is the
tables with the same one that read it. Killed, the same command goes on.
"""

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from absl import flags
from rich.console import Console

from experiments import binary
from experiments import runs
from experiments.markdown_table import markdown_table
from experiments.provenance import provenance
from experiments.search_flags import checked
from experiments.search_flags import define_flags
from experiments.search_levers import LEVERS
from experiments.search_levers import merged
from experiments.study import trainer
from experiments.study.data_set import DataSet
from experiments.study.recipes import STAR_MLORA
from experiments.study.recipes import arm_name
from experiments.study.recipes import plain
from experiments.study.recipes import tuned
from experiments.study.run import Run
from experiments.study.run_log import RunLog
from mlora_tf.recipes import Recipe


@dataclasses.dataclass(frozen=True)
class Tried:
    """What a lever was set to, with its score.

    Attributes:
        lever: Its name.
        fields: The recipe's fields that it set.
        score: Mean validation WAUC over the seeds.
        chosen: Whether it is the one that stays.
    """

    lever: str
    fields: dict[str, Any]
    score: float
    chosen: bool


class Search:
    """A greedy search on one data set.

    Args:
        log: The finished runs.
        data: The data set.
        backbone: Of all models.
        levers: Names of those that are searched.
        values: By lever, what to try in place of ours.
        seeds: How many runs a value's score is the mean of.
        folder: Where runs are trained.
        jobs: Runs at a time.
        console: Where to say how far it is.
    """

    def __init__(
        self,
        log: RunLog,
        data: DataSet,
        backbone: str,
        *,
        levers: Sequence[str],
        values: Mapping[str, Sequence[Any]],
        seeds: int,
        folder: pathlib.Path,
        jobs: int,
        console: Console,
    ) -> None:
        self.log = log
        self.data = data
        self.backbone = backbone
        self.levers = levers
        self.values = values
        self.seeds = seeds
        self.folder = folder
        self.jobs = jobs
        self.console = console

    def tower(
        self, name: str, start: dict[str, Any]
    ) -> tuple[dict[str, Any], list[Tried]]:
        """Searches a tower's levers.

        Args:
            name: The tower, or `recipes.STAR_MLORA`.
            start: Values to begin with, by field. What an earlier search
                chose of other levers stays besides.

        Returns:
            The chosen values, and all that were tried.
        """
        chosen = merged(self._kept(name), start)
        tried: list[Tried] = []
        base = plain(self.backbone, name)
        for lever in LEVERS[name]:
            if lever.name not in self.levers:
                continue
            values = tuple(self.values.get(lever.name, lever.values))
            settings = dataclasses.replace(lever, values=values).settings()
            recipes = [
                dataclasses.replace(base, **merged(chosen, fields))
                for fields in settings
            ]
            scores = self.scores(recipes)
            best = max(range(len(settings)), key=scores.__getitem__)
            chosen = merged(chosen, settings[best])
            tried += [
                Tried(lever.name, fields, score, index == best)
                for index, (fields, score) in enumerate(
                    zip(settings, scores, strict=True)
                )
            ]
        return chosen, tried

    def _kept(self, name: str) -> dict[str, Any]:
        """What is chosen for a tower already, but for the levers searched."""
        before = tuned(self.data, name, self.backbone)
        searched = {one.name for one in LEVERS[name]} & set(self.levers)
        return {
            field: (
                {
                    option: value
                    for option, value in setting.items()
                    if option not in searched
                }
                if field == "tower_options"
                else setting
            )
            for field, setting in before.items()
            if field not in searched
        }

    def scores(self, recipes: Sequence[Recipe]) -> list[float]:
        """Each recipe's mean validation WAUC; trains what is missing."""
        wanted = [
            [
                Run(self.data, dataclasses.replace(recipe, seed=seed))
                for seed in range(self.seeds)
            ]
            for recipe in recipes
        ]
        trainer.train(
            self.log,
            [one for some in wanted for one in some],
            self.folder,
            jobs=self.jobs,
            console=self.console,
        )
        return [
            statistics.mean(
                self.log[one]["phases"][-1]["valid"]["wauc"] for one in some
            )
            for some in wanted
        ]


def main() -> None:
    """Searches and writes what was chosen, data set by data set."""
    given = flags.FLAGS
    start, values = checked()
    output = pathlib.Path(given.output)
    log = RunLog(output / "runs.jsonl")
    for path in given.data:
        data = DataSet.open(path, output)
        search = Search(
            log,
            data,
            given.backbone,
            levers=given.levers,
            values=values,
            seeds=given.seeds,
            folder=pathlib.Path(given.runs),
            jobs=given.jobs,
            console=Console(stderr=True),
        )
        command = (
            f"python -m experiments.search --data=data/{data.name} "
            f"--towers={','.join(given.towers)} "
            f"--levers={','.join(given.levers)} --backbone={given.backbone} "
            f"--seeds={given.seeds} --start='{given.start}'"
            + (f" --values='{given.values}'" if values else "")
        )
        chosen = start
        for tower in sorted(given.towers, key=list(LEVERS).index):
            # With what has just been chosen for other towers.
            search.data = DataSet.open(path, output)
            # STAR with adapters begins as STAR, not as the shared tower.
            begin = start if tower == STAR_MLORA else chosen
            found, tried = search.tower(tower, begin)
            if tower == "shared":
                chosen = found
            arm = arm_name(given.backbone, tower)
            write(output, data, arm, found, tried, command)


def write(
    output: pathlib.Path,
    data: DataSet,
    arm: str,
    chosen: dict[str, Any],
    tried: list[Tried],
    command: str,
) -> None:
    """Adds what was chosen for a tower, by `arm_name`, to the files."""
    path = output / "tuned.json"
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    content.setdefault("data", {}).setdefault(data.fingerprint, {})[arm] = {
        "name": data.name,
        "command": command,
        "provenance": provenance(),
        "chosen": chosen,
        "tried": [dataclasses.asdict(one) for one in tried],
    }
    runs.write(path, json.dumps(content, indent=1) + "\n")
    runs.write(output / "search.md", markdown(content))


def markdown(content: dict[str, Any]) -> str:
    """Every value that was tried."""
    heading = ("data", "tower", "lever", "value", "validation WAUC", "chosen")
    rows = []
    commands = []
    for arms in content["data"].values():
        for arm, found in arms.items():
            commands.append(found["command"])
            for one in found["tried"]:
                rows.append(
                    (
                        found["name"],
                        arm,
                        one["lever"],
                        text(one["fields"]),
                        f"{100 * one['score']:.2f}",
                        "yes" if one["chosen"] else "",
                    )
                )
    written = "; ".join(f"`{one}`" for one in dict.fromkeys(commands))
    return (
        "# What the preset `tuned` was chosen from\n\nOne lever after the "
        "other; those before have their chosen values, those after what "
        "`--start` says, or else the preset's. Validation split alone, in "
        f"percent. Written by {written}.\n\n{markdown_table(heading, rows)}\n"
    )


def text(fields: dict[str, Any]) -> str:
    """A setting in a cell."""
    (value,) = fields.values()
    if isinstance(value, dict):
        value = next(iter(value.values()), "none")
    if isinstance(value, dict):
        value = value["config"]["l2"]
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    define_flags()
    binary.run(main)
