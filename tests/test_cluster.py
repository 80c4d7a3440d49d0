import json

import pytest

from mlora_tf.cluster import Cluster
from mlora_tf.cluster import ClusterError
from mlora_tf.cluster import split_address

WORKERS = ["10.0.0.1:2222", "10.0.0.2:2222", "10.0.0.3:2222"]


def environment(cluster, kind="worker", index=0):
    task = {"type": kind, "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


@pytest.mark.parametrize("text", ["", "  ", "{}", '{"cluster": {}}'])
def test_without_workers_there_is_no_cluster(text):
    assert Cluster.from_environment({"TF_CONFIG": text}) is None
    assert Cluster.from_environment({}) is None


def test_the_first_worker_is_the_chief():
    chief = Cluster.from_environment(environment({"worker": WORKERS}))
    other = Cluster.from_environment(environment({"worker": WORKERS}, index=2))
    assert (chief.index, chief.is_chief, chief.port) == (0, True, 2222)
    assert (other.index, other.is_chief) == (2, False)
    assert chief.addresses == other.addresses == tuple(WORKERS)
    assert other.name() == "worker 2 (10.0.0.3:2222)"
    assert other.name(0) == "chief, worker 0 (10.0.0.1:2222)"


def test_a_chief_of_its_own_job_comes_first():
    jobs = {"worker": WORKERS[1:], "chief": WORKERS[:1]}
    chief = Cluster.from_environment(environment(jobs, "chief"))
    last = Cluster.from_environment(environment(jobs, "worker", 1))
    assert chief.addresses == last.addresses == tuple(WORKERS)
    assert (chief.index, last.index) == (0, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "must be a JSON object"),
        ('{"cluster": ["a:1"]}', '"cluster" must be an object'),
        (environment({"worker": "a:1"}), "'worker' must be a list"),
        (environment({"worker": [1]}), "'worker' must be a list"),
        (environment({"worker": ["a:1"], "ps": ["b:1"]}), "but no 'ps'"),
        (environment({"worker": ["a:1"], "evaluator": []}), "'evaluator'"),
        (environment({"chief": ["a:1", "b:1"]}, "chief"), "one chief"),
        (environment({"worker": ["a:1"]}, "chief"), r"\"type\" of \['worker'"),
        (environment({"worker": ["a:1", "b:1"]}, index=2), r"in \[0, 2\)"),
        (environment({"worker": ["a:1", "b:1"]}, index=-1), r"in \[0, 2\)"),
        (environment({"worker": ["a:1", "b:1"]}, index="1"), r"in \[0, 2\)"),
        (environment({"worker": ["a:1", "a:1"]}), "the same address"),
        (environment({"worker": ["a:1", "b"]}), "'b' is no host:port"),
        (environment({"worker": ["a:1", "b:70000"]}), "'b:70000' is no"),
        ('{"cluster": {"worker": ["a:1"]}}', '"task" must have'),
    ],
)
def test_a_wrong_variable_says_what_is_wrong(text, said):
    given = text if isinstance(text, dict) else {"TF_CONFIG": text}
    with pytest.raises(ClusterError, match=said) as error:
        Cluster.from_environment(given)
    assert "Received: " in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("address", ["a", ":1", "a:", "a:0", "a:b", "a:٣"])
def test_an_address_has_a_host_and_a_port(address):
    with pytest.raises(ValueError, match="Received: "):
        split_address(address)
