"""A table of a paper as a command: its flags, its runs, its files."""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from absl import flags
from rich.console import Console

from experiments import runs
from experiments.provenance import ROOT
from experiments.provenance import provenance
from experiments.study import trainer
from experiments.study.arm import Arm
from experiments.study.arm import Result
from experiments.study.arm import results
from experiments.study.arm import rival_of
from experiments.study.data_set import DataSet
from experiments.study.markdown import arm_table
from experiments.study.run_log import RunLog

RESULTS = ROOT / "experiments" / "results"
PRESETS = ("paper", "release", "tuned")


@dataclasses.dataclass(frozen=True)
class Study:
    """A table or figure.

    Args:
        name: Of its files.
        title: Its heading.
        explanation: What its rows are, in a paragraph of Markdown.
        arms: Makes its rows for a data set and a preset.
        table: Makes its Markdown from the results.
        data: The folders that it is about, where --data says nothing.
        figure: Draws a figure from the results to a path, if there is one.
        presets: Those it can have; the first is the default.
    """

    name: str
    title: str
    explanation: str
    arms: Callable[[DataSet, str], list[Arm]]
    table: Callable[[Sequence[Result]], str] = arm_table
    figure: Callable[[Sequence[Result], pathlib.Path], None] | None = None
    data: tuple[str, ...] = ("data/ml1m-gender",)
    presets: tuple[str, ...] = ("tuned", "release", "paper")

    def define_flags(self) -> None:
        """Defines the flags that all studies share."""
        flags.DEFINE_list("data", list(self.data), "Prepared folders.")
        flags.DEFINE_integer("seeds", 5, "How many seeds.", lower_bound=1)
        flags.DEFINE_enum(
            "preset",
            self.presets[0],
            self.presets,
            "paper: what the text says. release: what the published code "
            "does. tuned: ours, with what experiments.search chose.",
        )
        flags.DEFINE_string(
            "output", str(RESULTS), "Where runs.jsonl and the tables are."
        )
        flags.DEFINE_string("runs", "runs/studies", "Where runs are trained.")
        flags.DEFINE_integer(
            "jobs", os.cpu_count(), "Runs at a time.", lower_bound=1
        )
        flags.DEFINE_bool(
            "dry_run", False, "Say which runs are missing, and train none."
        )

    def main(self) -> None:
        """Trains what is missing and writes the table."""
        values = flags.FLAGS
        console = Console(stderr=True)
        log = RunLog(pathlib.Path(values.output) / "runs.jsonl")
        arms = [
            arm
            for path in values.data
            for arm in self.arms(DataSet.open(path), values.preset)
        ]
        # Seed by seed, so that a part of it is a table already.
        wanted = [
            arm.runs(values.seeds)[seed]
            for seed in range(values.seeds)
            for arm in arms
        ]
        if values.dry_run:
            self._say(log, trainer.missing(log, wanted), values.jobs)
            return
        trainer.train(
            log,
            wanted,
            pathlib.Path(values.runs),
            jobs=values.jobs,
            console=console,
        )
        self.write(log, arms, values.seeds, values.preset)

    def write(
        self, log: RunLog, arms: Sequence[Arm], seeds: int, preset: str
    ) -> None:
        """Writes the JSON and the Markdown beside the log."""
        found = results(log, arms, seeds)
        name = self.name if preset == "tuned" else f"{self.name}_{preset}"
        command = " ".join(
            (
                f"python -m experiments.{self.name}",
                f"--data={','.join(dict.fromkeys(_shown(a) for a in arms))}",
                f"--seeds={seeds} --preset={preset}",
            )
        )
        content: dict[str, Any] = {
            "title": self.title,
            "command": command,
            "seeds": seeds,
            "preset": preset,
            "trained_at": sorted(
                {str(commit) for one in found for commit in one.commits}
            ),
            "provenance": provenance(),
            "rows": [one.to_dict(rival_of(one, found)) for one in found],
        }
        path = log.path.parent / f"{name}.json"
        runs.write(path, json.dumps(content, indent=1) + "\n")
        spread = (
            f"mean ± standard deviation over {seeds} seeds; gains and p (a "
            "two-sided t-test) are paired by seed"
            if seeds > 1
            else "one seed, with the 95% bootstrap interval over test rows"
        )
        runs.write(
            path.with_suffix(".md"),
            f"# {self.title}\n\n{self.explanation}\n\nPreset `{preset}`, test "
            f"split, in percent: {spread}. Written by `{command}`.\n\n"
            f"{self.table(found)}\n",
        )
        if self.figure is not None:
            self.figure(found, path.with_suffix(".png"))

    def _say(self, log: RunLog, left: Sequence[Any], jobs: int) -> None:
        for run in left:
            seconds = trainer.estimate(log, run)
            print(
                f"{run.key}  {run.label}"
                + (f"  about {seconds:.0f} s" if seconds else "")
            )
        known = [trainer.estimate(log, run) for run in left]
        total = sum(seconds for seconds in known if seconds) / jobs
        unknown = sum(seconds is None for seconds in known)
        print(
            f"{len(left)} runs are missing: about {total / 60:.0f} min, {jobs} "
            "at a time"
            + (f"; {unknown} of them nobody can tell yet" if unknown else ""),
            file=sys.stderr,
        )


def _shown(arm: Arm) -> str:
    """A data set's path as a command may name it: from the checkout's root."""
    path = pathlib.Path(arm.data.path)
    return f"data/{path.name}" if path.parent.name == "data" else str(path)
