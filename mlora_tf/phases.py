"""One phase of training: a model is fitted until early stopping."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

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


def fit_phase(
    name: str,
    model: keras.Model,
    rows: Split | StreamedSplit,
    log: ClickLog,
    recipe: Recipe,
    strategy: tf.distribute.Strategy,
    *,
    state: pathlib.Path,
    make_callbacks: Callable[[str, int], Sequence[keras.callbacks.Callback]],
    start: float | None = None,
    start_by_domain: Mapping[str, float] | None = None,
    stop: StopSignals | None = None,
) -> Phase:
    """Compiles and fits a model until early stopping, or goes on with it.

    Args:
        name: The phase's name.
        model: The model, made in the strategy's scope.
        rows: The rows to train on.
        log: The data, for its validation split.
        recipe: The optimizer, the batches and the early stopping.
        strategy: Where to train.
        state: The file of the phase's state.
        make_callbacks: Makes more callbacks from the phase's name and steps.
        start: The score that the model already has, to be beaten.
        start_by_domain: The AUC that each domain already has; with it each
            domain keeps its own best epoch.
        stop: Signals that end training once its state is saved.

    Raises:
        DivergedError: A number isn't finite; the last good state is kept.
        ClusterError: A worker was lost.
        Stopped: A signal came; the state is saved.
    """
    stop = stop or StopSignals()
    workers = Workers(strategy)
    batches = Batches(
        rows,
        recipe.batch_size,
        mode=recipe.batches,
        domain_sampling=recipe.domain_sampling,
        window_rows=recipe.window_rows,
        epoch_steps=recipe.epoch_steps,
        seed=recipe.seed,
        shard=(workers.index, workers.count),
        num_domains=log.schema.num_domains,
    )
    with strategy.scope():
        # Keras 3.15 can't run several steps per execution on several workers.
        _compile(model, recipe, 1 if workers.count > 1 else STEPS_PER_EXECUTION)
    stopping = _stopping(log, recipe, start, start_by_domain)
    saver = TrainingState(
        state,
        stopping,
        {
            "recipe": recipe.to_dict(),
            "data": log.fingerprint,
            "reading": log.reading,
            # Streamed rows are dealt out to the workers.
            **({"workers": workers.count} if workers.count > 1 else {}),
        },
        log.schema.domains,
        stop,
        workers,
    )
    with strategy.scope():
        saver.restore(model)
    if isinstance(stopping, DomainEarlyStopping):
        stopping.remember(saver.history)
    if not saver.finished:
        finite = FiniteSteps(strategy)
        evaluation = callbacks.ExactEvaluation(log.valid, log.schema, stop)
        evaluation.spent = saver.seconds
        training = OneTraining(
            [
                Divergence(batches, log.schema, finite, saver.done),
                callbacks.EpochOrder(batches),
                evaluation,
                stopping,
                *make_callbacks(name, batches.steps),
                saver,
            ],
            model,
            batches.steps,
        )
        with (
            stop.held(),
            _clear_errors(name, batches, saver),
            workers.together(),
            mended_fit(strategy),
            untuned_replicas(),
            pure_batches(recipe.batches == "per_domain"),
            finite.counted(model),
        ):
            _fit(training, batches, strategy, saver, recipe.max_epochs)
    return Phase(
        name, model, saver.best, saver.best_epoch, history=saver.history
    )


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
