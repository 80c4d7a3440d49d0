"""Shuffled training batches, from rows in memory or on disk."""

import numpy as np
import tensorflow as tf

from mlora_tf import cutting
from mlora_tf.batch_sources import BatchSource
from mlora_tf.batch_sources import MemorySource
from mlora_tf.batch_sources import StreamedSource
from mlora_tf.columns import DataError
from mlora_tf.cutting import DOMAIN_SAMPLINGS
from mlora_tf.cutting import MODES
from mlora_tf.split import Split
from mlora_tf.streamed_batches import StreamedBatches
from mlora_tf.streaming import StreamedSplit
from mlora_tf.untuned_pipelines import untuned

__all__ = ["DOMAIN_SAMPLINGS", "MODES", "Batches"]


class Batches:
    """The shuffled training batches of one epoch after another.

    Batches have a position: they count on from epoch to epoch and from pass
    to pass over the rows. The batches at a position of seed `s` are the same
    on every run, so that a resumed run goes on with the batches it would have
    had. All batches are full: what is short at the end of a pass is topped up
    with rows that were used before, so that no row is lost and every batch
    divides by the replicas.

    Args:
        split: The rows, in memory or streamed. Streamed rows are shuffled on
            two levels: row groups, then the rows of several.
        batch_size: Rows per step, over all replicas and workers.
        mode: "mixed" shuffles all rows; "per_domain" makes single-domain
            batches; "sliding_window" draws from a buffer of the latest rows,
            which come in their order (STAR, section 4.4).
        domain_sampling: Which domain's batch comes next: "sequential", one
            domain after the other in random order, as MLoRA's published code
            does (not for streamed rows); "proportional", each row once in
            random order of the batches; "uniform", any domain as often, in as
            many batches as "mixed" has: a small domain's rows come again,
            reshuffled, and not all of a large one's come.
        window_rows: Rows of the buffer of "sliding_window".
        epoch_steps: Batches in an epoch; None takes a whole pass.
        seed: Seed of the order.
        shard: The worker's index and the number of workers. In memory each
            has its part of every batch; streamed, each has row groups of its
            own, and batches of those.
        num_domains: How many domains there are, to check the rows' by.
        buffer_rows: The most streamed rows that are shuffled together; by
            default a million, or 256 MiB.

    Attributes:
        rows: Rows of a batch that are this worker's.
        epoch: The epoch that the next iterator over `dataset` yields.
        steps: Batches in an epoch.
        pass_steps: Batches in a pass over the rows.
        dataset: A `tf.data.Dataset` of `(inputs, {"ctr": label})`; inputs
            have the split's shapes with this worker's rows of a batch for its
            rows, labels have `(rows, 1)`. Rows of one domain are side by
            side.

    Raises:
        DataError: There is no row, or a domain id out of range.
        ValueError: The arguments don't go together.

    Example:
        >>> split = Split(
        ...     {"domain": np.array([0, 1, 0, 1, 0])}, np.ones(5, "float32")
        ... )
        >>> batches = Batches(
        ...     split, 2, mode="per_domain", domain_sampling="proportional",
        ...     seed=0,
        ... )
        >>> batches.steps
        3
        >>> for inputs, targets in batches.dataset:
        ...     assert len(set(inputs["domain"].numpy())) == 1
        ...     assert targets["ctr"].shape == (2, 1)

    Reference:
        - [Sheng et al., 2021](https://arxiv.org/abs/2101.11427) (STAR)
    """

    def __init__(
        self,
        split: Split | StreamedSplit,
        batch_size: int,
        *,
        mode: str = "mixed",
        domain_sampling: str = "sequential",
        window_rows: int | None = None,
        epoch_steps: int | None = None,
        seed: int,
        shard: tuple[int, int] = (0, 1),
        num_domains: int | None = None,
        buffer_rows: int | None = None,
    ) -> None:
        index, count = shard
        if batch_size < 1:
            raise ValueError(
                f"batch_size must be positive. Received: {batch_size!r}"
            )
        cutting.check(mode, domain_sampling, batch_size, window_rows)
        if epoch_steps is not None and epoch_steps < 1:
            raise ValueError(
                "epoch_steps must be at least 1, or None for a whole pass. "
                f"Received: {epoch_steps!r}"
            )
        if not 0 <= index < count or batch_size % count:
            raise ValueError(
                "shard must be a worker's index and the number of workers, by "
                f"which the batch divides. Received: shard={shard}, "
                f"batch_size={batch_size}"
            )
        if not len(split):
            raise DataError("there is no row to train on.")
        self.batch_size = batch_size
        self.rows = batch_size // count
        self.epoch = 0
        self._source = _source(
            split,
            batch_size,
            mode=mode,
            domain_sampling=domain_sampling,
            window_rows=window_rows,
            seed=seed,
            shard=shard,
            num_domains=num_domains,
            buffer_rows=buffer_rows,
        )
        self.pass_steps = self._source.pass_steps
        self.steps = epoch_steps or self.pass_steps
        self.dataset = self.rest(0)

    @property
    def error(self) -> Exception | None:
        """What stopped a streamed dataset. TensorFlow wraps it."""
        return self._source.error

    def rest(self, done: int) -> tf.data.Dataset:
        """What `dataset` yields after the first batches of an epoch.

        Args:
            done: How many of them; fewer than `steps`.

        Returns:
            A dataset of `steps - done` batches, as `dataset` has them.
        """
        left = self.steps - done
        batches = self._source.dataset(
            lambda: self.epoch * self.steps + done, left
        )
        counted = tf.data.experimental.assert_cardinality(left)
        return untuned(batches.apply(counted).prefetch(tf.data.AUTOTUNE))

    def order(self, epoch: int) -> np.ndarray:
        """The row numbers of an epoch's batches: `(steps, batch_size)`.

        They are those of all workers. Streamed rows have no such numbers.
        """
        start = epoch * self.steps
        return self._source.order(start, start + self.steps)

    def domains(self, epoch: int, step: int) -> np.ndarray:
        """The domain of each row of a batch; streamed, of this worker's rows.

        Args:
            epoch: The epoch, from 0.
            step: The batch in it, from 0.
        """
        return self._source.domains(epoch * self.steps + step)


def _source(
    split: Split | StreamedSplit,
    batch_size: int,
    *,
    mode: str,
    domain_sampling: str,
    window_rows: int | None,
    seed: int,
    shard: tuple[int, int],
    num_domains: int | None,
    buffer_rows: int | None,
) -> BatchSource:
    if isinstance(split, Split):
        cutter = cutting.cutter(mode, domain_sampling, batch_size, window_rows)
        return MemorySource(
            split,
            batch_size,
            cutter,
            seed=seed,
            shard=shard,
            num_domains=num_domains,
        )
    # Each worker cuts its own rows, into its part of a batch.
    workers = shard[1]
    rows = batch_size // workers
    window = None if window_rows is None else window_rows // workers
    cutter = cutting.cutter(mode, domain_sampling, rows, window)
    if cutter is None:
        raise ValueError(
            "domain_sampling='sequential' needs all rows of a domain at once, "
            "which streamed rows aren't: read them with reading='memory', or "
            "use domain_sampling='proportional'."
        )
    batches = StreamedBatches(
        split, rows, cutter, seed=seed, buffer_rows=buffer_rows, shard=shard
    )
    return StreamedSource(batches, rows)
