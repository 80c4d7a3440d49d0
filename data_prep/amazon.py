r"""Prepares Amazon's reviews, as the MLoRA paper's Amazon-6 was made.

A domain is a category, a click is a review, whatever its rating, and rows
that weren't clicked are drawn: see `data_prep.implicit`. Each split has its
60, 20 or 20% of a category's rows and the same share of clicks; the published
code's odder sizes are those of `--negatives=per_user`.

    python -m data_prep.amazon --raw=amazon/ --output=data/amazon-6 \
        --categories=Musical_Instruments,Office_Products,\
    Patio_Lawn_and_Garden,Prime_Pantry,Toys_and_Games,Video_Games

`--raw` is a folder with one file of each category, as published by the
reviews' collectors (https://nijianmo.github.io/amazon/ for 2018,
https://jmcauley.ucsd.edu/data/amazon/ for 2014):

- `{Category}_5.json.gz` (users and items of at least 5 reviews, which the
  paper used) or `{Category}.json.gz`, also named `reviews_...` in 2014: a
  JSON object a line, of which `reviewerID` and `asin` are read, and `overall`
  if there is a `--min_rating`.
- `ratings_{Category}.csv` of 2014: `user,item,rating,timestamp`.
- `{Category}.csv` of 2018: `item,user,rating,timestamp`. The two have no
  header, and only their names tell which comes first.

Each may be compressed, with a name that ends in .gz, or not.

Users are shared across domains. Who has reviewed an item of a category several
times has clicked it once. (The published code keeps such a pair once for each
different rating, so that one copy may be in train and another in test.) With
`--min_rating`, lower reviews count for nothing: an item with no other is out,
and one that a user disliked may be drawn for that user.

Six categories of 1.35 million clicks take about 15 seconds.
"""

import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from absl import logging

from data_prep import amazon_files
from data_prep import amazon_lines
from data_prep import amazon_reviews
from data_prep import binary
from data_prep import folder
from data_prep import implicit
from data_prep import splits
from data_prep import staging
from data_prep.features import sparse
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import PreparationError


def prepare(
    raw: str | pathlib.Path,
    output: str | pathlib.Path,
    categories: Sequence[str] | None = None,
    min_rating: float | None = None,
    negatives: str = "per_domain",
    ctr_low: float = 0.2,
    ctr_high: float = 0.5,
    workers: int | None = None,
    seed: int = 123,
    overwrite: bool = False,
) -> None:
    """Reads the categories' files and writes the prepared folder.

    Args:
        raw: The folder of the files.
        output: The prepared folder to write.
        categories: The domains, in order; None is all that have a file,
            sorted by name.
        min_rating: The lowest rating that counts as a click; None is any.
        negatives: How rows that weren't clicked are split: `"per_domain"` or
            `"per_user"`, see `implicit.split_rows`.
        ctr_low: The least of a domain's clicks to a row that wasn't clicked.
        ctr_high: The most.
        workers: Threads to draw with; None is one a core. The rows are the
            same for any number.
        seed: Seed of every random choice.
        overwrite: Whether a prepared folder of that name is replaced.
    """
    started = time.monotonic()
    staging.check_output(output, overwrite)
    if ctr_low > ctr_high:
        raise PreparationError(
            f"--ctr_low={ctr_low} is above --ctr_high={ctr_high}; swap them."
        )
    files = amazon_files.find(raw, categories)
    names = [file.category for file in files]
    clicks = amazon_reviews.read(files, min_rating)
    ctrs = implicit.ctrs(len(names), seed, ctr_low, ctr_high)
    rows = implicit.with_negatives(
        clicks.domain,
        clicks.user,
        clicks.item,
        ctrs,
        seed,
        workers or os.cpu_count() or 1,
    )
    _check_labels(rows, names)
    split = implicit.split_rows(rows, seed=seed, negatives=negatives)
    splits.check_split(split)
    manifest = folder.write(
        output,
        folder.Prepared(
            dataset="amazon",
            options={
                "categories": names,
                "min_rating": min_rating,
                "ctrs": dict(zip(names, ctrs, strict=True)),
                "negatives": negatives,
            },
            seed=seed,
            sources={file.path.name: _digest(file.path) for file in files},
            features=[
                sparse("user", clicks.users),
                sparse("item", clicks.items),
            ],
            domain_name="category",
            domains=names,
            columns={
                "user": rows.user + 1,
                "item": rows.item + 1,
                DOMAIN: rows.domain,
                LABEL: rows.label,
            },
            split=split,
        ),
        overwrite,
    )
    binary.log_counts(manifest)
    logging.info("Wrote %s in %.1f s", output, time.monotonic() - started)


def _check_labels(rows: implicit.Rows, names: Sequence[str]) -> None:
    """Raises unless each domain has rows that weren't clicked."""
    drawn = np.bincount(rows.domain[rows.label == 0], minlength=len(names))
    if not drawn.all():
        raise PreparationError(
            "all users have reviewed all items of "
            f"{names[int(drawn.argmin())]}, so that no row can have label 0; "
            "leave it out of --categories."
        )


def _digest(path: pathlib.Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        return staging.digest(stream)


def main() -> None:
    """Defines the flags, reads them and prepares."""
    binary.define_flags()
    flags.DEFINE_string(
        "raw", None, "The folder of the categories' files.", required=True
    )
    flags.DEFINE_list(
        "categories",
        None,
        "The domains, in order, parted by commas; all that have a file, "
        "sorted, unless given.",
    )
    flags.DEFINE_float(
        "min_rating",
        None,
        "The lowest rating that counts as a click; any, unless given.",
        lower_bound=0,
        upper_bound=amazon_lines.HIGHEST_RATING,
    )
    flags.DEFINE_enum(
        "negatives",
        "per_domain",
        implicit.NEGATIVES,
        "Split rows that weren't clicked by domain, or, as the published code "
        "does, by user.",
    )
    for name, default, end in (
        ("ctr_low", 0.2, "From"),
        ("ctr_high", 0.5, "To"),
    ):
        flags.DEFINE_float(
            name,
            default,
            f"{end} where each domain's clicks to a row that wasn't clicked "
            "are drawn.",
            lower_bound=implicit.LOWEST_CTR,
            upper_bound=1,
        )
    flags.DEFINE_integer(
        "workers",
        None,
        "Threads to draw with; one a core, unless given.",
        lower_bound=1,
    )
    binary.run(
        prepare,
        "raw",
        "categories",
        "min_rating",
        "negatives",
        "ctr_low",
        "ctr_high",
        "workers",
    )


if __name__ == "__main__":
    main()
