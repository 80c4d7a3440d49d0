"""The order of rows that are in memory."""

import numpy as np

from mlora_tf.cutting import Cutter
from mlora_tf.cutting import Window


class MemoryOrder:
    """The row numbers of every batch, pass by pass.

    Args:
        domain: Each row's domain.
        batch_size: Rows of a batch.
        cutter: Cuts all rows of a pass as one window; None makes batches of
            one domain after the other, in random order.
        seed: Seed of the order.

    Attributes:
        domain: Each row's domain.
        pass_steps: Batches in a pass.

    Example:
        >>> order = MemoryOrder(np.array([0, 0, 1]), 2, None, seed=0)
        >>> order.pass_steps
        2
        >>> order.between(0, 3).shape
        (3, 2)
    """

    def __init__(
        self,
        domain: np.ndarray,
        batch_size: int,
        cutter: Cutter | None,
        seed: int,
    ) -> None:
        self.domain = domain
        self._batch_size = batch_size
        self._cutter = cutter
        self._seed = seed
        self._cached: tuple[int, np.ndarray] | None = None
        self._groups: list[np.ndarray] = []
        counts = np.bincount(domain)
        if cutter is None:
            by_domain = np.argsort(domain, kind="stable")
            groups = np.split(by_domain, np.cumsum(counts)[:-1])
            self._groups = [group for group in groups if len(group)]
            self.pass_steps = int((-(-counts // batch_size)).sum())
        else:
            steps = cutter.steps(np.array([len(domain)]), counts[None])
            self.pass_steps = int(steps[-1])

    def between(self, start: int, stop: int) -> np.ndarray:
        """The batches at positions from `start` on, before `stop`.

        Positions count on from pass to pass.

        Returns:
            Row numbers, `(stop - start, batch_size)`.
        """
        parts = []
        while start < stop:
            number, first = divmod(start, self.pass_steps)
            end = min(first + stop - start, self.pass_steps)
            parts.append(self._pass(number, start, stop)[first:end])
            start += end - first
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _pass(self, number: int, start: int, stop: int) -> np.ndarray:
        """A pass's batches, kept if there is a part of it yet to come."""
        if self._cached is not None and self._cached[0] == number:
            return self._cached[1]
        order = self._order(number)
        goes_on = stop < (number + 1) * self.pass_steps
        self._cached = (number, order) if goes_on else None
        return order

    def _order(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, number])
        if self._cutter is None:
            return self._sequential(rng)
        window = Window(
            carried=0,
            rows=len(self.domain),
            steps=self.pass_steps,
            last=True,
            domain=self.domain,
        )
        return self._cutter.cut(window, rng)[0]

    def _sequential(self, rng: np.random.Generator) -> np.ndarray:
        batches = []
        for group in rng.permutation(len(self._groups)):
            rows = rng.permutation(self._groups[group])
            steps = -(-len(rows) // self._batch_size)
            batches.append(np.resize(rows, (steps, self._batch_size)))
        return np.concatenate(batches)
