r"""Makes a click log with planted low-rank effects of each domain.

    python -m data_prep.synthetic --output=data/synthetic

It takes about a second. What an ideal model would predict is known: each row's
true click probability is its `true_ctr`, so that the AUC of `true_ctr` is the
best that any model can be expected to reach. The vocabularies are small: every
id has hundreds of rows, and none can be learned by heart.

A user is described by a segment and a region, an item by a category and a
brand. Each id has a fixed latent vector; `u` is the sum of a user's two, and
`v` of an item's two. In domain d, with `A_d B_d` of the planted rank,

    logit = bias_d + u^T S v + m(u, v) + STRENGTH * u^T (A_d B_d) v

where `S` and the nonlinear main effect `m` are shared by all domains. The
biases are set to give CTRs from 4% in the largest domain to 30% in the
smallest, which has a tenth of the largest one's rows.
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
from data_prep.folder import PreparationError

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

LATENT_DIM = 6
CTRS = (0.04, 0.30)
SIZE_RATIO = 10
"""The rows of the largest domain over those of the smallest."""

SHARED = 0.8
MAIN = 0.4
STRENGTH = 1.4
"""Standard deviations, over all pairs of ids, of the logit's three parts."""

MIN_ROWS = 100
"""The fewest rows per domain, on average."""


@dataclasses.dataclass(frozen=True)
class World:
    """What decides a click, but for the domains' biases.

    Args:
        latents: By feature, a vector of `LATENT_DIM` numbers for each id.
        shared: `S`, of shape `(LATENT_DIM, LATENT_DIM)`.
        main: Weights of the main effect, `(2, LATENT_DIM)`: users', items'.
        effects: `STRENGTH * A_d B_d` for each domain,
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
        return pair + MAIN * np.tanh(taste + appeal)

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
) -> None:
    """Draws a click log and writes the prepared folder.

    Args:
        output: The prepared folder to write.
        rows: How many rows, over all domains and splits.
        domains: How many domains.
        rank: The rank of each domain's effect.
        seed: Seed of the effects, the rows and the split.
        overwrite: Whether a prepared folder of that name is replaced.

    Raises:
        PreparationError: The folder exists, or a number is out of bounds.
    """
    started = time.monotonic()
    folder.check_output(output, overwrite)
    _check("domains", domains, 1, len(DOMAINS))
    _check("rank", rank, 1, LATENT_DIM)
    _check("rows", rows, MIN_ROWS * domains, 10**9)
    # RandomState's stream is frozen for good; a Generator's may change.
    rng = np.random.RandomState(seed)
    world = plant(rng, domains, rank)
    columns = _draw(rng, world, sizes(rows, domains), ctrs(domains))
    label, domain = columns[folder.LABEL], columns[folder.DOMAIN]
    folder.write(
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
            split=folder.stratified_split(label, domain, seed=seed),
        ),
        overwrite,
    )
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
        name: _orthonormal(rng, count, LATENT_DIM) * np.sqrt(count)
        for name, count in (USER_FEATURES | ITEM_FEATURES).items()
    }
    shared = _orthonormal(rng, LATENT_DIM, LATENT_DIM) / np.sqrt(LATENT_DIM)
    main = rng.normal(size=(2, LATENT_DIM)) / np.sqrt(LATENT_DIM)
    effects = [
        np.einsum(
            "kr,lr->kl",
            _orthonormal(rng, LATENT_DIM, rank),
            _orthonormal(rng, LATENT_DIM, rank),
        )
        / np.sqrt(rank)
        for _ in range(domains)
    ]
    return World(latents, SHARED * shared, main, STRENGTH * np.stack(effects))


def sizes(rows: int, domains: int) -> np.ndarray:
    """The rows of each domain, in falling order; they add up to `rows`."""
    shares = np.geomspace(SIZE_RATIO, 1, domains)
    stops = np.rint(np.cumsum(shares) / shares.sum() * rows).astype(np.int64)
    return np.diff(stops, prepend=0)


def ctrs(domains: int) -> np.ndarray:
    """Each domain's CTR, in rising order."""
    return np.geomspace(*CTRS, domains)


def _orthonormal(
    rng: np.random.RandomState, rows: int, columns: int
) -> np.ndarray:
    """A random matrix with orthonormal columns.

    With them, and with latents of mean square 1, the standard deviation of
    `u^T M v` over all pairs of ids is the Frobenius norm of `M`.
    """
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0]


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
        true_ctr[part] = _sigmoid(logit + _bias(logit, wanted_ctr[index]))
        start = part.stop
    return {
        **{name: column + 1 for name, column in values.items()},
        folder.DOMAIN: domain,
        folder.LABEL: rng.random_sample(total) < true_ctr,
        "true_ctr": true_ctr,
    }


def _bias(logit: np.ndarray, ctr: float) -> float:
    """The number that, added to all logits, gives that CTR: by bisection."""
    low, high = -50.0, 50.0
    for _ in range(50):
        middle = (low + high) / 2
        if _sigmoid(logit + middle).mean() < ctr:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise PreparationError(
            f"--{name} must be {low} to {high}, and is {value}."
        )


def main() -> None:
    """Defines the flags, reads them and prepares."""
    binary.define_flags()
    flags.DEFINE_integer("rows", 200_000, "Rows, over all domains and splits.")
    flags.DEFINE_integer("domains", 8, f"Domains, at most {len(DOMAINS)}.")
    flags.DEFINE_integer(
        "rank", 2, f"Rank of each domain's effect, at most {LATENT_DIM}."
    )
    binary.run(prepare, "rows", "domains", "rank")


if __name__ == "__main__":
    main()
