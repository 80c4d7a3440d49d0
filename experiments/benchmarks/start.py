r"""How long a run takes from its start to its first steps, and where it goes.

    python -m experiments.benchmarks.start --data=data/ml1m-gender

Each start is a process of its own, of the preset `tuned` with MLP and mlora.
It counts to the end of the first 32 steps, which are one execution. Files
come from the system's cache. The first start isn't counted.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

from absl import flags

from experiments.benchmarks import suite
from experiments.errors import RunError

GOAL = 6.0
STARTS = 3
"""The most starts that are counted."""

PARTS = {
    "imports": "imports",
    "data": "reading and checking the data",
    "model": "building and compiling the model",
    "trace": "tracing",
    "steps": "the first 32 steps",
}


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("data", None, "The prepared folder.", required=True)


def measure(settings: suite.Settings) -> dict[str, Any]:
    """Starts several times and takes the medians."""
    from experiments.benchmarks.report import Line

    data = pathlib.Path(settings.data).resolve()
    first_step(data)
    starts = [first_step(data) for _ in range(min(settings.rounds, STARTS))]
    total = statistics.median(sum(parts.values()) for parts in starts)
    parts = {
        name: statistics.median(parts[name] for parts in starts)
        for name in PARTS
    }
    line = Line("start of a run to its first steps", [total], [GOAL], unit="s")
    said = ", ".join(
        f"{PARTS[name]} {taken:.1f} s" for name, taken in parts.items()
    )
    return {
        "lines": [line.to_dict()],
        "notes": [f"A start goes to: {said}."],
        "seconds": total,
        "parts": parts,
        "starts": starts,
    }


def first_step(data: str | pathlib.Path) -> dict[str, float]:
    """One start: the seconds of each part.

    Raises:
        RunError: It failed. What it wrote to stderr says why.
    """
    from experiments.provenance import ROOT

    finished = subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.benchmarks.first_step",
            f"--data={data}",
            f"--began={time.time()!r}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    if finished.returncode:
        raise RunError("the start failed: see above.")
    parts: dict[str, float] = json.loads(finished.stdout)
    return parts


if __name__ == "__main__":
    suite.run("start", measure, define_flags)
