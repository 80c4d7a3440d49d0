"""Two and three replicas train as one does, however rows are dealt out."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests import clicks
from tests import replica_program
from tests import streams
from tests import worker_processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """By number of replicas: everything that training left."""
    folder = tmp_path_factory.mktemp("replicas")
    prepared = streams.regroup(
        clicks.prepare(folder / "clicks", rows=1000), 100
    )
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    variables.pop("TF_CONFIG", None)
    subprocess.run(
        [sys.executable, "-m", "tests.replica_program", prepared, folder],
        cwd=worker_processes.ROOT,
        env=variables,
        check=True,
    )
    return {
        count: dict(np.load(folder / f"{count}.npz")) for count in (1, 2, 3)
    }


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("case", replica_program.CASES)
def test_training_ends_where_one_replicas_does(found, case, replicas):
    ones, several = found[1], found[replicas]
    assert set(ones) == set(several)
    names = [name for name in ones if name.startswith(f"{case}/")]
    assert any(name.endswith("moving_mean") for name in names)
    for name in names:
        np.testing.assert_allclose(
            several[name], ones[name], atol=1e-5, rtol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("batch", range(len(replica_program.UNEVEN)))
def test_normalization_sees_the_rows_of_all_replicas(found, batch, replicas):
    ones, several = found[1], found[replicas]
    names = [name for name in ones if name.startswith(f"norm {batch}/")]
    assert len(names) == 10
    for name in names:
        np.testing.assert_allclose(
            several[name], ones[name], atol=1e-6, err_msg=name
        )


def test_the_cases_are_what_they_say(found):
    """Else they would show nothing."""
    counts = found[1]["a domain without rows/norm.deep/num_updates"]
    assert counts[1] == 0
    assert min(counts[0], counts[2]) > 0
    assert found[1]["norm 3/num_updates"][3] == 0
