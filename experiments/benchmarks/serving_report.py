"""What the benchmark of serving found, as tables."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from experiments.benchmarks.report import Line
from experiments.benchmarks.report import from_dict
from experiments.benchmarks.report import table

GOAL = 1.05
"""The most that a folded domain may take over the plain model."""

LATENCIES = (
    "domains",
    "candidates",
    "answered by",
    "p50, ms",
    "p99, ms",
    "rows/s",
    "over plain",
)

SIZES = {
    "mlora": "MLoRA, MB",
    "mlora_bfloat16": "in bfloat16, MB",
    "mlora_without_signatures": "without those signatures, MB",
}
"""The exports whose sizes are shown."""


def lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The lines with goals: a folded domain over the plain model."""
    found = []
    for domains in dict.fromkeys(row["domains"] for row in rows):
        folded = [
            row
            for row in rows
            if (row["domains"], row["alternative"]) == (domains, "domain")
        ]
        sizes = ", ".join(f"{row['candidates']:,}" for row in folded)
        found.append(
            Line(
                f"folded domain over plain model, D = {domains:,}: requests "
                f"of {sizes} candidates",
                [row["ratio"] for row in folded],
                [GOAL],
            )
        )
    return found


def markdown(content: Mapping[str, Any], command: str) -> str:
    """The tables, and how to read them."""
    settings = content["settings"]
    latencies = [
        (
            f"{row['domains']:,}",
            f"{row['candidates']:,}",
            row["alternative"],
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            f"{row['rows_per_second']:,.0f}",
            f"{row['ratio']:.2f}",
        )
        for row in content["rows"]
    ]
    sizes = [
        (
            f"{size['domains']:,}",
            f"{size['signatures_of_domains']:,}",
            *(f"{size['bytes'][name] / 1e6:.1f}" for name in SIZES),
            f"{size['bytes_of_separate_models'] / 1e6:,.1f}",
        )
        for size in content["sizes"]
    ]
    parts = [
        table(map(from_dict, content["lines"])),
        _table(LATENCIES, latencies),
        _table(
            (
                "domains",
                "signatures of domains",
                *SIZES.values(),
                "as many plain models, MB",
            ),
            sizes,
        ),
    ]
    return (
        "# Serving\n\nRequests for one user in one domain to SavedModels in "
        "one process, call by call in turns; "
        f"{settings['num_ids']:,} users and as many items, hidden layers of "
        f"{', '.join(map(str, settings['hidden_units']))}. Ratios are medians "
        "over the turns. `plain` makes nothing of the domain; `mixed_all` is "
        "asked about candidates of all domains; `unmerged` is the Keras model "
        "in a graph.\n\nAll calls of a size have the same ids, so that the "
        "rows they look up are in the caches. rows/s is the candidates over "
        f"p50; p99 is of {settings['calls']:,} calls, without garbage "
        "collection of what was there before. Sizes are of whole folders: "
        "each of as many plain models has both whole vocabularies. "
        f"Written by `{command}`.\n\n" + "\n\n".join(parts) + "\n"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # Not `markdown_table`: the documents quote its rule, which has spaces.
    found = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in found)
