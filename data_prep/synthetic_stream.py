"""Writes a synthetic log that is too long for memory, chunk by chunk."""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from data_prep import binary
from data_prep import features
from data_prep import progress
from data_prep import splits
from data_prep import synthetic_world
from data_prep.best_auc import BestAUC
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import SPLITS
from data_prep.layout import Description
from data_prep.synthetic_world import DEVICES
from data_prep.writer import Writer

CHUNK = 1 << 16
"""Rows that are drawn at once. Another number is another log."""

FRACTIONS = (0.6, 0.2, 0.2)
TEST = SPLITS.index("test")


def prepare(
    output: str | pathlib.Path,
    *,
    rows: int,
    domains: int,
    users: int,
    items: int,
    rank: int,
    drift: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Draws a large click log and writes the prepared folder, in shards.

    Args:
        output: The prepared folder to write.
        rows: How many rows, over all domains and splits.
        domains: How many domains.
        users: How many users.
        items: How many items.
        rank: The rank of each domain's effect.
        drift: How many turns effects and traffic make over the log.
        seed: Seed of the effects, the rows and the split.
        overwrite: Whether a prepared folder of that name is replaced.
    """
    started = time.monotonic()
    content = Description(
        dataset="synthetic",
        options={
            "rows": rows,
            "domains": domains,
            "users": users,
            "items": items,
            "rank": rank,
            "drift": drift,
        },
        seed=seed,
        sources={},
        features=[
            features.sparse("user", range(users)),
            features.sparse("item", range(items)),
            features.sparse("device", DEVICES),
        ],
        domain_name="domain",
        domains=[f"domain_{index:04}" for index in range(domains)],
    )
    best = BestAUC(domains)
    with (
        Writer(output, content, overwrite=overwrite) as writer,
        progress.bar("Drawing rows", rows) as advance,
    ):
        world = synthetic_world.plant(seed, users, items, domains, rank, drift)
        for chunk, start in enumerate(range(0, rows, CHUNK)):
            count = min(CHUNK, rows - start)
            drawn = synthetic_world.draw(world, seed, chunk, start, count, rows)
            split = _split(start, count, rows, drift, seed)
            writer.add(_columns(drawn), split)
            tested = split == TEST
            best.add(drawn.domain[tested], drawn.logit[tested])
            advance(count)
        manifest = writer.finish(_extras(best, content.domains))
    binary.log_counts(manifest)
    logging.info(
        "Wrote %s, %s rows, in %.1f s",
        output,
        f"{rows:,}",
        time.monotonic() - started,
    )


def _columns(rows: synthetic_world.Rows) -> dict[str, np.ndarray]:
    return {
        "user": rows.user + 1,
        "item": rows.item + 1,
        "device": rows.device + 1,
        DOMAIN: rows.domain,
        LABEL: rows.label,
        "true_ctr": rows.true_ctr,
    }


def _split(
    start: int, count: int, rows: int, drift: float, seed: int
) -> np.ndarray:
    """By time if the world changes with it, else by the rows' hashes."""
    if not drift:
        return splits.hashed_split(start, count, FRACTIONS, seed)
    ends = np.rint(np.cumsum(FRACTIONS[:-1]) * rows)
    numbers = np.arange(start, start + count)
    return np.searchsorted(ends, numbers, side="right").astype(np.int8)


def _extras(best: BestAUC, domains: Any) -> Mapping[str, Any]:
    """The best AUCs of the rows of test, for the manifest."""
    return {
        "best_auc": {"test": dict(zip(domains, best.by_domain(), strict=True))},
        "best_overall_auc": {"test": best.overall()},
        # The numbers are exact or too low, by no more than this.
        "best_auc_error": best.error(),
    }
