"""What decides a click of a large synthetic log, and how its rows are drawn."""

import dataclasses
import math

import numpy as np

from data_prep import planted
from data_prep.planted import LATENT_DIM

DEVICES = ("phone", "tablet", "desktop", "television")
DEVICE_SHARES = (0.6, 0.1, 0.25, 0.05)
DEVICE_EFFECTS = (0.2, 0.0, -0.2, -0.4)
"""What a device adds to the logit."""

STEPS = 100
"""With drift, how many stretches a log has; nothing changes within one."""

SAMPLES = 2048
"""How many triples of user, item and device the CTRs are set on."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a log, column by column; ids are indices from 0."""

    user: np.ndarray
    item: np.ndarray
    device: np.ndarray
    domain: np.ndarray
    label: np.ndarray
    logit: np.ndarray
    true_ctr: np.ndarray


@dataclasses.dataclass(frozen=True)
class World:
    """What decides a click.

    Args:
        users: By user, a latent vector and then the main effect's share,
            `float32` of shape `(users, LATENT_DIM + 1)`.
        items: The same of items.
        shared: `S`, of shape `(LATENT_DIM, LATENT_DIM)`.
        effects: `E_d = STRENGTH * A_d B_d^T / sqrt(rank)` for each domain at
            the start of the log, `(domains, LATENT_DIM, LATENT_DIM)`.
        biases: By domain.
        drift: How many turns effects and traffic make over the log.
    """

    users: np.ndarray
    items: np.ndarray
    shared: np.ndarray
    effects: np.ndarray
    biases: np.ndarray
    drift: float

    def traffic(self, time: float) -> np.ndarray:
        """The domains' shares of the rows, at a time from 0 to 1.

        Every domain's traffic swells to e times its usual and shrinks to a
        e-th, each at its own time of the turn.
        """
        shares = planted.traffic(len(self.effects))
        if self.drift:
            golden = (math.sqrt(5) - 1) / 2
            phases = self.drift * time + golden * np.arange(len(shares))
            shares = shares * np.exp(np.cos(2 * np.pi * phases))
        return shares / shares.sum()

    def matrices(self, time: float) -> np.ndarray:
        """Each domain's `S + R(time) E_d`, with `E_d` of its planted rank.

        `R` turns users' latent space, plane by plane, by the drift's angle.
        """
        angle = 2 * np.pi * self.drift * time
        turn = np.array(
            [
                [math.cos(angle), -math.sin(angle)],
                [math.sin(angle), math.cos(angle)],
            ]
        )
        rotation = np.kron(np.eye(LATENT_DIM // 2), turn)
        turned = np.einsum("jk,dkl->djl", rotation, self.effects)
        return (self.shared + turned).astype(np.float32)

    def logits(
        self,
        matrices: np.ndarray,
        domain: np.ndarray,
        user: np.ndarray,
        item: np.ndarray,
        device: np.ndarray,
    ) -> np.ndarray:
        """The rows' logits, without the domains' biases."""
        users = self.users.take(user, axis=0)
        items = self.items.take(item, axis=0)
        matrix = matrices.take(domain, axis=0)
        # Not `@`: einsum adds up in one order, on any number of threads.
        seen = np.einsum("nkl,nl->nk", matrix, items[:, :LATENT_DIM])
        pair = np.einsum("nk,nk->n", users[:, :LATENT_DIM], seen)
        main = np.tanh(users[:, LATENT_DIM] + items[:, LATENT_DIM])
        effect = np.array(DEVICE_EFFECTS, np.float32)[device]
        return pair + np.float32(planted.MAIN) * main + effect


def plant(
    seed: int, users: int, items: int, domains: int, rank: int, drift: float
) -> World:
    """Draws the latent vectors and effects, and sets the biases."""
    # RandomState's stream is frozen for good; a Generator's may change.
    rng = np.random.RandomState(seed)
    shared = planted.shared(rng)
    main = planted.main_effect(rng)
    effects = planted.effects(rng, domains, rank)
    world = World(
        users=_table(rng, users, main[0]),
        items=_table(rng, items, main[1]),
        shared=shared,
        effects=effects,
        biases=np.zeros(domains),
        drift=drift,
    )
    biases = _biases(world, rng)
    return dataclasses.replace(world, biases=biases.astype(np.float32))


def draw(
    world: World, seed: int, chunk: int, start: int, count: int, rows: int
) -> Rows:
    """Draws the rows from `start` on, a chunk of a log of that many rows.

    Args:
        world: What decides a click.
        seed: Of the log.
        chunk: The chunk's number: with the seed, all that chance depends on.
        start: The number of the first row.
        count: How many rows the chunk has.
        rows: How many the log has.
    """
    # Philox's raw numbers are frozen for good, as RandomState's stream is.
    raw = np.random.Philox(key=np.array([seed, chunk], np.uint64))
    chance = [
        (raw.random_raw(count) >> np.uint64(11)) * 2.0**-53 for _ in range(5)
    ]
    user = (chance[0] * len(world.users)).astype(np.int32)
    item = _popular(chance[1], len(world.items))
    device = _pick(np.array(DEVICE_SHARES), chance[2])
    domain = np.empty(count, np.int32)
    logit = np.empty(count, np.float32)
    for time, part in _stretches(start, count, rows, world.drift):
        here = _pick(world.traffic(time), chance[3][part])
        domain[part] = here
        logit[part] = world.logits(
            world.matrices(time), here, user[part], item[part], device[part]
        )
    logit += world.biases[domain]
    true_ctr = planted.sigmoid(logit)
    label = chance[4] < true_ctr
    return Rows(user, item, device, domain, label, logit, true_ctr)


def _stretches(
    start: int, count: int, rows: int, drift: float
) -> list[tuple[float, slice]]:
    """The time of each stretch of the log in a chunk, and its rows there."""
    if not drift:
        return [(0.0, slice(0, count))]
    first, last = (row * STEPS // rows for row in (start, start + count - 1))
    # The first row of a step is the lowest that the division takes there.
    bounds = [-(-step * rows // STEPS) for step in range(first, last + 2)]
    stops = [min(max(bound - start, 0), count) for bound in bounds]
    return [
        ((step + 0.5) / STEPS, slice(*stops[index : index + 2]))
        for index, step in enumerate(range(first, last + 1))
    ]


def _table(
    rng: np.random.RandomState, count: int, weights: np.ndarray
) -> np.ndarray:
    """Latent vectors and, last, each one's share of the main effect."""
    table = np.empty((count, LATENT_DIM + 1), np.float32)
    table[:, :LATENT_DIM] = rng.normal(size=(count, LATENT_DIM))
    table[:, LATENT_DIM] = np.einsum("nk,k->n", table[:, :LATENT_DIM], weights)
    return table


def _biases(world: World, rng: np.random.RandomState) -> np.ndarray:
    """The biases that give each domain its CTR, at the start of the log."""
    chance = rng.random_sample((3, SAMPLES))
    user = (chance[0] * len(world.users)).astype(np.int32)
    item = _popular(chance[1], len(world.items))
    device = _pick(np.array(DEVICE_SHARES), chance[2])
    wanted = planted.ctrs(len(world.effects))
    matrices = world.matrices(0.0)
    biases = np.empty(len(wanted))
    # A domain at a time: all domains' samples would not fit into memory.
    for index in range(len(wanted)):
        domain = np.full(SAMPLES, index)
        logit = world.logits(matrices, domain, user, item, device)
        part = slice(index, index + 1)
        biases[part] = planted.biases(logit[None], wanted[part], 24)
    return biases


def _popular(chance: np.ndarray, count: int) -> np.ndarray:
    """Indices below `count`, the i-th about as likely as 1 / (i + 1).

    Exactly, with probability log((i + 2) / (i + 1)) / log(count + 1): Zipf's
    law, made smooth, so that no table of all probabilities is needed.
    """
    ranks = np.exp(chance * math.log(count + 1)).astype(np.int32) - 1
    return np.minimum(ranks, count - 1)


def _pick(shares: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Indices with these shares, one for each number from 0 to 1."""
    edges = np.cumsum(shares)
    edges[-1] = 1.0
    # A guess that is right but for few; a binary search misses the cache.
    cells = 8 * len(shares)
    guesses = np.searchsorted(edges, np.arange(cells) / cells, side="right")
    index = guesses[(chance * cells).astype(np.int64)]
    late = np.flatnonzero(chance >= edges[index])
    while late.size:
        index[late] += 1
        late = late[chance[late] >= edges[index[late]]]
    return index
