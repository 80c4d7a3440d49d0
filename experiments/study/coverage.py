"""Which rows of every table have runs, and with how many seeds."""

import pathlib
from collections.abc import Iterable
from collections.abc import Sequence

from experiments.markdown_table import markdown_table
from experiments.study.arm import AnyArm
from experiments.study.arm import Arm
from experiments.study.comparisons import comparable
from experiments.study.comparisons import run_keys
from experiments.study.known_data import data_sets
from experiments.study.result import Result
from experiments.study.result import results
from experiments.study.run_log import RunLog
from experiments.study.study import Study

TITLE = "What has run, and what hasn't"


def markdown(log: RunLog, studies: Iterable[Study]) -> str:
    """A line for each table and each data set that it has or is meant for.

    Args:
        log: The finished runs.
        studies: The tables.
    """
    heading = ("table", "preset", "data", "rows with runs", "seeds", "without")
    rows = []
    for study in studies:
        shown: set[str] = set()
        for preset in study.presets:
            rows += _rows(log, study, preset, shown)
    return (
        f"# {TITLE}\n\nOf each table and each data set that it has runs of or "
        "is meant for: how many of its rows have runs and compare, the fewest "
        "and the most seeds of a row, and the rows that are missing, by model. "
        "Written by `python -m experiments.report`; a table's own command "
        "trains what it lacks, and its `--dry_run` says how long that takes."
        f"\n\n{markdown_table(heading, rows)}\n"
    )


def _rows(
    log: RunLog, study: Study, preset: str, shown: set[str]
) -> list[tuple[str, ...]]:
    """A preset's rows; runs that are shown already need no row more."""
    sets = data_sets(log)
    meant = {pathlib.PurePath(path).name for path in study.data}
    by_data = {
        data: [arm for arm in study.arms(data, preset) if isinstance(arm, Arm)]
        for data in sets
    }
    every = [arm for arms in by_data.values() for arm in arms]
    found = comparable(results(log, every))
    rows: list[tuple[str, ...]] = []
    for data, arms in by_data.items():
        there = [one for one in found if one.arm.data == data]
        needed = data.name in meant and preset == study.presets[0]
        if run_keys(there) <= shown and not needed:
            continue
        shown |= run_keys(there)
        rows.append(
            (
                study.name,
                preset,
                data.name,
                f"{len(there)} of {len(arms)}",
                _seeds(there),
                _without(arms, [one.arm for one in there]),
            )
        )
    return rows


def _seeds(found: Sequence[Result]) -> str:
    """The fewest and the most."""
    counts = [len(one.phases) for one in found]
    ends = sorted({min(counts), max(counts)}) if counts else []
    return " to ".join(map(str, ends))


def _without(arms: Sequence[Arm], there: Sequence[AnyArm]) -> str:
    """By model the rows that are missing: its name alone, if all of them."""
    by_group: dict[str, list[Arm]] = {}
    for arm in arms:
        by_group.setdefault(arm.group, []).append(arm)
    texts = []
    for group, mine in by_group.items():
        names = [arm.name for arm in mine if arm not in there]
        if names:
            whole = len(names) == len(mine)
            texts.append(group if whole else f"{group} ({'; '.join(names)})")
    return ", ".join(texts)
