"""A table of a paper as a command: its flags, its runs, its files."""

import collections
import dataclasses
import json
import os
import pathlib
import shlex
import sys
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Sequence
from typing import Any

from absl import flags
from rich.console import Console

from experiments import runs
from experiments.errors import RunError
from experiments.provenance import provenance
from experiments.study import trainer
from experiments.study.arm import AnyArm
from experiments.study.chosen import RESULTS
from experiments.study.comparisons import comparable
from experiments.study.comparisons import rounding_note
from experiments.study.comparisons import run_keys
from experiments.study.data_set import DataSet
from experiments.study.known_data import data_sets
from experiments.study.markdown import arm_table
from experiments.study.result import Result
from experiments.study.result import results
from experiments.study.result import rival_of
from experiments.study.run_log import RunLog

READING = (
    "Test split, in percent: mean ± standard deviation over the seeds; of one "
    "seed, with its 95% bootstrap interval over the rows. Gains and p (a "
    "two-sided t-test) are paired by seed; bold is p < .05. No p is corrected "
    "for their number, of which one in twenty is below .05 by chance."
)
"""How to read a table's cells."""


@dataclasses.dataclass(frozen=True)
class Study:
    """A table or figure.

    Args:
        name: Of its files.
        title: Its heading.
        explanation: What its rows are, in a paragraph of Markdown.
        arms: Makes its rows for a data set and a preset.
        table: Makes its Markdown from the results.
        of_domains: The metric of each domain that its JSON has, if any.
        data: The folders that it is about, where --data says nothing.
        figure: Draws a figure from the results to a path, if there is one.
        presets: Those it can have; the first is the default.
        series: What a row is one point of, where a table is of series: one
            with a single point of gain isn't shown.
    """

    name: str
    title: str
    explanation: str
    arms: Callable[[DataSet, str], Sequence[AnyArm]]
    table: Callable[[Sequence[Result]], str] = arm_table
    of_domains: str | None = None
    figure: Callable[[Sequence[Result], pathlib.Path], None] | None = None
    data: tuple[str, ...] = ("data/ml1m-gender",)
    presets: tuple[str, ...] = ("tuned", "release", "paper")
    series: Callable[[AnyArm], Hashable] | None = None

    def define_flags(self) -> None:
        """Defines the flags that all studies share."""
        flags.DEFINE_list("data", list(self.data), "Prepared folders.")
        flags.DEFINE_list(
            "models",
            None,
            "Train these rows alone, by model or by name: mlp,star or "
            "Base,STAR.",
        )
        flags.DEFINE_integer("seeds", 5, "How many seeds.", lower_bound=1)
        flags.DEFINE_enum(
            "preset",
            self.presets[0],
            self.presets,
            "paper: what the text says. release: close to what the published "
            "code does. tuned: ours, with what experiments.search chose.",
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
        if not values.data:
            raise RunError("--data is empty: name prepared folders.")
        console = Console(stderr=True)
        output = pathlib.Path(values.output)
        log = RunLog(output / "runs.jsonl")
        sets = [DataSet.open(path, output) for path in values.data]
        if values.preset == "tuned":
            _warn_of_unsearched(sets, console)
        arms = [arm for data in sets for arm in self.arms(data, values.preset)]
        if values.models:
            arms = named(arms, values.models)
        # Seed by seed, so that a part of it is a table already.
        wanted = [
            run
            for seed in range(values.seeds)
            for arm in arms
            if arm.find(log, seed) is None
            for run in arm.runs(seed)
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
        log = RunLog(log.path)  # with what others have added meanwhile
        if self.write(log, values.preset, self._given(values)) is None:
            console.print(
                f"No table is written: none of its rows compare, or all are of "
                f"the same runs as with --preset={self.presets[0]}."
            )

    def write(
        self, log: RunLog, preset: str, command: str | None = None
    ) -> pathlib.Path | None:
        """Writes the files: all data sets that the log has runs of.

        Args:
            log: The finished runs; the files are beside it.
            preset: Whose rows.
            command: What has trained them; None: what trains all of them.

        Returns:
            The Markdown file; None, and no file, if nothing compares, or if
            all runs are those of the first preset.
        """
        found = self._found(log, preset)
        if not found:
            return None
        name, title = self.name, self.title
        if preset != self.presets[0]:
            name, title = f"{name}_{preset}", f"{title} ({preset})"
            if run_keys(found) == run_keys(self._found(log, self.presets[0])):
                return None
        path = log.path.parent / f"{name}.json"
        source = f"Written by `{command}`."
        if command is None:
            command = self._command(found, preset)
            source = (
                "Written by `python -m experiments.report`, of the runs that "
                f"are there; `{command}` trains those that it lacks."
            )
        content: dict[str, Any] = {
            "title": title,
            "command": command,
            "preset": preset,
            "trained_at": sorted(
                {str(commit) for one in found for commit in one.commits}
            ),
            "provenance": provenance(),
            "rows": [
                one.to_dict(rival_of(one, found), self.of_domains)
                for one in found
            ],
        }
        runs.write(path, json.dumps(content, indent=1) + "\n")
        text = path.with_suffix(".md")
        runs.write(
            text,
            f"# {title}\n\n{self.explanation}\n\n{READING} Preset "
            f"`{preset}`. {source}{rounding_note(found)}\n\n"
            f"{self.table(found)}\n",
        )
        if self.figure is not None:
            self.figure(found, path.with_suffix(".png"))
        return text

    def _found(self, log: RunLog, preset: str) -> list[Result]:
        arms = [
            arm for data in data_sets(log) for arm in self.arms(data, preset)
        ]
        found = comparable(results(log, arms))
        if self.series is None:
            return found
        series = [self.series(one.arm) for one in found]
        points = collections.Counter(
            one
            for one, result in zip(series, found, strict=True)
            if result.arm.rival
        )
        return [
            result
            for one, result in zip(series, found, strict=True)
            if points[one] > 1
        ]

    def _command(self, found: Sequence[Result], preset: str) -> str:
        data = dict.fromkeys(f"data/{one.arm.data.name}" for one in found)
        seeds = max(len(one.phases) for one in found)
        return self._line(list(data), None, seeds, preset)

    def _given(self, values: Any) -> str | None:
        """The command as it was given, where its tables are somebody's own."""
        if pathlib.Path(values.output).resolve() == RESULTS.resolve():
            return None
        return self._line(
            values.data,
            values.models,
            values.seeds,
            values.preset,
            f"--output={values.output}",
        )

    def _line(
        self,
        data: Sequence[str],
        models: Sequence[str] | None,
        seeds: int,
        preset: str,
        *more: str,
    ) -> str:
        return shlex.join(
            [
                "python",
                "-m",
                f"experiments.{self.name}",
                f"--data={','.join(data)}",
                *([f"--models={','.join(models)}"] if models else []),
                f"--seeds={seeds}",
                f"--preset={preset}",
                *more,
            ]
        )

    def _say(self, log: RunLog, left: Sequence[Any], jobs: int) -> None:
        known = [trainer.estimate(log, run) for run in left]
        for run, seconds in zip(left, known, strict=True):
            print(
                f"{run.key}  {run.label}"
                + (f"  about {seconds:.0f} s" if seconds else "")
            )
        minutes = sum(seconds for seconds in known if seconds) / jobs / 60
        unknown = sum(seconds is None for seconds in known)
        about = f": about {minutes:.0f} min, {jobs} at a time"
        if unknown == len(known):
            about = "; no run on these data tells how long they take"
        elif unknown:
            about += f", and {unknown} that nobody can tell yet"
        print(
            f"{len(left)} runs are missing{about if left else ''}.",
            file=sys.stderr,
        )


def _warn_of_unsearched(sets: Sequence[DataSet], console: Console) -> None:
    for data in sets:
        if not data.chosen:
            console.print(
                f"Nothing was chosen on {data.name} (fingerprint "
                f"{data.fingerprint[:8]}), so that `tuned` is its plain preset "
                "there and its base may lack a penalty. python -m "
                f"experiments.search --data={data.path} chooses. A fingerprint "
                "is of the files' bytes, which another version of pyarrow "
                "writes differently.",
                soft_wrap=True,
                highlight=False,
            )


def named(arms: Sequence[AnyArm], models: Sequence[str]) -> list[AnyArm]:
    """The rows whose model, or own name, is among those.

    Raises:
        RunError: A name is nobody's.
    """
    known = dict.fromkeys(
        [arm.group for arm in arms] + [arm.name for arm in arms]
    )
    if not set(models) <= set(known):
        quoted = [f'"{one}"' if "," in one else one for one in known]
        raise RunError(
            f"--models must be among {', '.join(quoted)}. "
            f"Received: {','.join(models)}"
        )
    return [arm for arm in arms if arm.group in models or arm.name in models]
