"""Shuffled training batches, from rows in memory or on disk."""

from collections.abc import Callable
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from mlora_tf import cutting
from mlora_tf.columns import DataError
from mlora_tf.cutting import DOMAIN_SAMPLINGS
from mlora_tf.cutting import MODES
from mlora_tf.memory_order import MemoryOrder
from mlora_tf.schema import DOMAIN
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
        error: What stopped a streamed dataset. TensorFlow wraps it.

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
        self.seed = seed
        self.epoch = 0
        self.error: Exception | None = None
        self._shard = shard
        self._held: tuple[int, Iterator[Split]] | None = None
        self.rows = rows = batch_size // count
        self._order: MemoryOrder | None = None
        if isinstance(split, StreamedSplit):
            window = None if window_rows is None else window_rows // count
            cutter = cutting.cutter(mode, domain_sampling, rows, window)
            if cutter is None:
                raise ValueError(
                    "domain_sampling='sequential' needs all rows of a domain "
                    "at once, which streamed rows aren't: read them with "
                    "reading='memory', or use domain_sampling='proportional'."
                )
            self._streamed = StreamedBatches(
                split,
                rows,
                cutter,
                seed=seed,
                buffer_rows=buffer_rows,
                shard=shard,
            )
            self.pass_steps = self._streamed.pass_steps
        else:
            _check_domains(split.domain, num_domains)
            cutter = cutting.cutter(
                mode, domain_sampling, batch_size, window_rows
            )
            self._order = MemoryOrder(split.domain, batch_size, cutter, seed)
            self.pass_steps = self._order.pass_steps
        self.steps = epoch_steps or self.pass_steps
        self._dataset = (
            self._streamed_dataset(split, rows)
            if isinstance(split, StreamedSplit)
            else self._memory_dataset(split, rows)
        )
        self.dataset = self.rest(0)

    def rest(self, done: int) -> tf.data.Dataset:
        """What `dataset` yields after the first batches of an epoch.

        Args:
            done: How many of them; fewer than `steps`.

        Returns:
            A dataset of `steps - done` batches, as `dataset` has them.
        """
        counted = tf.data.experimental.assert_cardinality(self.steps - done)
        return untuned(
            self._dataset(done).apply(counted).prefetch(tf.data.AUTOTUNE)
        )

    def order(self, epoch: int) -> np.ndarray:
        """The row numbers of an epoch's batches: `(steps, batch_size)`.

        They are those of all workers. Streamed rows have no such numbers.
        """
        if self._order is None:
            raise ValueError("streamed rows have no numbers in memory.")
        start = epoch * self.steps
        return self._order.between(start, start + self.steps)

    def domains(self, epoch: int, step: int) -> np.ndarray:
        """The domain of each row of a batch; streamed, of this worker's rows.

        Args:
            epoch: The epoch, from 0.
            step: The batch in it, from 0.
        """
        start = epoch * self.steps + step
        if self._order is None:
            return next(self._streamed.stream(start)).domain[0]
        return self._order.domain[self._order.between(start, start + 1)[0]]

    def _memory_dataset(
        self, split: Split, rows: int
    ) -> Callable[[int], tf.data.Dataset]:
        # The device placement keeps whole columns out of a GPU's memory.
        with tf.device("CPU:0"):
            columns = tf.nest.map_structure(
                tf.constant, (split.inputs, {"ctr": split.label[:, None]})
            )
        first = self._shard[0] * rows

        domain = split.domain

        def own_order(done: np.ndarray) -> np.ndarray:
            own = self.order(self.epoch)[int(done) :, first : first + rows]
            return cutting.sorted_by_domain(own, domain)

        def after(done: int) -> tf.data.Dataset:
            def epoch_batches(_: tf.Tensor) -> tf.data.Dataset:
                order = tf.numpy_function(own_order, [done], tf.int64)
                order.set_shape((self.steps - done, rows))
                return tf.data.Dataset.from_tensor_slices(
                    tf.nest.map_structure(
                        lambda column: tf.gather(column, order), columns
                    )
                )

            return tf.data.Dataset.from_tensors(0).flat_map(epoch_batches)

        return after

    def _streamed_dataset(
        self, split: StreamedSplit, rows: int
    ) -> Callable[[int], tf.data.Dataset]:
        inputs = {
            feature.name: tf.TensorSpec(
                (None, rows, *feature.shape), feature.dtype
            )
            for feature in split.schema.features
        }
        inputs[DOMAIN] = tf.TensorSpec((None, rows), "int32")
        label = {"ctr": tf.TensorSpec((None, rows, 1), "float32")}

        # Blocks of many batches: what Python does is once for each of those.
        def after(done: int) -> tf.data.Dataset:
            return tf.data.Dataset.from_generator(
                lambda: self._blocks(done), output_signature=(inputs, label)
            ).flat_map(lambda *block: tf.data.Dataset.from_tensor_slices(block))

        return after

    def _blocks(
        self, done: int
    ) -> Iterator[tuple[dict[str, np.ndarray], dict]]:
        """An epoch's batches, several at a time."""
        try:
            for block in self._epoch(done):
                yield block.inputs, {"ctr": block.label[..., None]}
        except Exception as error:
            self.error = error
            raise

    def _epoch(self, done: int) -> Iterator[Split]:
        """Goes on where the batches before have stopped, or starts anew."""
        start = self.epoch * self.steps + done
        held, self._held = self._held, None
        if held is not None and held[0] == start:
            stream = held[1]
        else:
            stream = self._streamed.stream(start)
        left = self.steps - done
        stop = start + left
        while left:
            block = next(stream)
            if len(block) > left:
                rest = block.take(np.arange(left, len(block)))
                stream = _chain(rest, stream)
                block = block.take(np.arange(left))
            left -= len(block)
            if not left:
                # Before the last block: nothing may be asked for after it.
                self._held = (stop, stream)
            yield block


def _chain(first: Split, rest: Iterator[Split]) -> Iterator[Split]:
    yield first
    yield from rest


def _check_domains(domain: np.ndarray, num_domains: int | None) -> None:
    size = domain.max() + 1 if num_domains is None else num_domains
    wrong = np.flatnonzero((domain < 0) | (domain >= size))
    if len(wrong):
        raise DataError(
            f"column {DOMAIN!r}, row {wrong[0]}: ids must be in [0, {size}). "
            f"Received: {domain[wrong[0]]}"
        )
