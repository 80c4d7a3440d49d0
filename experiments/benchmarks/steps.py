"""Steps of training, timed within `fit` on random rows in memory."""

import dataclasses
import functools
import gc
import statistics
import sys
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.benchmarks import harness
from mlora_tf import Schema
from mlora_tf import SparseFeature
from mlora_tf import build_model
from mlora_tf.batches import Batches
from mlora_tf.data import Split
from mlora_tf.layers.domain_ops import pure_batches
from mlora_tf.phases import OPTIMIZERS
from mlora_tf.transform import freeze_backbone

FEATURES = ("user", "item")
"""With the domain, three fields."""

TIMED_ROWS = 320 * 1024
"""Rows of a turn, which its clock may end before."""

FAST_DOMAINS = 100
"""Up to so many domains any tower's step is fast."""

LIMIT = 8.0
"""After so many seconds slow workloads get no more rounds than they need."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """A model and what it trains on: three fields of uniformly random ids.

    Args:
        tower: The MLP's tower.
        num_domains: How many domains there are.
        num_ids: How many ids each of the other two fields has.
        embedding_dim: Width of a field.
        hidden_units: Widths of the hidden layers.
        batch_size: Rows of a batch, over all replicas.
        pure: Whether each batch is of one domain, and not of all.
        frozen: Whether the backbone is, as in MLoRA's second phase.
        optimizer: A name in `phases.OPTIMIZERS`.
        execution: Steps per call into TensorFlow.
        jit_compile: Whether XLA compiles the step.
        options: More arguments of `build_model`.
    """

    tower: str = "shared"
    num_domains: int = 10
    num_ids: int = 3000
    embedding_dim: int = 8
    hidden_units: tuple[int, ...] = (256, 128, 64)
    batch_size: int = 1024
    pure: bool = False
    frozen: bool = False
    optimizer: str = "adam"
    execution: int = 32
    jit_compile: bool = False
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """The three fields."""
        return _schema(self.num_ids, self.num_domains)

    @property
    def steps(self) -> int:
        """The most steps of a turn: whole executions, three at least."""
        executions = TIMED_ROWS // (self.batch_size * self.execution)
        return self.execution * max(executions, 3)

    def rows(self, count: int | None = None) -> Split:
        """Random rows: those of a turn, or as many as asked for."""
        return _rows(
            self.num_ids,
            self.num_domains,
            count or self.steps * self.batch_size,
            self.batch_size if self.pure else 1,
        )

    def model(self) -> keras.Model:
        """The model, not compiled."""
        model = build_model(
            self.schema,
            "mlp",
            self.tower,
            embedding_dim=self.embedding_dim,
            hidden_units=self.hidden_units,
            **self.options,
        )
        if self.frozen:
            freeze_backbone(model)
        return model


class Clock(keras.callbacks.Callback):
    """Times the steps after the first execution, which starts things up.

    Args:
        seconds: Training stops after this time, at the end of an execution.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._ends: list[tuple[int, float]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Notes the time; `batch` is the execution's last one."""
        self._ends.append((batch, time.perf_counter()))
        if len(self._ends) > 1 and self._elapsed()[1] >= self.seconds:
            self.model.stop_training = True

    @property
    def step(self) -> float:
        """The seconds of a step."""
        steps, seconds = self._elapsed()
        return seconds / steps

    def _elapsed(self) -> tuple[int, float]:
        (first, began), (last, ended) = self._ends[0], self._ends[-1]
        return last - first, ended - began


def trainer(
    workload: Workload,
    seconds: float,
    strategy: tf.distribute.Strategy | None = None,
) -> Callable[[], float]:
    """A function that trains in `fit` and returns a step's seconds.

    Args:
        workload: What to train.
        seconds: How long a turn is timed, about.
        strategy: Where to train; TensorFlow's default unless given.
    """
    model, batches = compiled(workload, strategy), batches_of(workload)

    def train() -> float:
        clock = Clock(seconds)
        with pure_batches(workload.pure):
            model.fit(
                batches.dataset, shuffle=False, verbose=0, callbacks=[clock]
            )
        return clock.step

    return train


def compiled(
    workload: Workload, strategy: tf.distribute.Strategy | None = None
) -> keras.Model:
    """A workload's model, ready for `fit`."""
    with (strategy or tf.distribute.get_strategy()).scope():
        model = workload.model()
        model.compile(
            OPTIMIZERS[workload.optimizer](),
            loss={"ctr": "binary_crossentropy"},
            steps_per_execution=workload.execution,
            jit_compile=workload.jit_compile,
        )
        model.optimizer.build(model.trainable_variables)
    return model


def batches_of(workload: Workload, steps: int | None = None) -> Batches:
    """A workload's batches: those of a turn, or as many as asked for."""
    return Batches(
        workload.rows(steps and steps * workload.batch_size),
        workload.batch_size,
        mode="per_domain" if workload.pure else "mixed",
        domain_sampling="proportional" if workload.pure else "sequential",
        seed=0,
        num_domains=workload.num_domains,
    )


def compare(
    workloads: Mapping[str, Workload],
    rounds: int,
    seconds: float,
    strategies: Mapping[str, tf.distribute.Strategy] | None = None,
) -> dict[str, Any]:
    """Times steps of several workloads in turns.

    Args:
        workloads: By name; the first is what the others are held against.
        rounds: How many times each is timed.
        seconds: How long a turn takes, about.
        strategies: By name, where to train, if not by default.

    Returns:
        Of each, `ms` of a step, the median, and the `ratio` to the first,
        the median of the rounds' ratios; and how many `rounds` there were.
    """
    strategies = strategies or {}
    times = harness.turns(
        {
            name: trainer(workload, seconds, strategies.get(name))
            for name, workload in workloads.items()
        },
        rounds,
        LIMIT,
    )
    # Models are in circles; the next ones may need their memory.
    gc.collect()
    base = times[next(iter(workloads))]
    ms = {name: 1000 * statistics.median(one) for name, one in times.items()}
    said = ", ".join(f"{name} {value:.2f}" for name, value in ms.items())
    print(f"  ms of a step: {said}", file=sys.stderr, flush=True)
    return {
        "ms": ms,
        "ratio": {
            name: harness.ratio(one, base) for name, one in times.items()
        },
        "rounds": len(base),
    }


def execution(num_domains: int) -> int:
    """Steps per call: fewer where a step may be slow, for shorter turns."""
    return 32 if num_domains <= FAST_DOMAINS else 8


@functools.lru_cache(maxsize=4)
def _schema(num_ids: int, num_domains: int) -> Schema:
    # Id 0 is for what the vocabulary doesn't have.
    vocabulary = tuple(range(num_ids - 1))
    return Schema(
        tuple(SparseFeature(name, vocabulary) for name in FEATURES),
        "domain_name",
        tuple(f"domain_{i}" for i in range(num_domains)),
    )


@functools.lru_cache(maxsize=4)
def _rows(num_ids: int, num_domains: int, count: int, together: int) -> Split:
    """Random rows; so many, one after another, are of one domain."""
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.integers(0, num_ids, count, dtype=np.int32)
        for name in FEATURES
    }
    domains = rng.integers(0, num_domains, -(-count // together), np.int32)
    inputs["domain"] = np.repeat(domains, together)[:count]
    return Split(inputs, rng.integers(0, 2, count).astype(np.float32))
