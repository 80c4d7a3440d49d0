"""Results as tables of Markdown."""

import statistics
from collections.abc import Iterable
from collections.abc import Sequence

from experiments.markdown_table import markdown_table
from experiments.study.result import Result
from experiments.study.result import rival_of
from experiments.study.statistics import Comparison
from experiments.study.statistics import Summary

HEADINGS = {
    "wauc": "WAUC",
    "macro_auc": "macro AUC",
    "auc": "AUC",
    "user_auc": "user-weighted AUC",
    "pcoc": "PCOC",
}
"""By metric, its column's heading."""


def arm_table(
    found: Sequence[Result],
    metrics: Sequence[str] = ("wauc", "macro_auc"),
    same_data: bool = True,
) -> str:
    """A line for each arm, its gain over its rival beside it.

    Args:
        found: The arms' results.
        metrics: The columns; the first one is what the paper prints.
        same_data: Whether the paper's numbers are of the same data, so that
            levels compare. Of others, its gains stand beside ours.
    """
    with_paper = any(one.arm.paper is not None for one in found)
    heading = ["data", "model", "arm", "seeds"]
    for metric in metrics:
        heading += [HEADINGS[metric], "gain", "p"]
    if with_paper:
        heading += ["paper", "over paper" if same_data else "paper's gain"]
    rows = []
    for one in found:
        rival = rival_of(one, found)
        seeds = str(len(one.phases))
        cells = [one.arm.data.name, one.arm.group, one.arm.name, seeds]
        for metric in metrics:
            cells += [measured(one, metric), *gain(one, rival, metric)]
        if with_paper and same_data:
            cells += _beside_paper(one, metrics[0])
        elif with_paper:
            cells += [
                _number(one.arm.paper),
                _paper_gain([one], rival) if rival else "",
            ]
        rows.append(cells)
    return markdown_table(heading, rows)


def gain_table(
    found: Sequence[Result], metrics: Sequence[str] = ("wauc", "macro_auc")
) -> str:
    """A line for each rival: its metric, and what the others gain over it.

    Args:
        found: The arms' results.
        metrics: What is gained. The first one is what the paper prints; of the
            others the last arm's gain alone is shown.
    """
    named = [one.arm.name for one in found if one.arm.rival]
    names = list(dict.fromkeys(named))
    of_paper = any(one.arm.paper is not None for one in found)
    main, *others = metrics
    columns = [(main, name) for name in names]
    more = [(metric, name) for metric in others for name in names[-1:]]
    heading = ["data", "model", "seeds", f"{HEADINGS[main]} of the base"]
    if of_paper:
        heading.append("paper's")
    heading += [f"gain, {_brief(name)}" for _, name in columns]
    if of_paper:
        heading.append("paper's gain")
    heading += [
        f"{HEADINGS[metric]} gain, {_brief(name)}" for metric, name in more
    ]
    rows = []
    for rival in found:
        arms = {
            one.arm.name: one for one in found if rival_of(one, found) is rival
        }
        if not arms:
            continue
        place = rival.arm.data.name, rival.arm.group, str(len(rival.phases))
        cells = [*place, measured(rival, main)]
        if of_paper:
            cells.append(_number(rival.arm.paper))
        cells += [
            _gain_cell(arms.get(name), rival, metric)
            for metric, name in columns
        ]
        if of_paper:
            cells.append(_paper_gain(arms.values(), rival))
        cells += [
            _gain_cell(arms.get(name), rival, metric) for metric, name in more
        ]
        rows.append(cells)
    return markdown_table(heading, rows)


def mean_table(found: Sequence[Result]) -> str:
    """A line for each data set: means over its models, as the paper's Avg.

    Each model counts once, whatever its seeds. A cell says of how many models
    it is.
    """
    names = list(dict.fromkeys(one.arm.name for one in found if one.arm.rival))
    heading = ["data", "WAUC of the base", "paper's"]
    heading += [f"gain, {_brief(name)}" for name in names]
    rows = []
    for data in dict.fromkeys(one.arm.data for one in found):
        mine = [one for one in found if one.arm.data == data]
        bases = {one.arm.group: one for one in mine if not one.arm.rival}
        waucs = [Summary.of(one.test("wauc")).mean for one in bases.values()]
        printed = [one.arm.paper for one in bases.values()]
        cells = [data.name, _mean(waucs), _mean(printed)]
        paper_gains = {}
        for name in names:
            arms = [one for one in mine if one.arm.name == name]
            pairs = [(one, bases[one.arm.group]) for one in arms]
            gains = [one.over(base).gain.mean for one, base in pairs]
            cells.append(_mean(gains, sign=True))
            for one, base in pairs:
                if one.arm.paper is not None and base.arm.paper is not None:
                    difference = one.arm.paper - base.arm.paper
                    paper_gains[one.arm.group] = difference
        rows.append((*cells, _mean(list(paper_gains.values()), sign=True)))
    return markdown_table((*heading, "paper's gain"), rows)


def domain_table(
    found: Sequence[Result],
    metric: str = "auc",
    digits: int = 2,
    overall: str | None = None,
) -> str:
    """A line for each arm, a column for each domain of its data set.

    Below an arm with a rival is a line of its gains, bold where the paired
    test over the seeds finds one.

    Args:
        found: The arms' results.
        metric: Of the domains.
        digits: Of each number.
        overall: A metric of all rows to have before the domains'.
    """
    parts = []
    for data in dict.fromkeys(one.arm.data for one in found):
        rows = []
        for one in found:
            if one.arm.data != data:
                continue
            place = data.name, one.arm.group, one.arm.name
            domains = range(len(data.domains))
            values = [one.domain(i, metric) for i in domains]
            if overall:
                values.insert(0, one.test(overall))
            cells = [Summary.of(some).text(digits=digits) for some in values]
            rows.append((*place, HEADINGS[metric], *cells))
            rival = rival_of(one, found)
            if rival is None:
                continue
            gains = [one.domain_over(rival, i, metric) for i in domains]
            if overall:
                gains.insert(0, one.over(rival, overall))
            cells = [_marked(some, digits) for some in gains]
            rows.append((*place, "gain", *cells))
        heading = ["data", "model", "arm", ""]
        if overall:
            heading.append(HEADINGS[overall])
        heading += data.domains
        parts.append(markdown_table(heading, rows))
    return "\n\n".join(parts)


def measured(one: Result, metric: str) -> str:
    """A metric over the seeds; of one seed with its bootstrap interval."""
    values = one.test(metric)
    text = Summary.of(values).text()
    ends = one.phases[0]["test"]["intervals"].get(metric)
    if len(values) == 1 and ends is not None:
        text += f" [{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]"
    return text


def gain(one: Result, rival: Result | None, metric: str) -> tuple[str, str]:
    """The gain, bold where a test says so, and p."""
    if rival is None:
        return "", ""
    found = one.over(rival, metric)
    return _marked(found), found.p_text


def _marked(found: Comparison, digits: int = 2) -> str:
    text = found.gain.text(sign=True, digits=digits)
    return f"**{text}**" if found.significant else text


def _brief(name: str) -> str:
    """An arm's name beside others that have adapters too."""
    return name.removeprefix("+ MLoRA, ")


def _gain_cell(one: Result | None, rival: Result, metric: str) -> str:
    """As "**+0.62 ± 0.01** (p .003)"; empty where there is no such arm.

    Of fewer seeds than the line's it says so.
    """
    if one is None:
        return ""
    text, p = gain(one, rival, metric)
    seeds = len(one.phases)
    notes = [f"p {p}"] if p else []
    if seeds < len(rival.phases):
        notes.append("1 seed" if seeds == 1 else f"{seeds} seeds")
    return f"{text} ({', '.join(notes)})" if notes else text


def _paper_gain(arms: Iterable[Result], rival: Result) -> str:
    """What the paper's numbers gain, the same for all of its adapters."""
    base = rival.arm.paper
    printed = {one.arm.paper for one in arms if one.arm.paper is not None}
    if base is None or len(printed) != 1:
        return ""
    return f"{printed.pop() - base:+.2f}"


def _mean(values: Sequence[float | None], sign: bool = False) -> str:
    """As "81.70 (of 10)", of those that there are; empty if there are none."""
    there = [one for one in values if one is not None]
    if not there:
        return ""
    plus = "+" if sign else ""
    return f"{statistics.mean(there):{plus}.2f} (of {len(there)})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _beside_paper(one: Result, metric: str) -> list[str]:
    paper = one.arm.paper
    if paper is None:
        return ["", ""]
    over = Summary.of([value - paper for value in one.test(metric)])
    return [f"{paper:.2f}", f"{over.mean:+.2f}" if over.text() else ""]
