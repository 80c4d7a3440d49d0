import json
import subprocess
import sys

import pytest

from experiments.benchmarks import measure
from experiments.benchmarks import streaming
from experiments.errors import RunError
from mlora_tf import data

SIZES = {"rows": 20_000, "domains": 4, "users": 300, "items": 100}


@pytest.mark.slow
def test_it_prepares_and_reads_an_epoch(tmp_path):
    output = tmp_path / "data"
    result = streaming.benchmark(output, SIZES, batch_size=256)
    log = data.load(output, "stream")
    assert result["data"] == log.fingerprint
    assert result["options"] == {**SIZES, "rank": 2, "drift": 0.0}
    assert result["features"] == len(log.schema.features)
    assert result["shards"] == 3
    size = sum(path.stat().st_size for path in output.glob("*.parquet"))
    assert result["shard_bytes"] == size
    prepare, read = result["prepare"], result["read"]
    assert prepare["rows"] == 20_000
    assert prepare["rows_per_second"] == 20_000 / prepare["seconds"]
    assert read["rows"] == len(log.train)
    assert read["batches"] == -(-len(log.train) // 256)
    assert read["rows_in_batches"] == 256 * read["batches"]
    rate = len(log.train) / read["read_seconds"]
    assert read["rows_per_second"] == pytest.approx(rate)
    # TensorFlow is in the one process, and not in the other.
    assert prepare["peak_rss_bytes"] < read["peak_rss_bytes"]
    assert 20 << 20 < prepare["peak_rss_bytes"] < 2 << 30


def test_a_failure_is_said_in_one_line(tmp_path, capfd):
    with pytest.raises(RunError, match=r"data_prep\.synthetic ended with"):
        streaming.measured("data_prep.synthetic", "--rows=5", "--output=x")
    assert "--rows must be" in capfd.readouterr().err


def test_the_memory_measured_is_the_commands_own(tmp_path):
    held = bytearray(b"x") * (300 << 20)
    code = "x = bytearray(b'y') * (40 << 20)"
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "experiments.benchmarks.measure"]
    finished = subprocess.run(
        [*command, str(report), sys.executable, "-c", code], check=True
    )
    assert finished.returncode == 0
    taken = json.loads(report.read_text())
    assert 40 << 20 < taken["peak_rss_bytes"] < 200 << 20
    assert taken["seconds"] > 0
    assert taken["cpu_seconds"] > 0
    del held


def test_measuring_passes_the_exit_status_on(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit(7)"]
    assert measure.measure(tmp_path / "report.json", command) == 7
    assert (tmp_path / "report.json").exists()
