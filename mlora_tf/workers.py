"""What the workers of a training tell each other, beside gradients."""

import contextlib
import json
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

import numpy as np
import tensorflow as tf

from mlora_tf.cluster import Cluster
from mlora_tf.cluster import ClusterError
from mlora_tf.exchange import add_up
from mlora_tf.exchange import add_up_bits
from mlora_tf.exchange import told_of_lost_workers

Value = TypeVar("Value")


class Workers:
    """The processes that train one model together, of which this is one.

    Without `MultiWorkerMirroredStrategy`, or with one worker, this process is
    the only one and the chief, and nothing travels. With several, each method
    is a meeting: every worker must call it, in the same order.

    Args:
        strategy: Where to train.

    Attributes:
        count: How many workers there are.
        index: Which of them this is.
        is_chief: Whether it is the one that reads and writes a run's folder.

    Example:
        >>> workers = Workers(tf.distribute.get_strategy())
        >>> workers.count, workers.is_chief
        (1, True)
        >>> workers.from_chief(lambda: {"wauc": 0.7})
        {'wauc': 0.7}
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self._cluster = cluster_of(strategy)
        self.count = len(self._cluster.addresses) if self._cluster else 1
        self.index = self._cluster.index if self._cluster else 0
        self.is_chief = self.index == 0

    def part(self, size: int) -> range:
        """This worker's part of some things: parts follow one another.

        Args:
            size: How many things there are.

        Returns:
            The indices of this worker's.
        """
        first = self.index * size // self.count
        return range(first, (self.index + 1) * size // self.count)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """All workers' rows, one worker's after the other's, on all workers.

        Args:
            rows: An array of any number of rows, of the same type and row
                shape on all workers: `(own rows, ...)`.

        Returns:
            An array of shape `(all rows, ...)`.
        """
        if self.count == 1:
            return rows
        lengths = np.zeros(self.count, np.int32)
        lengths[self.index] = len(rows)
        lengths = self._add_up(lengths)
        everything = np.zeros((lengths.sum(), *rows.shape[1:]), rows.dtype)
        first = lengths[: self.index].sum()
        everything[first : first + len(rows)] = rows
        return self._add_up_bits(everything)

    def from_chief(self, work: Callable[[], Value]) -> Value:
        """What the chief's work returns: the others do nothing but wait.

        Args:
            work: Returns JSON-ready values.

        Returns:
            What it returned, on all workers.

        Raises:
            ClusterError: The work raised an error on the chief, where that
                error itself is raised.
        """
        if self.count == 1:
            return work()
        answer: dict[str, Any] = {}
        failure: Exception | None = None
        if self.is_chief:
            try:
                answer["value"] = work()
            except Exception as error:
                failure = error
                answer["error"] = str(error)
        answer = json.loads(self._bytes_from_chief(json.dumps(answer).encode()))
        if failure is not None:
            raise failure
        if "error" in answer:
            raise ClusterError(f"the chief has stopped: {answer['error']}")
        return answer["value"]

    def arrays_from_chief(
        self, work: Callable[[], Mapping[str, np.ndarray] | None]
    ) -> dict[str, np.ndarray] | None:
        """Arrays that the chief's work returns, bit for bit, on all workers.

        Args:
            work: Returns arrays by name, or None. As in `from_chief`.
        """
        arrays: dict[str, np.ndarray] = {}

        def shapes() -> dict[str, tuple[str, list[int]]] | None:
            found = work()
            if found is None:
                return None
            arrays.update(found)
            return {
                name: (array.dtype.str, list(array.shape))
                for name, array in found.items()
            }

        said = self.from_chief(shapes)
        if said is None:
            return None
        for name, (dtype, shape) in said.items():
            if not self.is_chief:
                arrays[name] = np.zeros(shape, dtype)
            arrays[name] = self._add_up_bits(arrays[name])
        return arrays

    def check_same(self, what: str, value: Any) -> None:
        """Raises on all workers unless they have the same value.

        Args:
            what: Names it.
            value: JSON-ready.

        Raises:
            ClusterError: Says which worker has another one.
        """
        mine = json.dumps(value, sort_keys=True)
        texts = self.from_each(mine)
        for index, text in enumerate(texts):
            if text != texts[0] and self._cluster:
                raise ClusterError(
                    f"all workers must have the same {what}, but "
                    f"{self._cluster.name(index)} has {_short(text)} and the "
                    f"{self._cluster.name(0)} {_short(texts[0])}."
                )

    def from_each(self, text: str) -> list[str]:
        """Each worker's text, in their order."""
        data = np.frombuffer(text.encode(), np.uint8)
        ends = np.cumsum(self.gather(np.array([len(data)])))
        everything = self.gather(data).tobytes()
        return [
            everything[end - length : end].decode()
            for end, length in zip(ends, np.diff(ends, prepend=0), strict=True)
        ]

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Within it, a lost worker raises a `ClusterError` on the others."""
        if self.count == 1:
            return contextlib.nullcontext()
        return told_of_lost_workers()

    def _bytes_from_chief(self, data: bytes) -> bytes:
        length = np.array([len(data) if self.is_chief else 0], np.int32)
        array = np.zeros(int(self._add_up(length)[0]), np.uint8)
        if self.is_chief:
            array[:] = np.frombuffer(data, np.uint8)
        return self._add_up_bits(array).tobytes()

    def _add_up(self, integers: np.ndarray) -> np.ndarray:
        return add_up(self._strategy, integers.astype(np.int32))

    def _add_up_bits(self, array: np.ndarray) -> np.ndarray:
        return array if self.count == 1 else add_up_bits(self._strategy, array)


def cluster_of(strategy: tf.distribute.Strategy) -> Cluster | None:
    """The workers of a strategy; None if this process is the only one."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return None
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict()
    chiefs, others = jobs.get("chief", []), jobs.get("worker", [])
    addresses = (*chiefs, *others)
    if len(addresses) < 2:
        return None
    index = resolver.task_id
    if resolver.task_type == "worker":
        index += len(chiefs)
    return Cluster(addresses, index)


def _short(text: str) -> str:
    return text if len(text) < 200 else f"{text[:200]}..."
