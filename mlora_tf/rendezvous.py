"""All workers meet before TensorFlow starts, or are told who is missing.

TensorFlow waits for missing workers without end and without a word, and
workers whose versions differ fail at some later time. So each worker first
reports to the chief, on the port that TensorFlow takes over afterwards.
"""

import json
import logging
import socket
import time
from collections.abc import Mapping
from typing import Any

from mlora_tf.cluster import Cluster
from mlora_tf.cluster import ClusterError
from mlora_tf.cluster import split_address

PROTOCOL = "mlora_tf.rendezvous/1"
MESSAGE_LIMIT = 1 << 16
"""The most bytes of a message: more is from no worker."""

REPLY_SECONDS = 5.0
"""How long a stranger at the chief's port may keep it from the others."""

NOTICE_SECONDS = 10.0
"""After so long the chief says for whom it waits."""

logger = logging.getLogger(__name__)


def meet(cluster: Cluster, facts: Mapping[str, str], *, timeout: float) -> None:
    """Returns once all workers are there, and alike.

    Args:
        cluster: The workers.
        facts: What must be the same on all of them, by name.
        timeout: Seconds after which those that are there give up.

    Raises:
        ClusterError: A worker hasn't come, or is another one's unlike.
    """
    if len(cluster.addresses) == 1:
        return
    deadline = time.monotonic() + timeout
    if cluster.is_chief:
        _await_workers(cluster, facts, deadline)
    else:
        _report(cluster, facts, deadline)


def _await_workers(
    cluster: Cluster, facts: Mapping[str, str], deadline: float
) -> None:
    here: dict[int, socket.socket] = {}
    unlike: dict[int, str] = {}
    notice = time.monotonic() + NOTICE_SECONDS
    with _listen(cluster, deadline) as server:
        try:
            while len(_present(here)) < len(cluster.addresses) - 1:
                peer = _accept(server, min(deadline, notice))
                if peer is None:
                    missing = ", ".join(
                        cluster.name(index)
                        for index in range(1, len(cluster.addresses))
                        if index not in here
                    )
                    if time.monotonic() < deadline:
                        logger.warning("waiting for %s", missing)
                        notice = deadline
                        continue
                    raise ClusterError(
                        f"{missing} didn't come: start the same command "
                        "there, each with its own TF_CONFIG, and see that "
                        f"{cluster.addresses[0]} can be reached from there."
                    )
                said = _receive(peer)
                index = said.get("index")
                if (
                    said.get("protocol") != PROTOCOL
                    or said.get("addresses") != list(cluster.addresses)
                    or not isinstance(index, int)
                    or not 0 < index < len(cluster.addresses)
                ):
                    _send(peer, {"error": _other_cluster(cluster)})
                    peer.close()
                    continue
                if index in here:  # It has been started again meanwhile.
                    here.pop(index).close()
                here[index] = peer
                unlike[index] = _difference(facts, said.get("facts"))
            wrong = "; ".join(
                f"{cluster.name(index)} {difference}"
                for index, difference in sorted(unlike.items())
                if difference
            )
            error = wrong and (
                f"all workers must be alike, but {wrong}. Install the same "
                "on all of them."
            )
            for peer in here.values():
                _send(peer, {"error": error})
            if error:
                raise ClusterError(error)
        finally:
            for peer in here.values():
                peer.close()


def _present(here: dict[int, socket.socket]) -> dict[int, socket.socket]:
    """Those that still wait: one that has ended meanwhile has to come again."""
    for index, peer in list(here.items()):
        if _has_ended(peer):
            here.pop(index).close()
    return here


def _has_ended(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _report(
    cluster: Cluster, facts: Mapping[str, str], deadline: float
) -> None:
    message = {
        "protocol": PROTOCOL,
        "addresses": list(cluster.addresses),
        "index": cluster.index,
        "facts": dict(facts),
    }
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ClusterError(
                f"{cluster.name()} waited for the {cluster.name(0)}, and not "
                "all workers came: start the same command on all of them, "
                "each with its own TF_CONFIG, and see that the chief's "
                "address can be reached from the others."
            )
        try:
            with socket.create_connection(
                split_address(cluster.addresses[0]), min(left, REPLY_SECONDS)
            ) as chief:
                _send(chief, message)
                chief.settimeout(left)
                said = _receive(chief)
        except OSError:
            said = {}
        if "error" not in said:
            # Not there yet, or still the TensorFlow of a training that ends.
            time.sleep(min(0.2, max(left, 0)))
        elif said["error"]:
            raise ClusterError(str(said["error"]))
        else:
            return


def _listen(cluster: Cluster, deadline: float) -> socket.socket:
    while True:
        try:
            return socket.create_server(("", cluster.port), backlog=64)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise ClusterError(
                    f"{cluster.name()} can't listen on its port ({error}): "
                    "end the process that does, or choose another port in "
                    "every worker's TF_CONFIG."
                ) from None
            time.sleep(0.2)  # A training that ends gives it back.


def _accept(server: socket.socket, deadline: float) -> socket.socket | None:
    left = deadline - time.monotonic()
    if left <= 0:
        return None
    server.settimeout(left)
    try:
        return server.accept()[0]
    except TimeoutError:
        return None


def _send(peer: socket.socket, message: Mapping[str, Any]) -> None:
    try:
        peer.settimeout(REPLY_SECONDS)
        peer.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass  # It is gone; who waits for it finds out.


def _receive(peer: socket.socket) -> dict[str, Any]:
    """A message; an empty one from those who don't speak the protocol."""
    deadline = time.monotonic() + (peer.gettimeout() or REPLY_SECONDS)
    data = b""
    try:
        while not data.endswith(b"\n") and len(data) <= MESSAGE_LIMIT:
            peer.settimeout(max(deadline - time.monotonic(), 0.01))
            part = peer.recv(4096)
            if not part:
                break
            data += part
        content = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _difference(mine: Mapping[str, str], theirs: Any) -> str:
    if not isinstance(theirs, dict):
        return "says nothing about itself"
    return ", ".join(
        f"has {name} {theirs.get(name)} where the chief has {value}"
        for name, value in mine.items()
        if theirs.get(name) != value
    )


def _other_cluster(cluster: Cluster) -> str:
    return (
        f"the {cluster.name(0)} trains with other workers: "
        f"{', '.join(cluster.addresses)}. TF_CONFIG must be the same on all, "
        'but for the "index" of "task".'
    )
