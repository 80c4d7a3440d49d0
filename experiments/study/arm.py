"""A row of a study's table: a model, trained with every seed."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from experiments.study import best_by_domain
from experiments.study.data_set import DataSet
from experiments.study.run import Run
from experiments.study.run_log import RunLog
from experiments.study.statistics import Comparison
from mlora_tf.recipes import Recipe

METRICS = ("wauc", "macro_auc", "auc", "user_auc", "logloss")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One model of a table on one data set.

    Args:
        data: The data set.
        group: What its rivals share with it: a backbone, or a width.
        name: Its name among them.
        recipe: What to train and how, with any seed.
        rival: Name of the arm of its group that its gain is over; None if
            others' gains are over it.
        phase: Which of the run's phases it is: -1 is the last. The first one
            of a run in two phases, 0, is its base: any run that has trained
            the same one counts, alone or with other adapters after it.
        paper: The paper's own number, in percent, if it has one.
        later: By how much the seeds of its runs are later than the others'.
    """

    data: DataSet
    group: str
    name: str
    recipe: Recipe
    rival: str | None = None
    phase: int = -1
    paper: float | None = None
    later: int = 0

    @property
    def label(self) -> str:
        """What it trains, in a few words."""
        return self.run(0).label

    def runs(self, seed: int) -> list[Run]:
        """The runs that it needs with a seed."""
        return [self.run(seed)]

    def run(self, seed: int) -> Run:
        """Its run of a seed."""
        recipe = dataclasses.replace(self.recipe, seed=seed + self.later)
        return Run(self.data, recipe)

    def find(self, log: RunLog, seed: int) -> "Found | None":
        """What the log has of it with a seed, if anything."""
        run = self.run(seed)
        if run in log:
            return Found.of(run.key, log[run], self.phase)
        other = log.with_base(run) if self.phase == 0 else None
        return None if other is None else Found.of(other, log.rows[other], 0)


@dataclasses.dataclass(frozen=True)
class ChosenArm:
    """What validation chooses of some arms: a row without runs of its own.

    It stands where they do: with the first one's data, group, rival, paper's
    number and recipe.

    Args:
        name: Its name in their group.
        among: The arms, of which it is, seed by seed, the one with the best
            WAUC in validation.
        by_domain: Whether validation chooses domain by domain instead.
    """

    name: str
    among: Sequence[Arm]
    by_domain: bool = False

    @property
    def data(self) -> DataSet:
        """The data set."""
        return self.among[0].data

    @property
    def group(self) -> str:
        """What its rivals share with it."""
        return self.among[0].group

    @property
    def recipe(self) -> Recipe:
        """The first one's."""
        return self.among[0].recipe

    @property
    def rival(self) -> str | None:
        """Name of the arm of its group that its gain is over."""
        return self.among[0].rival

    @property
    def paper(self) -> float | None:
        """The paper's own number, in percent, if it has one."""
        return self.among[0].paper

    @property
    def label(self) -> str:
        """Of what it is chosen."""
        names = ", ".join(repr(arm.name) for arm in self.among)
        how = ", domain by domain" if self.by_domain else ""
        return f"the best in validation of {names}{how}"

    def runs(self, seed: int) -> list[Run]:
        """The runs that it needs with a seed."""
        return [arm.run(seed) for arm in self.among]

    def find(self, log: RunLog, seed: int) -> "Found | None":
        """What the log has of it with a seed: nothing, if it lacks a run."""
        each = [arm.find(log, seed) for arm in self.among]
        there = [found for found in each if found is not None]
        if len(there) < len(each):
            return None
        if self.by_domain:
            return Found.best_by_domain(there)
        return max(there, key=Found.valid_wauc)


AnyArm = Arm | ChosenArm
"""A row of a table."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What the log has of an arm with a seed.

    Attributes:
        keys: The run's, or, domain by domain, the runs'.
        rows: Their rows in the log.
        phase: What a row has of the model.
    """

    keys: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    phase: dict[str, Any]

    @classmethod
    def of(cls, key: str, row: dict[str, Any], phase: int) -> "Found":
        """A phase of a run."""
        return cls((key,), (row,), row["phases"][phase])

    @classmethod
    def best_by_domain(cls, several: Sequence["Found"]) -> "Found":
        """What validation chooses of several models, domain by domain."""
        return cls(
            tuple(key for one in several for key in one.keys),
            tuple(row for one in several for row in one.rows),
            best_by_domain.best([one.phase for one in several]),
        )

    def valid_wauc(self) -> float:
        """Its WAUC on the validation split."""
        wauc: float = self.phase["valid"]["wauc"]
        return wauc


@dataclasses.dataclass(frozen=True)
class Result:
    """An arm's numbers, seed by seed.

    Attributes:
        arm: The arm.
        phases: Its phase of every run, as the log has it.
        keys: The runs' keys.
        seconds: What each run took, all of its phases.
        commits: The commits that the runs were trained at.
        arithmetic: What their machines' rounding depends on, as far as known.
    """

    arm: AnyArm
    phases: tuple[dict[str, Any], ...]
    keys: tuple[str, ...]
    seconds: tuple[float, ...]
    commits: frozenset[str | None]
    arithmetic: frozenset[tuple[str, str]] = frozenset()

    @property
    def epoch_seconds(self) -> float:
        """What an epoch of training took in the fastest run."""
        return min(
            phase["train_seconds"] / phase["epochs"] for phase in self.phases
        )

    def test(self, metric: str) -> list[float]:
        """A metric of the test split: percent, but for logloss.

        NaN where it is undefined, as `user_auc` of data without users.
        """
        return self._of("test", metric)

    def valid(self, metric: str) -> list[float]:
        """A metric of the validation split, as `test`."""
        return self._of("valid", metric)

    def _of(self, split: str, metric: str) -> list[float]:
        scale = 1 if metric == "logloss" else 100
        values = [phase[split][metric] for phase in self.phases]
        return [math.nan if one is None else scale * one for one in values]

    def domain(self, index: int, metric: str) -> list[float]:
        """A domain's metric of the test split; NaN where undefined."""
        scale = 100 if metric == "auc" else 1
        values = [
            phase["test"]["domains"][index][metric] for phase in self.phases
        ]
        return [
            math.nan if value is None else scale * value for value in values
        ]

    def over(self, rival: "Result", metric: str = "wauc") -> Comparison:
        """Its gain over its rival, in test: `results` has the same seeds."""
        others = rival.test(metric)[: len(self.phases)]
        return Comparison.of(self.test(metric), others)

    def domain_over(
        self, rival: "Result", index: int, metric: str = "auc"
    ) -> Comparison:
        """Its gain in a domain, as `over`."""
        others = rival.domain(index, metric)[: len(self.phases)]
        return Comparison.of(self.domain(index, metric), others)

    def to_dict(
        self, rival: "Result | None" = None, of_domains: str | None = None
    ) -> dict[str, Any]:
        """All of it as JSON-ready values.

        Args:
            rival: What its gains are over.
            of_domains: A metric to have of each domain besides.
        """
        arm = self.arm
        last = self.phases[-1]
        content: dict[str, Any] = {
            "data": arm.data.name,
            "group": arm.group,
            "arm": arm.name,
            "paper": arm.paper,
            "backbone": arm.recipe.backbone,
            "tower": arm.recipe.tower,
            "recipe": arm.label,
            "runs": list(self.keys),
            "seeds": len(self.phases),
            "seconds": round(statistics.mean(self.seconds), 1),
            "phase": last["phase"],
            "parameters": last["parameters"],
            "domain_parameters": last["domain_parameters"],
            **{
                metric: _rounded(self.test(metric))
                for metric in METRICS
                if last["test"][metric] is not None
            },
            "valid_wauc": _rounded(self.valid("wauc")),
            "best_epoch": [phase["best_epoch"] for phase in self.phases],
            "interval": last["test"]["intervals"]["wauc"],
        }
        if of_domains is not None:
            content["domains"] = {
                name: [
                    None if math.isnan(value) else round(value, 5)
                    for value in self.domain(index, of_domains)
                ]
                for index, name in enumerate(arm.data.domains)
            }
        if rival is not None:
            for metric in ("wauc", "macro_auc"):
                found = self.over(rival, metric)
                content[f"{metric}_gain"] = _rounded(found.gain.values)
                content[f"{metric}_p"] = None if found.p_text == "" else found.p
        return content


def results(log: RunLog, arms: Iterable[AnyArm]) -> list[Result]:
    """Reads the numbers of all arms that the log has runs of.

    An arm is read with as many seeds as it has, counted from 0, but with no
    more than its rival is read with, so that all of them are in its gain. An
    arm without a run is left out.
    """
    trained = [(arm, seeds) for arm in arms if (seeds := _seeds(log, arm))]
    by_name = {
        (arm.data, arm.group, arm.name): (arm, seeds) for arm, seeds in trained
    }

    def common(arm: AnyArm, seeds: int) -> int:
        """The fewest of an arm, its rival, the rival's rival and so on."""
        rival = by_name.get((arm.data, arm.group, arm.rival or ""))
        return min(seeds, common(*rival)) if rival else seeds

    return [_result(log, arm, common(arm, seeds)) for arm, seeds in trained]


def rival_of(one: Result, others: Sequence[Result]) -> Result | None:
    """The result that one's gain is over, if it is there."""
    for other in others:
        same = (other.arm.data, other.arm.group) == (
            one.arm.data,
            one.arm.group,
        )
        if same and other.arm.name == one.arm.rival:
            return other
    return None


def _seeds(log: RunLog, arm: AnyArm) -> int:
    """How many seeds of an arm, counted from 0, are in the log."""
    return next(
        seeds for seeds in itertools.count() if arm.find(log, seeds) is None
    )


def _result(log: RunLog, arm: AnyArm, seeds: int) -> Result:
    found = [one for seed in range(seeds) if (one := arm.find(log, seed))]
    origins = [row["provenance"] for one in found for row in one.rows]
    return Result(
        arm,
        tuple(one.phase for one in found),
        tuple(key for one in found for key in one.keys),
        tuple(sum(row["seconds"] for row in one.rows) for one in found),
        frozenset(one["commit"] for one in origins),
        frozenset(
            (one["cpu"], one["onednn"]) for one in origins if "cpu" in one
        ),
    )


def _rounded(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(one) else round(one, 5) for one in values]
