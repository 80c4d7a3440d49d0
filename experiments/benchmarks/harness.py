"""Times alternatives against each other, fairly, and writes what it saw."""

import json
import math
import pathlib
import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from experiments.provenance import ROOT
from experiments.provenance import provenance

RESULTS = ROOT / "experiments" / "results"

LEAST_ROUNDS = 3
"""The rounds of alternatives that take too long for more."""


def quiet_tracing() -> None:
    """Stops TensorFlow's warnings that functions are traced often.

    A benchmark traces one for each model or form, which is all that they say.
    """
    tf.get_logger().setLevel("ERROR")


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
    return {
        name: statistics.median(times)
        for name, times in turns(alternatives, rounds).items()
    }


def turns(
    alternatives: Mapping[str, Callable[[], float]],
    rounds: int,
    limit: float = math.inf,
) -> dict[str, list[float]]:
    """The seconds of each alternative in each round; see `interleaved`.

    Args:
        alternatives: By name, functions that return their seconds.
        rounds: How many times each is timed.
        limit: After so many seconds there are three rounds at most.
    """
    for work in alternatives.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    began = time.monotonic()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and time.monotonic() - began > limit:
            break
        for name, work in alternatives.items():
            seconds[name].append(work())
    return seconds


def ratio(seconds: list[float], base: list[float]) -> float:
    """The median over the rounds of one alternative's seconds over another's.

    Each round is held against itself, so that a slow one counts for both.
    """
    return statistics.median(
        mine / theirs for mine, theirs in zip(seconds, base, strict=True)
    )


def write_result(
    name: str,
    command: str,
    content: Mapping[str, Any],
    folder: pathlib.Path | None = None,
) -> None:
    """Writes `<name>.json`, with where it comes from.

    Args:
        name: The result's name.
        command: What makes it.
        content: The result.
        folder: Where to; `experiments/results` by default.
    """
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    result = {
        "command": command,
        "provenance": {**provenance(), "threads": threads or "all"},
        **content,
    }
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    # Aside first: a killed benchmark leaves no half result behind.
    aside = folder / f".{name}.json.tmp"
    aside.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    aside.replace(folder / f"{name}.json")
