"""The phases of a training: each fits a model until early stopping."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlora_tf import callbacks
from mlora_tf.batches import Batches
from mlora_tf.callbacks import DivergedError
from mlora_tf.data import ClickLog
from mlora_tf.data import Split
from mlora_tf.data import StreamedSplit
from mlora_tf.distribution import distributed
from mlora_tf.divergence import Divergence
from mlora_tf.divergence import FiniteSteps
from mlora_tf.domain_stopping import DomainEarlyStopping
from mlora_tf.keras_multi_worker import mended_fit
from mlora_tf.layers.domain_ops import pure_batches
from mlora_tf.one_training import OneTraining
from mlora_tf.optimizers import Adam
from mlora_tf.optimizers import LazyAdam
from mlora_tf.recipes import Recipe
from mlora_tf.stop_signals import Stopped
from mlora_tf.stop_signals import StopSignals
from mlora_tf.training_state import TrainingState
from mlora_tf.untuned_pipelines import untuned_replicas
from mlora_tf.workers import Workers

STEPS_PER_EXECUTION = 32
"""Training steps per call into TensorFlow: fewer returns to Python."""

OPTIMIZERS = {"adam": Adam, "lazy_adam": LazyAdam}


@dataclasses.dataclass(frozen=True)
class Phase:
    """A finished phase of training.

    Attributes:
        name: "joint", "pretrain", "adapters" or "train_on".
        model: The model with its best weights.
        best: The monitored score of those weights on the validation split.
        best_epoch: The epoch that they are from; -1 where no epoch beat the
            start.
        history: The logs of each epoch, in order.
    """

    name: str
    model: keras.Model
    best: float
    best_epoch: int
    history: list[dict[str, float]]


PhaseCallbacks = Callable[[str, int], Sequence[keras.callbacks.Callback]]
"""Makes callbacks for a phase from its name and its steps per epoch."""


def no_callbacks(phase: str, steps: int) -> tuple[()]:
    """Makes none."""
    return ()


@dataclasses.dataclass(frozen=True, eq=False)
class PhaseTrainer:
    """Fits the phases of one training: what they share.

    Attributes:
        log: The data: what is trained on, unless a phase has rows of its
            own, and the validation split.
        recipe: The optimizer, the batches and the early stopping.
        strategy: Where to train.
        state_folder: Holds one file of state per phase, `<phase>.npz`.
        phase_callbacks: Makes more callbacks for a phase.
        stop: Signals that end training once its state is saved; None leaves
            them to others.
    """

    log: ClickLog
    recipe: Recipe
    strategy: tf.distribute.Strategy
    state_folder: pathlib.Path
    phase_callbacks: PhaseCallbacks = no_callbacks
    stop: StopSignals | None = None

    def fit(
        self,
        name: str,
        model: keras.Model,
        rows: Split | StreamedSplit | None = None,
        *,
        start: float | None = None,
        start_by_domain: Mapping[str, float] | None = None,
    ) -> Phase:
        """Compiles and fits a model until early stopping, or goes on with it.

        Args:
            name: The phase's name.
            model: The model, made in the strategy's scope.
            rows: The rows to train on; None for the log's.
            start: The score that the model already has, to be beaten.
            start_by_domain: The AUC that each domain already has; with it
                each domain keeps its own best epoch.

        Raises:
            DivergedError: A number isn't finite; the last good state is kept.
            ClusterError: A worker was lost.
            Stopped: A signal came; the state is saved.
        """
        stop = self.stop or StopSignals()
        workers = Workers(self.strategy)
        batches = self._batches(
            self.log.train if rows is None else rows, workers
        )
        with self.strategy.scope():
            # Keras 3.15 can't run several steps per execution on several
            # workers.
            steps = 1 if workers.count > 1 else STEPS_PER_EXECUTION
            _compile(model, self.recipe, steps)
        stopping = _stopping(self.log, self.recipe, start, start_by_domain)
        saver = TrainingState(
            self.state_folder / f"{name}.npz",
            stopping,
            self._identity(workers),
            self.log.schema.domains,
            stop,
            workers,
        )
        with self.strategy.scope():
            saver.restore(model)
        if isinstance(stopping, DomainEarlyStopping):
            stopping.remember(saver.history)
        if not saver.finished:
            finite = FiniteSteps(self.strategy)
            evaluation = callbacks.ExactEvaluation(
                self.log.valid, self.log.schema, stop
            )
            evaluation.spent = saver.seconds
            training = OneTraining(
                [
                    Divergence(batches, self.log.schema, finite, saver.done),
                    callbacks.EpochOrder(batches),
                    evaluation,
                    stopping,
                    *self.phase_callbacks(name, batches.steps),
                    saver,
                ],
                model,
                batches.steps,
            )
            with (
                stop.held(),
                _clear_errors(name, batches, saver),
                workers.together(),
                mended_fit(self.strategy),
                untuned_replicas(),
                pure_batches(self.recipe.batches == "per_domain"),
                finite.counted(model),
            ):
                _fit(
                    training,
                    batches,
                    self.strategy,
                    saver,
                    self.recipe.max_epochs,
                )
        return Phase(
            name, model, saver.best, saver.best_epoch, history=saver.history
        )

    def _batches(
        self, rows: Split | StreamedSplit, workers: Workers
    ) -> Batches:
        return Batches(
            rows,
            self.recipe.batch_size,
            mode=self.recipe.batches,
            domain_sampling=self.recipe.domain_sampling,
            window_rows=self.recipe.window_rows,
            epoch_steps=self.recipe.epoch_steps,
            seed=self.recipe.seed,
            shard=(workers.index, workers.count),
            num_domains=self.log.schema.num_domains,
        )

    def _identity(self, workers: Workers) -> dict[str, Any]:
        """What tells a saved state of this training from others."""
        identity: dict[str, Any] = {
            "recipe": self.recipe.to_dict(),
            "data": self.log.fingerprint,
            "reading": self.log.reading,
        }
        if workers.count > 1:
            # Streamed rows are dealt out to the workers.
            identity["workers"] = workers.count
        return identity


def _stopping(
    log: ClickLog,
    recipe: Recipe,
    start: float | None,
    start_by_domain: Mapping[str, float] | None,
) -> callbacks.EarlyStopping:
    if start_by_domain is not None:
        domains = log.schema.domains
        rows = np.bincount(log.valid.domain, minlength=len(domains))
        return DomainEarlyStopping(
            domains, rows.tolist(), start_by_domain, recipe.patience
        )
    return callbacks.EarlyStopping(
        recipe.monitor, recipe.patience, start=start, rollback=recipe.rollback
    )


def _fit(
    training: OneTraining,
    batches: Batches,
    strategy: tf.distribute.Strategy,
    saver: TrainingState,
    epochs: int,
) -> None:
    """Fits what is left of the epoch under way, then the epochs after it."""
    model = training.model
    model.stop_training = False
    # Keras may look at a batch before the first epoch begins.
    batches.epoch = epoch = saver.epoch
    if saver.done == batches.steps:
        training.end_epoch(epoch)
    elif saver.done:
        rest = distributed(batches, strategy, saver.done)
        training.fit(rest, epoch, epoch + 1)
    if not model.stop_training:
        batches.epoch = saver.epoch
        training.fit(distributed(batches, strategy), saver.epoch, epochs)
    training.end()


@contextlib.contextmanager
def _clear_errors(
    name: str, batches: Batches, saver: TrainingState
) -> Iterator[None]:
    """Ends a training that can't go on, or shan't, with clear words."""
    try:
        yield
    except tf.errors.OpError:
        # TensorFlow wraps what stopped the batches in an error of its own.
        if batches.error is None:
            raise
        raise batches.error from None
    except DivergedError as error:
        kept = (
            f"The last good state is kept in {saver.path}."
            if saver.path.is_file()
            else "No state was saved before."
        )
        raise DivergedError(
            f"{error} Lower the learning rate. {kept}"
        ) from None
    except Stopped as stopped:
        if saver.stop.received is None:
            # Others handle signals, and may have cut a step short.
            raise
        saver.save()
        place = f"epoch {saver.epoch + 1}"
        if saver.done:
            place += f", after step {saver.done} of {batches.steps}"
        raise Stopped(
            stopped.received,
            f"in phase {name}, {place}. Nothing is lost: the same command "
            "goes on from there.",
        ) from None


def _compile(model: keras.Model, recipe: Recipe, steps: int) -> None:
    model.compile(
        optimizer=OPTIMIZERS[recipe.optimizer](
            recipe.learning_rate, epsilon=recipe.adam_epsilon
        ),
        loss={"ctr": keras.losses.BinaryCrossentropy()},
        steps_per_execution=steps,
        # "auto" would compile on one GPU and not on two.
        jit_compile=False,
    )
    # Made here, in scope, so that a saved state finds its variables.
    model.optimizer.build(model.trainable_variables)
