"""Times alternatives against each other, fairly, and writes what it saw."""

import json
import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from experiments.provenance import ROOT
from experiments.provenance import provenance

RESULTS = ROOT / "experiments" / "results"


def interleaved(
    alternatives: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, float]:
    """Median seconds of each alternative, timed in turns.

    Turns spread whatever else the machine does over all alternatives alike.
    Each is called once before, untimed.

    Args:
        alternatives: By name, functions that return when their work is done.
        rounds: How many times each is timed.
    """

    def timed(work: Callable[[], Any]) -> Callable[[], float]:
        def clock() -> float:
            began = time.perf_counter()
            work()
            return time.perf_counter() - began

        return clock

    return medians(
        {name: timed(work) for name, work in alternatives.items()}, rounds
    )


def medians(
    alternatives: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, float]:
    """As `interleaved`, for functions that return their seconds."""
    for work in alternatives.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, work in alternatives.items():
            seconds[name].append(work())
    return {name: statistics.median(times) for name, times in seconds.items()}


def write_result(name: str, command: str, content: Mapping[str, Any]) -> None:
    """Writes `experiments/results/<name>.json`, with where it comes from."""
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    result = {
        "command": command,
        "provenance": {**provenance(), "threads": threads or "all"},
        **content,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
