r"""Makes a click log with planted low-rank effects of each domain.

    python -m data_prep.synthetic --output=data/synthetic

It takes about a second. What an ideal model would predict is known: each row's
true click probability is its `true_ctr`, so that the AUC of `true_ctr` is the
best that any model can be expected to reach. The vocabularies are small: every
id has hundreds of rows, and none can be learned by heart.

A user is described by a segment and a region, an item by a category and a
brand. Each id has a fixed latent vector; `u` is the sum of a user's two over
sqrt(2), and `v` that of an item's two. In domain d, with `A_d` and `B_d` of
`--rank` orthonormal columns each,

    logit = bias_d + u^T S v + m(u, v) + u^T E_d v
    E_d = STRENGTH * A_d B_d^T / sqrt(rank)

where `S` and the nonlinear main effect `m` are shared by all domains. The
biases are set to give CTRs from 4% in the largest domain to 30% in the
smallest, which has a tenth of the largest one's rows.

    python -m data_prep.synthetic --rows=50000000 --domains=1000 \
        --users=1000000 --items=200000 --output=data/large

With --users and --items the log is a large one, drawn in chunks and written
in shards, in bounded memory. Each user and each item then has a latent vector
of its own, and a third feature, the device, adds to the logit. Users come up
alike, items by Zipf's law, domains and CTRs are spread as above; rows are in
the order of time. With --drift, effects and traffic turn as time goes on, and
the splits follow each other in time: train is the oldest part. Without it, a
row's split is random. The best AUC that a model can be expected to reach on
the rows of test, by domain, is `best_auc` under the manifest's extras.
"""

import dataclasses
import pathlib
import time
from collections.abc import Mapping

import numpy as np
from absl import flags
from absl import logging

from data_prep import binary
from data_prep import features
from data_prep import folder
from data_prep import planted
from data_prep import splits
from data_prep import staging
from data_prep import synthetic_stream
from data_prep.layout import DOMAIN
from data_prep.layout import LABEL
from data_prep.layout import PreparationError
from data_prep.planted import LATENT_DIM
from data_prep.synthetic_world import STEPS

DOMAINS = (
    "books",
    "toys",
    "music",
    "garden",
    "beauty",
    "sports",
    "games",
    "shoes",
    "grocery",
    "pets",
    "office",
    "cars",
)
"""The domains' names, from the largest domain to the smallest."""

USER_FEATURES = {"user_segment": 30, "user_region": 12}
ITEM_FEATURES = {"item_category": 40, "item_brand": 15}
"""How many ids each feature has."""

MIN_ROWS = 100
"""The fewest rows per domain, on average."""

MAX_DOMAINS = 10_000
MAX_IDS = 10_000_000
"""The most domains, and the most users or items, of a large log."""


@dataclasses.dataclass(frozen=True)
class World:
    """What decides a click, but for the domains' biases.

    Args:
        latents: By feature, a vector of `LATENT_DIM` numbers for each id.
        shared: `S`, of shape `(LATENT_DIM, LATENT_DIM)`.
        main: Weights of the main effect, `(2, LATENT_DIM)`: users', items'.
        effects: `E_d = STRENGTH * A_d B_d^T / sqrt(rank)` for each domain,
            `(domains, LATENT_DIM, LATENT_DIM)`.
    """

    latents: Mapping[str, np.ndarray]
    shared: np.ndarray
    main: np.ndarray
    effects: np.ndarray

    def logit(
        self, values: Mapping[str, np.ndarray], domain: int
    ) -> np.ndarray:
        """The rows' logits in a domain, without its bias.

        Args:
            values: By feature, the rows' values: indices of its vocabulary.
            domain: The domain, the same for all rows.
        """
        user = self._sum(values, USER_FEATURES)
        item = self._sum(values, ITEM_FEATURES)
        matrix = self.shared + self.effects[domain]
        # Not `@`: einsum adds up in one order, on any number of threads.
        pair = np.einsum("nk,kl,nl->n", user, matrix, item)
        taste = np.einsum("nk,k->n", user, self.main[0])
        appeal = np.einsum("nk,k->n", item, self.main[1])
        return pair + planted.MAIN * np.tanh(taste + appeal)

    def _sum(
        self, values: Mapping[str, np.ndarray], names: Mapping[str, int]
    ) -> np.ndarray:
        vectors = [self.latents[name][values[name]] for name in names]
        return np.sum(vectors, axis=0) / np.sqrt(len(vectors))


def prepare(
    output: str | pathlib.Path,
    rows: int = 200_000,
    domains: int = 8,
    rank: int = 2,
    seed: int = 123,
    overwrite: bool = False,
    users: int | None = None,
    items: int | None = None,
    drift: float = 0.0,
) -> None:
    """Draws a click log and writes the prepared folder.

    Args:
        output: The prepared folder to write.
        rows: How many rows, over all domains and splits.
        domains: How many domains.
        rank: The rank of each domain's effect.
        seed: Seed of the effects, the rows and the split.
        overwrite: Whether a prepared folder of that name is replaced.
        users: How many users a large log has; None is a small log.
        items: How many items a large log has; None is a small log.
        drift: How many turns the effects and the traffic of a large log make.

    Raises:
        PreparationError: The folder exists, or a number is out of bounds.
    """
    started = time.monotonic()
    staging.check_output(output, overwrite)
    _check("rank", rank, 1, LATENT_DIM)
    if users is not None and items is not None:
        _check("users", users, 1, MAX_IDS)
        _check("items", items, 1, MAX_IDS)
        _check("domains", domains, 1, MAX_DOMAINS)
        _check("rows", rows, MIN_ROWS * domains, 10**12)
        _check("drift", drift, 0, STEPS // 10)
        synthetic_stream.prepare(
            output,
            rows=rows,
            domains=domains,
            users=users,
            items=items,
            rank=rank,
            drift=drift,
            seed=seed,
            overwrite=overwrite,
        )
        return
    if drift or users is not None or items is not None:
        raise PreparationError(
            "--users and --items go together, and --drift needs both."
        )
    _check("domains", domains, 1, len(DOMAINS))
    _check("rows", rows, MIN_ROWS * domains, 10**9)
    # RandomState's stream is frozen for good; a Generator's may change.
    rng = np.random.RandomState(seed)
    world = plant(rng, domains, rank)
    columns = _draw(rng, world, sizes(rows, domains), planted.ctrs(domains))
    label, domain = columns[LABEL], columns[DOMAIN]
    manifest = folder.write(
        output,
        folder.Prepared(
            dataset="synthetic",
            options={"rows": rows, "domains": domains, "rank": rank},
            seed=seed,
            sources={},
            features=[
                features.sparse(
                    name,
                    [f"{name.split('_')[1]}_{i:02}" for i in range(count)],
                )
                for name, count in (USER_FEATURES | ITEM_FEATURES).items()
            ],
            domain_name="shop",
            domains=DOMAINS[:domains],
            columns=columns,
            split=splits.stratified_split(label, domain, seed=seed),
        ),
        overwrite,
    )
    binary.log_counts(manifest)
    logging.info(
        "Wrote %s, %s rows with a CTR of %.1f%%, in %.1f s",
        output,
        f"{rows:,}",
        100 * label.mean(),
        time.monotonic() - started,
    )


def plant(rng: np.random.RandomState, domains: int, rank: int) -> World:
    """Draws the latent vectors, the shared matrix and the domains' effects."""
    latents = {
        name: planted.orthonormal(rng, count, LATENT_DIM) * np.sqrt(count)
        for name, count in (USER_FEATURES | ITEM_FEATURES).items()
    }
    shared = planted.shared(rng)
    main = planted.main_effect(rng)
    return World(latents, shared, main, planted.effects(rng, domains, rank))


def sizes(rows: int, domains: int) -> np.ndarray:
    """The rows of each domain, in falling order; they add up to `rows`."""
    shares = planted.traffic(domains)
    stops = np.rint(np.cumsum(shares) / shares.sum() * rows).astype(np.int64)
    return np.diff(stops, prepend=0)


def _draw(
    rng: np.random.RandomState,
    world: World,
    rows: np.ndarray,
    wanted_ctr: np.ndarray,
) -> dict[str, np.ndarray]:
    """Draws every domain's rows and clicks; returns the folder's columns."""
    total = int(rows.sum())
    values = {
        name: rng.randint(len(table), size=total)
        for name, table in world.latents.items()
    }
    domain = np.repeat(np.arange(len(rows)), rows)
    true_ctr = np.empty(total, np.float32)
    start = 0
    for index, size in enumerate(rows):
        part = slice(start, start + int(size))
        logit = world.logit(
            {name: column[part] for name, column in values.items()}, index
        )
        bias = planted.biases(logit[None], wanted_ctr[index : index + 1])
        true_ctr[part] = planted.sigmoid(logit + bias)
        start = part.stop
    return {
        **{name: column + 1 for name, column in values.items()},
        DOMAIN: domain,
        LABEL: rng.random_sample(total) < true_ctr,
        "true_ctr": true_ctr,
    }


def _check(name: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:
        raise PreparationError(
            f"--{name} must be {low} to {high}, and is {value}."
        )


def main() -> None:
    """Defines the flags, reads them and prepares."""
    binary.define_flags()
    flags.DEFINE_integer("rows", 200_000, "Rows, over all domains and splits.")
    flags.DEFINE_integer(
        "domains",
        8,
        f"Domains, at most {len(DOMAINS)}, or {MAX_DOMAINS:,} of a large log.",
    )
    flags.DEFINE_integer(
        "rank", 2, f"Rank of each domain's effect, at most {LATENT_DIM}."
    )
    flags.DEFINE_integer("users", None, "Users: makes the log a large one.")
    flags.DEFINE_integer("items", None, "Items: makes the log a large one.")
    flags.DEFINE_float(
        "drift",
        0.0,
        "How many turns effects and traffic of a large log make over its rows.",
    )
    binary.run(prepare, "rows", "domains", "rank", "users", "items", "drift")


if __name__ == "__main__":
    main()
