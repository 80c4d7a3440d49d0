"""The planted effects that both sizes of synthetic data share."""

import numpy as np

LATENT_DIM = 6
CTRS = (0.04, 0.30)
SIZE_RATIO = 10
"""The rows of the largest domain over those of the smallest."""

SHARED = 0.8
MAIN = 0.4
STRENGTH = 1.4
"""Standard deviations, over all pairs of ids, of the logit's three parts."""


def shared(rng: np.random.RandomState) -> np.ndarray:
    """Draws `S`, the matrix of all domains."""
    square = orthonormal(rng, LATENT_DIM, LATENT_DIM)
    return SHARED * (square / np.sqrt(LATENT_DIM))


def main_effect(rng: np.random.RandomState) -> np.ndarray:
    """Draws the weights of the main effect, users' and items'."""
    return rng.normal(size=(2, LATENT_DIM)) / np.sqrt(LATENT_DIM)


def effects(rng: np.random.RandomState, domains: int, rank: int) -> np.ndarray:
    """Draws each domain's own matrix, `STRENGTH * A_d B_d^T / sqrt(rank)`.

    `A_d` and `B_d` have `rank` orthonormal columns each.

    Returns:
        All of them, of shape `(domains, LATENT_DIM, LATENT_DIM)`.
    """
    matrices = [
        np.einsum(
            "kr,lr->kl",
            orthonormal(rng, LATENT_DIM, rank),
            orthonormal(rng, LATENT_DIM, rank),
        )
        / np.sqrt(rank)
        for _ in range(domains)
    ]
    return STRENGTH * np.stack(matrices)


def orthonormal(
    rng: np.random.RandomState, rows: int, columns: int
) -> np.ndarray:
    """A random matrix with orthonormal columns.

    With them, and with latents of mean square 1, the standard deviation of
    `u^T M v` over all pairs of ids is the Frobenius norm of `M`.
    """
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0]


def traffic(domains: int) -> np.ndarray:
    """How much of the traffic each domain has, from the largest on."""
    return np.geomspace(SIZE_RATIO, 1, domains)


def ctrs(domains: int) -> np.ndarray:
    """Each domain's CTR, in rising order."""
    return np.geomspace(*CTRS, domains)


def biases(
    logit: np.ndarray, wanted: np.ndarray, halvings: int = 50
) -> np.ndarray:
    """What, added to the logits of each row, gives it that CTR: by bisection.

    Args:
        logit: Logits of shape `(rows, samples)`.
        wanted: The CTR of each row.
        halvings: How often the interval of 100 is halved.
    """
    low, high = np.full((2, len(wanted)), [[-50.0], [50.0]])
    for _ in range(halvings):
        middle = (low + high) / 2
        below = sigmoid(logit + middle[:, None]).mean(axis=1) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """The probability of a logit."""
    return 1 / (1 + np.exp(-logit))
