r"""MLoRA's Table 1, the data sets' statistics, beside those of ours.

    python -m experiments.table1 --data=data/ml1m-gender,data/amazon-6

Counts domains, users, items and rows of every prepared folder, and how many
users and items several domains share; says each domain's share of the
training rows and its CTR, as STAR's Table 1 does. Writes `table1.json` and
`table1.md` to `--output`. A folder's rows are read a part at a time: a minute
for 50 million. For MovieLens-1M by gender expect the paper's rows, to the row,
and 6,040 users and 3,706 items; the paper's 6,041 and 3,953 are its highest
ids plus one.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import binary
from experiments import runs
from experiments.provenance import provenance
from experiments.study.chosen import RESULTS
from experiments.table1_markdown import markdown
from experiments.table1_paper import PAPER
from experiments.table1_paper import PAPER_CATEGORIES
from experiments.table1_paper import SIZES


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_list(
        "data", None, "The prepared folders, parted by commas.", required=True
    )
    flags.DEFINE_string(
        "output", str(RESULTS), "The folder that the tables are written to."
    )


def main() -> None:
    """Counts every folder's rows and writes the tables."""
    values = flags.FLAGS
    if not values.data:
        sys.exit("error: --data is empty: name prepared folders.")
    write(values.data, pathlib.Path(values.output))


def write(folders: Sequence[str], output: pathlib.Path) -> None:
    """Writes `table1.json` and `table1.md`.

    Args:
        folders: The prepared folders.
        output: Where to write.
    """
    content = {
        "command": f"python -m experiments.table1 --data={','.join(folders)}",
        "provenance": provenance(),
        "paper": {
            name: dict(zip(SIZES, sizes, strict=True))
            for name, sizes in PAPER.items()
        },
        "ours": [describe(pathlib.Path(folder)) for folder in folders],
    }
    output.mkdir(parents=True, exist_ok=True)
    runs.write(output / "table1.json", json.dumps(content, indent=1) + "\n")
    runs.write(output / "table1.md", markdown(content))


def describe(folder: pathlib.Path) -> dict[str, Any]:
    """The statistics of a prepared folder.

    Raises:
        DataError: It is no prepared folder, or damaged.
    """
    from experiments.table1_counts import Occurrences
    from experiments.table1_counts import count
    from mlora_tf import data
    from mlora_tf.schema import SparseFeature

    log = data.load(folder, "stream")
    content = json.loads((folder / "manifest.json").read_text("utf-8"))
    counts = content["counts"]
    rows = {split: _sum(counts[split], "rows") for split in data.SPLITS}
    name, paper, note = _named(content, rows)
    vocabularies = {
        feature.name: feature.num_ids
        for feature in log.schema.features
        if feature.name in ("user", "item")
        and isinstance(feature, SparseFeature)
    }
    occurrences = count(folder, log, vocabularies)
    found: dict[str, Any] = {
        "folder": str(folder),
        "fingerprint": log.fingerprint,
        "dataset": content["dataset"],
        "options": content["options"],
        "name": name,
        "paper": paper,
        "note": note,
        "domains": log.schema.num_domains,
    }
    for feature in ("user", "item"):
        seen: Occurrences | None = occurrences.get(feature)
        found |= {
            f"{feature}s": seen and seen.distinct,
            # Without the id of what is out of the vocabulary.
            f"{feature}_vocabulary": seen and vocabularies[feature] - 1,
            f"{feature}s_in_several_domains": seen and seen.in_several,
        }
    found |= rows
    found["ctr"] = {
        split: _sum(counts[split], "clicks") / rows[split]
        for split in data.SPLITS
    }
    found["by_domain"] = [
        {
            "name": domain,
            "share": counted["rows"] / rows["train"],
            "ctr": counted["rows"] and counted["clicks"] / counted["rows"],
        }
        for domain, counted in counts["train"].items()
    ]
    return found


def _named(
    content: Mapping[str, Any], rows: Mapping[str, int]
) -> tuple[str, str | None, str | None]:
    """What we call a data set, its row of the paper, and what to know."""
    dataset, options = content["dataset"], content["options"]
    domains = len(content["counts"]["train"])
    if dataset == "ml-1m":
        name = f"MovieLens-1M by {options['domain']}"
        if (options["domain"], options["positive_rating"]) != ("gender", 5):
            return name, None, None
        return "Movielens-gen", "Movielens-gen", None
    if dataset == "amazon":
        categories = options["categories"]
        if set(categories) == PAPER_CATEGORIES:
            return "Amazon-6", "Amazon-6", None
        name = f"Amazon-{domains} (substitute)"
        note = (
            "this is not the paper's Amazon-6, whose categories are others. "
            f"Ours are {', '.join(categories)}."
        )
        return name, "Amazon-6" if domains == 6 else None, note
    if dataset == "taobao":
        name = f"Taobao-{domains}"
        return name, name if name in PAPER else None, None
    # Others' archives don't say what they hold; the paper's rows do.
    for name, sizes in PAPER.items():
        if sizes[0] == domains and sizes[3:] == tuple(rows.values()):
            return f"{name} ({dataset})", name, None
    return f"{dataset}, {domains} domains", None, None


def _sum(counts: Mapping[str, Mapping[str, int]], key: str) -> int:
    return sum(one[key] for one in counts.values())


if __name__ == "__main__":
    define_flags()
    binary.run(main)
