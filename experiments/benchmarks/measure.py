"""Runs a command and says what it took: seconds and memory.

    python -m experiments.benchmarks.measure report.json python -m ...

A process of its own, and a small one: Linux counts what the parent held at
the start as the child's peak.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence


def measure(report: pathlib.Path, command: Sequence[str]) -> int:
    """Runs a command, writes what it took, returns its exit status.

    Args:
        report: The JSON file to write.
        command: The program and its arguments.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # Linux states KiB, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    taken = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * unit,
    }
    report.write_text(json.dumps(taken) + "\n", "utf-8")
    return process.returncode


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(measure(pathlib.Path(sys.argv[1]), sys.argv[2:]))
