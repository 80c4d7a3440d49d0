"""Writes the data sets' statistics as Markdown."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from experiments.markdown_table import markdown_table
from experiments.markdown_table import row
from experiments.table1_paper import PAPER
from experiments.table1_paper import STAR_DOMAINS

SHOWN_DOMAINS = 30
"""The most domains of a data set that the Markdown lists; JSON lists all."""


def markdown(content: Mapping[str, Any]) -> str:
    """The tables in Markdown.

    Args:
        content: What `table1.json` holds.
    """
    ours = content["ours"]
    star = [
        {"name": f"#{i}", "share": share / 100, "ctr": ctr / 100}
        for i, (share, ctr) in enumerate(STAR_DOMAINS, start=1)
    ]
    parts = [
        "# The data sets",
        "MLoRA's Table 1 and our prepared folders. Of ours, users and items "
        "are those that occur, with the vocabulary's size in parentheses. "
        f"Written by `{content['command']}`.",
        _sizes(ours),
        *(f"{one['name']}: {one['note']}" for one in ours if one["note"]),
        *_missing(ours),
        "## Clicks, and what domains share",
        "How many users and items have rows in two or more domains.",
        _overlaps(ours),
        "## Domains",
        "Each domain's share of the training rows and its CTR there, as in "
        "STAR's Table 1, whose 19 domains are Alibaba's own and not public.",
        _domains("STAR's Table 1", star),
        *(_domains(one["name"], one["by_domain"]) for one in ours),
    ]
    return "\n\n".join(parts) + "\n"


def _missing(ours: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {one["paper"] for one in ours}
    missing = [name for name in PAPER if name not in found]
    if not missing:
        return []
    return [f"Not run, and no folder of ours: {', '.join(missing)}."]


def _sizes(ours: Sequence[Mapping[str, Any]]) -> str:
    # By hand: the empty cell has one space in the file that is there.
    lines = [
        "| data set | | domains | users | items | train | validation | test |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, sizes in PAPER.items():
        lines.append(row(name, "paper", *map(_number, sizes)))
        lines += [_our_sizes(one) for one in ours if one["paper"] == name]
    lines += [_our_sizes(one) for one in ours if one["paper"] is None]
    return "\n".join(lines)


def _our_sizes(one: Mapping[str, Any]) -> str:
    return row(
        one["name"],
        "ours",
        _number(one["domains"]),
        *(
            f"{one[f'{name}s']:,} ({one[f'{name}_vocabulary']:,})"
            if one[f"{name}s"] is not None
            else "-"
            for name in ("user", "item")
        ),
        *(_number(one[split]) for split in ("train", "valid", "test")),
    )


def _overlaps(ours: Sequence[Mapping[str, Any]]) -> str:
    heading = (
        "data set",
        "CTR of train",
        "validation",
        "test",
        "shared users",
        "shared items",
    )
    rows = [
        (
            one["name"],
            *map(_percent, one["ctr"].values()),
            *(
                _part(one[f"{name}_in_several_domains"], one[name])
                for name in ("users", "items")
            ),
        )
        for one in ours
    ]
    return markdown_table(heading, rows)


def _domains(title: str, domains: Sequence[Mapping[str, Any]]) -> str:
    largest = sorted(domains, key=lambda one: -one["share"])[:SHOWN_DOMAINS]
    if len(domains) > SHOWN_DOMAINS:
        title += f", the {SHOWN_DOMAINS} largest of {len(domains):,} domains"
        domains = largest
    rows = [
        (one["name"], _percent(one["share"]), _percent(one["ctr"]))
        for one in domains
    ]
    return markdown_table((title, "share", "CTR"), rows)


def _number(value: int) -> str:
    return f"{value:,}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def _part(part: int | None, whole: int) -> str:
    return "-" if part is None else f"{part:,} ({_percent(part / whole)})"
