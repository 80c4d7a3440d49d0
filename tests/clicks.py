"""A small prepared click log for tests that train."""

import pathlib

import numpy as np

from data_prep import features
from data_prep import folder
from data_prep import splits

DOMAINS = ("books", "toys", "garden")
NUM_USERS = 30
NUM_ITEMS = 40


def prepare(
    output: pathlib.Path,
    rows: int = 3000,
    seed: int = 0,
    *,
    own_users: bool = False,
) -> pathlib.Path:
    """Writes a prepared folder whose clicks depend on item and domain.

    Users are in all domains, or, `own_users`, each in one alone.
    """
    rng = np.random.default_rng(seed)
    item = rng.integers(0, NUM_ITEMS, rows)
    domain = rng.choice(len(DOMAINS), rows, p=[0.6, 0.3, 0.1])
    taste = rng.normal(size=(len(DOMAINS), NUM_ITEMS))
    click = rng.random(rows) < 1 / (1 + np.exp(1 - 2 * taste[domain, item]))
    user = rng.integers(0, NUM_USERS, rows)
    if own_users:
        user = user // len(DOMAINS) * len(DOMAINS) + domain
    columns = {
        "user": user + 1,
        "item": item + 1,
        "domain": domain,
        "label": click.astype(np.int8),
    }
    folder.write(
        output,
        folder.Prepared(
            dataset="test",
            options={},
            seed=seed,
            sources={},
            features=[
                features.sparse("user", range(NUM_USERS)),
                features.sparse(
                    "item", [f"item {i}" for i in range(NUM_ITEMS)]
                ),
            ],
            domain_name="shop",
            domains=DOMAINS,
            columns=columns,
            split=splits.stratified_split(
                columns["label"], domain, (0.6, 0.2, 0.2), seed
            ),
        ),
    )
    return output
