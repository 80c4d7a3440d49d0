"""A row of a study's table: a model, trained with every seed."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from experiments.study import best_by_domain
from experiments.study.data_set import DataSet
from experiments.study.run import Run
from experiments.study.run_log import RunLog
from mlora_tf.recipes import Recipe


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

    @property
    def has_other_seeds(self) -> bool:
        """Whether its runs of a seed are another arm's of another seed."""
        return self.later != 0

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

    @property
    def has_other_seeds(self) -> bool:
        """As `Arm.has_other_seeds`."""
        return any(arm.has_other_seeds for arm in self.among)

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
