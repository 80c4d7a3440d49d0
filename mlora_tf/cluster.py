"""Which workers train together, as the variable TF_CONFIG says it."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

VARIABLE = "TF_CONFIG"


class ClusterError(RuntimeError):
    """Workers can't train together: says why, and what to do."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training, and which of them this process is.

    Attributes:
        addresses: Each worker's `host:port`; the first one is the chief.
        index: This process's place among them.

    Example:
        >>> cluster = Cluster.from_environment({"TF_CONFIG": '''{
        ...     "cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
        ...     "task": {"type": "worker", "index": 1}
        ... }'''})
        >>> cluster.name(), cluster.is_chief
        ('worker 1 (10.0.0.2:2222)', False)
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes."""
        return self.index == 0

    @property
    def port(self) -> int:
        """This worker's own port."""
        return split_address(self.addresses[self.index])[1]

    def name(self, index: int | None = None) -> str:
        """How messages call a worker.

        Args:
            index: The worker's place; None is this process's.

        Returns:
            Its role and address, such as `"worker 1 (10.0.0.2:2222)"`.
        """
        index = self.index if index is None else index
        role = "chief, worker 0" if index == 0 else f"worker {index}"
        return f"{role} ({self.addresses[index]})"

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None
    ) -> "Cluster | None":
        """The cluster that TF_CONFIG states; None without one.

        Args:
            environment: The variables, this process's by default.

        Returns:
            The cluster, or None.

        Raises:
            ClusterError: TF_CONFIG states no cluster of workers.
        """
        given = os.environ if environment is None else environment
        text = given.get(VARIABLE, "")
        if not text.strip():
            return None
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _wrong(f"it is no JSON ({error})", text) from None
        if not isinstance(content, dict):
            raise _wrong("it must be a JSON object", text)
        if not content.get("cluster"):
            return None
        jobs = _jobs(content["cluster"], text)
        task = content.get("task")
        if not isinstance(task, dict) or task.get("type") not in jobs:
            raise _wrong(
                f'"task" must have a "type" of {sorted(jobs)} and an "index"',
                text,
            )
        index, own = task.get("index"), jobs[task["type"]]
        if type(index) is not int or not 0 <= index < len(own):
            raise _wrong(
                f'the "index" of "task" must be in [0, {len(own)})', text
            )
        addresses = (*jobs.get("chief", ()), *jobs.get("worker", ()))
        for address in addresses:
            try:
                split_address(address)
            except ValueError:
                raise _wrong(f"{address!r} is no host:port", text) from None
        if len(set(addresses)) < len(addresses):
            raise _wrong("two workers have the same address", text)
        if task["type"] == "worker":
            index += len(jobs.get("chief", ()))
        return cls(addresses, index)


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of `host:port`.

    Example:
        >>> split_address("[::1]:2222")
        ('::1', 2222)
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"no host:port. Received: {address!r}")
    if not 0 < int(port) < 65536:
        raise ValueError(f"no port. Received: {address!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _jobs(cluster: Any, text: str) -> dict[str, list[str]]:
    """The addresses by job: workers, and a chief if it has a job of its own."""
    if not isinstance(cluster, dict):
        raise _wrong('"cluster" must be an object', text)
    for job, addresses in cluster.items():
        if job not in ("chief", "worker"):
            raise _wrong(
                f"all train alike here: there are workers, and maybe a chief, "
                f"but no {job!r}",
                text,
            )
        if not isinstance(addresses, list) or not all(
            isinstance(address, str) for address in addresses
        ):
            raise _wrong(f"{job!r} must be a list of host:port", text)
    if len(cluster.get("chief", ())) > 1:
        raise _wrong("there must be one chief", text)
    return {job: addresses for job, addresses in cluster.items() if addresses}


def _wrong(reason: str, text: str) -> ClusterError:
    return ClusterError(
        f"{VARIABLE} must state the workers, as in "
        '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
        '"task": {"type": "worker", "index": 0}}: ' + f"{reason}. Received: "
        f"{text if len(text) < 300 else text[:300] + '...'}"
    )
