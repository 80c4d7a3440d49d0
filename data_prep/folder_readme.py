"""The page that a prepared folder has for whoever finds it."""

from collections.abc import Mapping
from typing import Any

from data_prep.layout import TITLE
from data_prep.layout import Description
from data_prep.layout import short

SHOWN = 10
"""The most features, domains or files that are named."""

OPTION = 300
"""The most characters of an option."""


def readme(content: Description, manifest: Mapping[str, Any]) -> str:
    """What the folder is, what is in it, and what can be done with it.

    It names no path and no time: the same rows give the same bytes.

    Args:
        content: What the folder holds but the rows.
        manifest: What its `manifest.json` holds.
    """
    features = [feature["name"] for feature in content.features]
    options = "".join(
        f"- {name}: {short(value, OPTION)}\n"
        for name, value in content.options.items()
        if value not in (None, (), [], {})
    )
    counts = "\n".join(
        f"| {split} | {_total(cells, 'rows'):,} | {_total(cells, 'clicks'):,} |"
        for split, cells in manifest["counts"].items()
    )
    vectors = (
        "- `vectors.*.npy`: pretrained vectors, a row for each id\n"
        if any(name.startswith("vectors.") for name in manifest["files"])
        else ""
    )
    return f"""{TITLE}{content.dataset}

Made by mlora_tf's `data_prep`{_of(content)}, with the seed \
{content.seed}{_with(options)}

| split | rows | clicks |
|---|---|---|
{counts}

Features: {_named(features)}. A domain is a value of \
`{content.domain_name}`: {_named(content.domains)}.

- `train`, `valid`, `test`, each a `.parquet` or shards `-00000.parquet`: the \
rows; ids in place of categories, 0 for those without one; `domain` counts the \
domains from 0; `label` is 1 for a click
- `schema.json`: the features, each id's value, the domains
{vectors}- `manifest.json`: the command's options and seed, the SHA-256 of \
sources and files, rows and clicks by split and domain; its `fingerprint` is \
this data's name in every result

What to do next, with this folder in place of FOLDER:

{_next_step(content)}
"""


def _of(content: Description) -> str:
    return f" from {_named(sorted(content.sources))}" if content.sources else ""


def _next_step(content: Description) -> str:
    """Whoever prepares a log like an earlier one has a run already."""
    earlier = content.options.get("like")
    if earlier is None:
        return (
            "    python -m experiments.describe --data=FOLDER\n"
            "    python -m experiments.train --data=FOLDER --output=runs/mine"
        )
    command = "evaluate --run=RUN --data=FOLDER"
    if "new_domain" in content.options:
        command = "add_domain --run=RUN --data=FOLDER --output=runs/more"
    return (
        f"    python -m experiments.{command}\n\n"
        "RUN was trained on the folder whose fingerprint is\n"
        f"`{earlier}`, or on another with the same ids."
    )


def _with(options: str) -> str:
    return f" and these options:\n\n{options.rstrip()}" if options else "."


def _total(cells: Mapping[str, Mapping[str, int]], name: str) -> int:
    return sum(cell[name] for cell in cells.values())


def _named(names: Any) -> str:
    """Names in a sentence, the first ones alone if there are many."""
    names = list(names)
    shown = ", ".join(short(name) for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return shown + more
