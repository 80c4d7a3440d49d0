"""Workers meet, as threads: no TensorFlow runs here."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlora_tf import rendezvous
from mlora_tf.cluster import Cluster
from mlora_tf.cluster import ClusterError
from tests import worker_processes

FACTS = {"tensorflow": "2.21.0", "GPUs": "0"}


def addresses(count):
    ports = worker_processes.free_ports(count)
    return tuple(f"127.0.0.1:{port}" for port in ports)


def meet(clusters, facts=None, timeout=20.0):
    """What each of them ends with: None, or its error's text."""

    def one(i, cluster):
        try:
            rendezvous.meet(
                cluster, (facts or {}).get(i, FACTS), timeout=timeout
            )
        except ClusterError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(len(clusters)) as pool:
        return list(pool.map(one, range(len(clusters)), clusters))


def workers(count):
    known = addresses(count)
    return [Cluster(known, index) for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_that_come_go_on(count):
    assert meet(workers(count)) == [None] * count


def test_the_port_is_free_afterwards():
    clusters = workers(2)
    assert meet(clusters) == [None, None]
    assert meet(clusters) == [None, None]
    socket.create_server(("", clusters[0].port)).close()


def test_a_missing_worker_is_named_in_time():
    chief, _, third = workers(3)
    began = time.monotonic()
    said = meet([chief, third], timeout=1.0)
    assert time.monotonic() - began < 5
    assert said[0].startswith(f"worker 1 ({chief.addresses[1]}) didn't come")
    assert "own TF_CONFIG" in said[0]
    assert "worker 2" in said[1]
    assert "not all workers came" in said[1]


def test_the_chief_says_for_whom_it_waits(monkeypatch, caplog):
    monkeypatch.setattr(rendezvous, "NOTICE_SECONDS", 0.2)
    chief, second = workers(2)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(meet, [chief])
        for _ in range(200):
            if caplog.messages:
                break
            time.sleep(0.05)
        assert caplog.messages == [f"waiting for {second.name()}"]
        assert meet([second]) == waiting.result() == [None]
    assert len(caplog.messages) == 1


def test_a_missing_chief_is_named_in_time():
    _, second = workers(2)
    (said,) = meet([second], timeout=0.5)
    assert f"waited for the chief, worker 0 ({second.addresses[0]})" in said


def test_workers_that_are_unlike_are_told_apart():
    facts = {2: {**FACTS, "tensorflow": "2.20.0"}}
    said = meet(workers(3), facts)
    assert len(set(said)) == 1
    assert "worker 2 (127.0.0.1:" in said[0]
    assert "has tensorflow 2.20.0 where the chief has 2.21.0" in said[0]
    assert "worker 1" not in said[0]


def test_a_worker_of_another_cluster_is_sent_away():
    clusters = workers(2)
    stranger = Cluster((clusters[0].addresses[0], *addresses(1)), 1)
    with ThreadPoolExecutor(3) as pool:
        chief = pool.submit(meet, clusters[:1])
        sent_away = pool.submit(meet, [stranger]).result()[0]
        second = pool.submit(meet, clusters[1:])
        assert "trains with other workers" in sent_away
        assert "TF_CONFIG must be the same" in sent_away
        assert chief.result() == second.result() == [None]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]\n",
        b"{}\n",
        b"\xff" * 70_000 + b"\n",
        b"[" * 60_000 + b"\n",
        b'{"protocol": "mlora_tf.rendezvous/1", "index": [1]}\n',
    ],
    ids=(
        "nothing",
        "a request",
        "a list",
        "no protocol",
        "too long",
        "too deep",
        "a wrong index",
    ),
)
def test_strangers_at_the_port_change_nothing(sent):
    clusters = workers(2)
    with ThreadPoolExecutor(2) as pool:
        chief = pool.submit(meet, clusters[:1])
        for _ in range(100):
            try:
                stranger = socket.create_connection(
                    ("127.0.0.1", clusters[0].port)
                )
                break
            except OSError:
                time.sleep(0.05)
        with stranger:
            try:
                stranger.sendall(sent)
                stranger.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The chief has hung up.
            assert meet(clusters[1:]) == [None]
        assert chief.result() == [None]


def report_and_end(cluster, index):
    """What a worker does that is killed before the others come."""
    while True:
        try:
            with socket.create_connection(
                ("127.0.0.1", cluster.port), 1
            ) as chief:
                rendezvous._send(
                    chief,
                    {
                        "protocol": rendezvous.PROTOCOL,
                        "addresses": list(cluster.addresses),
                        "index": index,
                        "facts": {},
                    },
                )
                return
        except OSError:
            time.sleep(0.05)


def test_a_worker_that_has_ended_has_not_come():
    # The third comes last of all, and finds the chief still there.
    clusters = workers(3)
    with ThreadPoolExecutor(3) as pool:
        chief = pool.submit(meet, clusters[:1])
        report_and_end(clusters[0], 1)
        third = pool.submit(meet, clusters[2:])
        time.sleep(0.5)
        assert not chief.done()
        assert meet(clusters[1:2]) == [None]
        assert chief.result() == third.result() == [None]


def test_a_worker_that_was_started_again_takes_its_place():
    clusters = workers(3)
    with ThreadPoolExecutor(3) as pool:
        chief = pool.submit(meet, clusters[:1])
        report_and_end(clusters[0], 1)
        assert meet(clusters[1:]) == [None, None]
        assert chief.result() == [None]


def test_a_port_that_is_taken_is_named():
    clusters = workers(2)
    with socket.create_server(("", clusters[0].port)):
        (said,) = meet(clusters[:1], timeout=0.5)
    assert "can't listen on its port" in said
    assert "another port" in said
