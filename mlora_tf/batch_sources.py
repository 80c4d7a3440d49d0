"""Where batches come from: rows in memory, or rows on disk."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf

from mlora_tf.columns import DataError
from mlora_tf.cutting import Cutter
from mlora_tf.cutting import sorted_by_domain
from mlora_tf.memory_order import MemoryOrder
from mlora_tf.schema import DOMAIN
from mlora_tf.split import Split
from mlora_tf.streamed_batches import StreamedBatches


class BatchSource(Protocol):
    """Batches at positions, which count on from pass to pass.

    Attributes:
        pass_steps: Batches in a pass over the rows.
        error: What stopped a dataset; None while nothing has.
    """

    pass_steps: int
    error: Exception | None

    def order(self, start: int, stop: int) -> np.ndarray:
        """The row numbers of the batches from `start` on, before `stop`."""

    def domains(self, position: int) -> np.ndarray:
        """The domain of each row of a batch."""

    def dataset(self, first: Callable[[], int], steps: int) -> tf.data.Dataset:
        """Batches in their order, this worker's rows of each.

        Args:
            first: Called by each iterator: the position of its first batch.
            steps: How many batches it yields.
        """


class MemorySource:
    """The batches of rows in memory; every worker knows the whole order.

    Args:
        split: The rows.
        batch_size: Rows of a batch, of all workers.
        cutter: Cuts a pass into batches; None makes batches of one domain
            after the other.
        seed: Seed of the order.
        shard: This worker's index and the number of workers: of each batch
            it has a part.
        num_domains: How many domains there are, to check the rows' by.

    Raises:
        DataError: A domain id is out of range.
    """

    error: Exception | None = None

    def __init__(
        self,
        split: Split,
        batch_size: int,
        cutter: Cutter | None,
        *,
        seed: int,
        shard: tuple[int, int],
        num_domains: int | None,
    ) -> None:
        _check_domains(split.domain, num_domains)
        self._split = split
        self._order = MemoryOrder(split.domain, batch_size, cutter, seed)
        self.pass_steps = self._order.pass_steps
        index, count = shard
        self._rows = batch_size // count
        self._own = slice(index * self._rows, (index + 1) * self._rows)
        # The device placement keeps whole columns out of a GPU's memory.
        with tf.device("CPU:0"):
            self._columns = tf.nest.map_structure(
                tf.constant, (split.inputs, {"ctr": split.label[:, None]})
            )

    def order(self, start: int, stop: int) -> np.ndarray:
        """The row numbers of all workers' rows: `(batches, batch_size)`."""
        return self._order.between(start, stop)

    def domains(self, position: int) -> np.ndarray:
        """The domain of each row of a batch, of all workers."""
        return self._split.domain[self.order(position, position + 1)[0]]

    def dataset(self, first: Callable[[], int], steps: int) -> tf.data.Dataset:
        """See `BatchSource.dataset`."""

        def own_order() -> np.ndarray:
            start = first()
            order = self.order(start, start + steps)[:, self._own]
            return sorted_by_domain(order, self._split.domain)

        def batches(_: tf.Tensor) -> tf.data.Dataset:
            order = tf.numpy_function(own_order, [], tf.int64)
            order.set_shape((steps, self._rows))
            return tf.data.Dataset.from_tensor_slices(
                tf.nest.map_structure(
                    lambda column: tf.gather(column, order), self._columns
                )
            )

        return tf.data.Dataset.from_tensors(0).flat_map(batches)


class StreamedSource:
    """The batches of rows on disk; each worker has row groups of its own.

    An iterator goes on where the one before has stopped, as epochs do, or
    starts anew.

    Args:
        batches: This worker's batches, from any position on.
        rows: Rows of such a batch.
    """

    def __init__(self, batches: StreamedBatches, rows: int) -> None:
        self.error: Exception | None = None
        self.pass_steps = batches.pass_steps
        self._batches = batches
        self._held: tuple[int, Iterator[Split]] | None = None
        inputs = {
            feature.name: tf.TensorSpec(
                (None, rows, *feature.shape), feature.dtype
            )
            for feature in batches.split.schema.features
        }
        inputs[DOMAIN] = tf.TensorSpec((None, rows), "int32")
        label = {"ctr": tf.TensorSpec((None, rows, 1), "float32")}
        self._signature = inputs, label

    def order(self, start: int, stop: int) -> np.ndarray:
        """Streamed rows have no numbers.

        Raises:
            ValueError: Always.
        """
        raise ValueError("streamed rows have no numbers in memory.")

    def domains(self, position: int) -> np.ndarray:
        """The domain of each of this worker's rows of a batch."""
        return next(self._batches.stream(position)).domain[0]

    def dataset(self, first: Callable[[], int], steps: int) -> tf.data.Dataset:
        """See `BatchSource.dataset`."""
        # Blocks of many batches: what Python does is once for each of those.
        return tf.data.Dataset.from_generator(
            lambda: self._columns(first(), steps),
            output_signature=self._signature,
        ).flat_map(lambda *block: tf.data.Dataset.from_tensor_slices(block))

    def _columns(
        self, start: int, steps: int
    ) -> Iterator[tuple[dict[str, np.ndarray], dict]]:
        """Inputs and targets of several batches at a time."""
        try:
            for block in self._blocks(start, steps):
                yield block.inputs, {"ctr": block.label[..., None]}
        except Exception as error:
            self.error = error
            raise

    def _blocks(self, start: int, steps: int) -> Iterator[Split]:
        """Goes on where the batches before have stopped, or starts anew."""
        held, self._held = self._held, None
        if held is not None and held[0] == start:
            stream = held[1]
        else:
            stream = self._batches.stream(start)
        left = steps
        while left:
            block = next(stream)
            if len(block) > left:
                rest = block.take(np.arange(left, len(block)))
                stream = _chain(rest, stream)
                block = block.take(np.arange(left))
            left -= len(block)
            if not left:
                # Before the last block: nothing may be asked for after it.
                self._held = (start + steps, stream)
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
