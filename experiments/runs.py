"""A run: one recipe on one click log, in one folder that explains itself."""

import contextlib
import json
import logging
import math
import pathlib
import types
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from data_prep import progress
from experiments import run_folder
from experiments.errors import RunError
from experiments.run_callbacks import standard_callbacks
from experiments.run_folder import write
from experiments.run_folder import write_json
from experiments.threads import limit_threads
from mlora_tf import bootstrap
from mlora_tf import serving
from mlora_tf import training
from mlora_tf.data import ClickLog
from mlora_tf.data import DataError
from mlora_tf.distribution import training_strategy
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import Scored
from mlora_tf.predictor import score_split
from mlora_tf.recipes import Recipe
from mlora_tf.recipes import RecipeError
from mlora_tf.schema import Schema
from mlora_tf.stop_signals import StopSignals
from mlora_tf.transform import domain_variables
from mlora_tf.workers import Workers

logger = logging.getLogger(__name__)

USER_FEATURE = "user"
"""If a log has this feature, the user-weighted AUC is reported too."""


def run(
    log: ClickLog,
    recipe: Recipe,
    output: pathlib.Path,
    *,
    strategy: tf.distribute.Strategy,
    deterministic: bool = False,
    export: bool = True,
    console: Console | None = None,
    stop: StopSignals | None = None,
    imports: Sequence[str] = (),
    train: Callable[..., list[training.Phase]] = training.train,
    about: Mapping[str, Any] = types.MappingProxyType({}),
    origin: Mapping[str, Any] = types.MappingProxyType({}),
) -> dict[str, Any]:
    """Trains a recipe and writes the run's folder.

    The folder holds `config.json` (recipe, data, versions, commit),
    `history.csv`, `metrics.json`, `model.keras`, `schema.json`,
    `tensorboard/`, `state/` (to go on after a crash) and `serving/` (a
    SavedModel). A finished run isn't run again; an unfinished one goes on.
    Of several workers each calls this, and the chief alone touches the folder.

    Args:
        log: The data.
        recipe: What to train and how.
        output: The run's folder.
        strategy: Where to train.
        deterministic: Whether TensorFlow was set up for that; recorded.
        export: Whether to export a SavedModel.
        console: Shows progress; None shows none.
        stop: Signals that end the run once its state is saved; None leaves
            them to others.
        imports: The user's modules that have been imported; recorded.
        train: Trains, with the arguments of `training.train`.
        about: What else the run is, for `config.json`.
        origin: Where its data are from, for `config.json`.

    Returns:
        The content of `metrics.json`.

    Raises:
        RunError: The folder holds another run.
        FolderInUseError: Another process writes the folder.
        Stopped: A signal came; the state is saved.
    """
    workers = Workers(strategy)
    with contextlib.ExitStack() as stack:
        workers.from_chief(lambda: stack.enter_context(run_folder.held(output)))
        config: dict[str, Any] = {
            **about,
            "recipe": recipe.to_dict(),
            "data": log.fingerprint,
            "reading": log.reading,
            "replicas": strategy.num_replicas_in_sync,
            "deterministic": deterministic,
        }
        if imports:
            config["imports"] = list(imports)
        if workers.count > 1:
            config["workers"] = workers.count
            workers.check_same("flags and data", config)

        def begin() -> dict[str, Any] | None:
            run_folder.claim(output, config, origin)
            return _finished(log, output, export, console)

        if (before := workers.from_chief(begin)) is not None:
            return before
        try:
            phases = train(
                log,
                recipe,
                strategy,
                state_folder=output / "state",
                phase_callbacks=(
                    standard_callbacks(output, console)
                    if workers.is_chief
                    else lambda phase, steps: []
                ),
                stop=stop,
            )
        except (RecipeError, DataError, RunError):
            # What was refused before it began is no run.
            if workers.is_chief:
                run_folder.withdraw(output)
            raise
        with _waiting(console, f"Exporting {output}"):
            workers.from_chief(
                lambda: _write_model(
                    log, phases, output, export, alone=workers.count == 1
                )
            )
        with _waiting(console, "Evaluating"):
            metrics = _metrics(log, phases, workers)
        # Last, because it says that the run is finished.
        workers.from_chief(lambda: write_json(output / "metrics.json", metrics))
        return metrics


def _finished(
    log: ClickLog, output: pathlib.Path, export: bool, console: Console | None
) -> dict[str, Any] | None:
    """The metrics of a run that has ended, exported if it wasn't yet."""
    path = output / "metrics.json"
    if not path.is_file():
        return None
    if console is not None:
        console.print(f"{output} is finished already.", soft_wrap=True)
    if export and not serving.versions(output / "serving"):
        _export(_saved(output), log, output)
    metrics: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return metrics


def _write_model(
    log: ClickLog,
    phases: Sequence[training.Phase],
    output: pathlib.Path,
    export: bool,
    *,
    alone: bool,
) -> None:
    """Writes what a trained run has beside its metrics."""
    write(output / "history.csv", run_folder.history(phases))
    model = phases[-1].model
    run_folder.save(model, output / "model.keras")
    write(output / "schema.json", log.schema.to_json())
    # A run killed after its export doesn't export a second version.
    if export and not serving.versions(output / "serving"):
        # Of several workers' models, one without a strategy, which would wait.
        _export(model if alone else _saved(output), log, output)


def _saved(output: pathlib.Path) -> keras.Model:
    return keras.models.load_model(output / "model.keras", safe_mode=True)


def _waiting(
    console: Console | None, description: str
) -> contextlib.AbstractContextManager[None]:
    """Says what takes its time, if anybody wants to know."""
    if console is None:
        return contextlib.nullcontext()
    return progress.waiting(description)


def start_tensorflow(
    *,
    replicas: int | None = None,
    threads: int | None = None,
    deterministic: bool = False,
) -> tf.distribute.Strategy:
    """Sets up TensorFlow, once, before it does anything else.

    Args:
        replicas: Devices to train on; see `training_strategy`.
        threads: The most threads; None takes one per core.
        deterministic: Whether every run gives the same bits.

    Returns:
        The strategy to train under.

    Raises:
        RunError: The machine hasn't as many devices, or not all workers that
            TF_CONFIG states have come.
    """
    if threads is not None:
        limit_threads(threads)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        return training_strategy(replicas)
    except (ValueError, RuntimeError) as error:
        raise RunError(str(error)) from None


def _export(model: keras.Model, log: ClickLog, output: pathlib.Path) -> None:
    """Exports a run's model; an error says how to finish without."""
    try:
        serving.export(model, log.schema, output / "serving")
    except ValueError as error:
        raise RunError(
            f"{output}/model.keras is trained, but can't be exported: {error} "
            "The same command with --noexport finishes the run."
        ) from None


def user_feature(schema: Schema) -> str | None:
    """The feature that tells users apart, for `user_auc`, if there is one."""
    return USER_FEATURE if USER_FEATURE in schema.num_ids else None


def _metrics(
    log: ClickLog, phases: Sequence[training.Phase], workers: Workers
) -> dict[str, Any]:
    """Each phase's metrics; the last one's are the run's."""
    user = user_feature(log.schema)
    reports = []
    for phase in phases:
        predictor = Predictor(phase.model)
        report = {
            "phase": phase.name,
            "epochs": len(phase.history),
            "best_epoch": phase.best_epoch + 1,
            "parameters": phase.model.count_params(),
            "domain_parameters": sum(
                math.prod(variable.shape)
                for variable in domain_variables(phase.model)
            ),
        }
        for split in ("valid", "test"):
            scored = score_split(
                predictor,
                getattr(log, split),
                user_feature=user,
                workers=workers,
            )
            result = scored.evaluate(log.schema)
            report[split] = result.to_dict()
            if split == "test":
                report[split]["intervals"] = intervals(scored, log.schema)
            if result.undefined:
                logger.warning(
                    "%s: no AUC for %s (one class alone, or no row); the "
                    "averages leave them out.",
                    split,
                    ", ".join(result.undefined),
                )
        reports.append(report)
    return {
        "valid": reports[-1]["valid"],
        "test": reports[-1]["test"],
        "phases": reports,
    }


def intervals(scored: Scored, schema: Schema) -> dict[str, list[float] | None]:
    """95% bootstrap intervals over the rows; None where undefined."""
    found = bootstrap.intervals(
        scored.label, scored.score, scored.domain, schema.num_domains
    )
    return {
        name: None if math.isnan(ends[0]) else list(ends)
        for name, ends in found.items()
    }
