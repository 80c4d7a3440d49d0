"""How numbers get from one worker to all others: by sums, as gradients do."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from mlora_tf.cluster import ClusterError

CHUNK = 1 << 24
"""Integers that travel at a time: 64 MiB."""

LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)
"""What TensorFlow raises once a worker is gone."""


def add_up(
    strategy: tf.distribute.Strategy, integers: np.ndarray
) -> np.ndarray:
    """The sum over all workers, on each of them.

    Args:
        strategy: Of several workers, each of which must call this.
        integers: `int32`, of one shape on all of them.
    """
    with told_of_lost_workers():
        # A new tensor: TensorFlow may have a constant at another place.
        tensor = tf.identity(tf.constant(integers))
        return strategy.reduce("SUM", tensor, axis=None).numpy()


def add_up_bits(
    strategy: tf.distribute.Strategy, array: np.ndarray
) -> np.ndarray:
    """Adds up arrays of which at each place all but one worker's are zeros.

    As integers, which keeps the bits of any type, not-a-number included.

    Args:
        strategy: As in `add_up`.
        array: Of one shape and type on all workers.
    """
    data = np.ascontiguousarray(array).tobytes()
    words = np.frombuffer(data + bytes(-len(data) % 4), np.int32)
    parts = [
        add_up(strategy, words[i : i + CHUNK]).tobytes()
        for i in range(0, len(words), CHUNK)
    ]
    flat = np.frombuffer(b"".join(parts)[: len(data)], array.dtype)
    return flat.reshape(array.shape)


@contextlib.contextmanager
def told_of_lost_workers() -> Iterator[None]:
    """Raises a `ClusterError` where TensorFlow has lost a worker.

    It notices within some ten seconds. Its collectives can't go on with those
    that are left, nor take in a worker that comes back.
    """
    try:
        yield
    except LOST as error:
        raise ClusterError(
            "another worker has stopped or can't be reached, so that all of "
            "them stop; its own output says why. Start the same command on "
            "all workers: training goes on from the last saved state. "
            f"({_reason(error)})"
        ) from None


def _reason(error: tf.errors.OpError) -> str:
    """What TensorFlow's message says has happened, in a line."""
    lines = [line.strip() for line in (error.message or "").splitlines()]
    said = [i for i, line in enumerate(lines) if "aborted by" in line]
    first = said[0] if said else 0
    # The line after it names the worker.
    return " ".join(lines[first : first + 2])[:300] or type(error).__name__
