"""A table's numbers, arm by arm, read from the log of runs."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from experiments.study.arm import AnyArm
from experiments.study.run_log import RunLog
from experiments.study.statistics import Comparison

METRICS = ("wauc", "macro_auc", "auc", "user_auc", "logloss")


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
        """A domain's metric of the test split; NaN where undefined.

        So is `user_auc` of a run from before it was measured by domain.
        """
        scale = 100 if metric in ("auc", "user_auc") else 1
        values = [
            phase["test"]["domains"][index].get(metric) for phase in self.phases
        ]
        return [
            math.nan if value is None else scale * value for value in values
        ]

    def over(self, rival: "Result", metric: str = "wauc") -> Comparison:
        """Its gain over its rival, in test: `results` has the same seeds."""
        return self._compared(self.test(metric), rival.test(metric))

    def domain_over(
        self, rival: "Result", index: int, metric: str = "auc"
    ) -> Comparison:
        """Its gain in a domain, as `over`."""
        return self._compared(
            self.domain(index, metric), rival.domain(index, metric)
        )

    def _compared(
        self, values: Sequence[float], others: Sequence[float]
    ) -> Comparison:
        """Seed by seed, as many as this arm has."""
        return Comparison.of(
            values,
            others[: len(values)],
            independent=not self.arm.has_other_seeds,
        )

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
