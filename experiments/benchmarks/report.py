"""What the benchmarks found: lines with goals, as a Markdown table."""

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from experiments.markdown_table import markdown_table

HEADING = ("work", "measured", "goal", "met")


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the table.

    Args:
        work: What was measured, cases and all.
        measured: A number for each case.
        goals: The most that each case, or all of them, may be; none where
            there is no goal.
        unit: Of the numbers; ratios have none.
        stated: What is to be known beside numbers without a goal.
    """

    work: str
    measured: Sequence[float]
    goals: Sequence[float] = ()
    unit: str = ""
    stated: str = ""

    def __post_init__(self) -> None:
        if len(self.goals) not in (0, 1, len(self.measured)):
            raise ValueError(
                "goals must be one for each number, one for all, or none. "
                f"Received: measured={self.measured}, goals={self.goals}"
            )

    @property
    def met(self) -> list[bool]:
        """Whether each number is within its goal."""
        goals = self.goals
        if len(goals) == 1:
            goals = list(goals) * len(self.measured)
        # As it is, not as it is printed.
        return [
            number <= goal
            for number, goal in zip(self.measured, goals, strict=bool(goals))
        ]

    def to_dict(self) -> dict[str, Any]:
        """The line for JSON, with whether it is met."""
        return {**dataclasses.asdict(self), "met": self.met}


def from_dict(content: Mapping[str, Any]) -> Line:
    """The line that `to_dict` told."""
    return Line(**{k: v for k, v in content.items() if k != "met"})


def table(lines: Iterable[Line]) -> str:
    """The Markdown table."""
    return markdown_table(HEADING, map(_cells, lines))


def _cells(line: Line) -> list[str]:
    cells = [line.work, _numbers(line.measured, 2, line.unit)]
    if line.goals:
        met = ["yes" if one else "**no**" for one in line.met]
        # One word will do where all are alike.
        said = met if len(set(met)) > 1 else met[:1]
        cells.append(f"≤ {_numbers(line.goals, None, line.unit)}")
        cells.append(", ".join(said))
    else:
        cells += [line.stated or "—", "—"]
    return cells


def _numbers(numbers: Sequence[float], digits: int | None, unit: str) -> str:
    text = ", ".join(
        f"{number:g}" if digits is None else f"{number:.{digits}f}"
        for number in numbers
    )
    return f"{text} {unit}".rstrip()
