"""A run: one recipe on one click log, in one folder that explains itself."""

import csv
import io
import json
import logging
import math
import os
import pathlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console
from rich.progress import Progress

from experiments.provenance import provenance
from mlora_tf import bootstrap
from mlora_tf import callbacks
from mlora_tf import serving
from mlora_tf import training
from mlora_tf.data import ClickLog
from mlora_tf.distribution import mirrored_strategy
from mlora_tf.evaluation import evaluate
from mlora_tf.predictor import Predictor
from mlora_tf.predictor import Scored
from mlora_tf.predictor import score_split
from mlora_tf.recipes import Recipe
from mlora_tf.transform import domain_variables
from mlora_tf.transform import unfreeze

logger = logging.getLogger(__name__)

USER_FEATURE = "user"
"""If a log has this feature, the user-weighted AUC is reported too."""


class RunError(ValueError):
    """A run that can't be made as asked: says why, and what to do."""


def run(
    log: ClickLog,
    recipe: Recipe,
    output: pathlib.Path,
    *,
    strategy: tf.distribute.Strategy,
    deterministic: bool = False,
    export: bool = True,
    console: Console | None = None,
) -> dict[str, Any]:
    """Trains a recipe and writes the run's folder.

    The folder holds `config.json` (recipe, data, versions, commit),
    `history.csv`, `metrics.json`, `model.keras`, `schema.json`,
    `tensorboard/`, `state/` (to go on after a crash) and `serving/` (a
    SavedModel). A finished run isn't run again; an unfinished one goes on.

    Args:
        log: The data.
        recipe: What to train and how.
        output: The run's folder.
        strategy: Where to train.
        deterministic: Whether TensorFlow was set up for that; recorded.
        export: Whether to export a SavedModel.
        console: Shows progress; None shows none.

    Returns:
        The content of `metrics.json`.

    Raises:
        RunError: The folder holds another run.
    """
    config = {
        "recipe": recipe.to_dict(),
        "data": log.fingerprint,
        "reading": log.reading,
        "replicas": strategy.num_replicas_in_sync,
        "deterministic": deterministic,
    }
    _claim(output, config)
    metrics_path = output / "metrics.json"
    if metrics_path.is_file():
        if console is not None:
            console.print(f"{output} is finished already.", soft_wrap=True)
        if export and not serving.versions(output / "serving"):
            model = keras.models.load_model(output / "model.keras")
            _export(model, log, output)
        return json.loads(metrics_path.read_text("utf-8"))

    phases = training.train(
        log,
        recipe,
        strategy,
        state_folder=output / "state",
        phase_callbacks=standard_callbacks(output, console),
    )
    write(output / "history.csv", _history(phases))
    model = phases[-1].model
    _save(model, output / "model.keras")
    write(output / "schema.json", log.schema.to_json())
    # A run killed after its export doesn't export a second version.
    if export and not serving.versions(output / "serving"):
        _export(model, log, output)
    metrics = _metrics(log, phases)
    # Last, because it says that the run is finished.
    write(metrics_path, json.dumps(metrics, indent=2))
    return metrics


def start_tensorflow(
    *,
    replicas: int | None = None,
    threads: int | None = None,
    deterministic: bool = False,
) -> tf.distribute.Strategy:
    """Sets up TensorFlow, once, before it does anything else.

    Args:
        replicas: Devices to train on; see `mirrored_strategy`.
        threads: The most threads; None takes one per core.
        deterministic: Whether every run gives the same bits.

    Returns:
        The strategy to train under.

    Raises:
        RunError: The machine hasn't as many devices.
    """
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        return mirrored_strategy(replicas)
    except (ValueError, RuntimeError) as error:
        raise RunError(str(error)) from None


def standard_callbacks(
    output: pathlib.Path, console: Console | None = None
) -> Callable[[str, int], list[keras.callbacks.Callback]]:
    """Makes every run's own callbacks: TensorBoard logs and progress.

    Args:
        output: The run's folder.
        console: Shows progress; None shows none.
    """

    def make(phase: str, steps: int) -> list[keras.callbacks.Callback]:
        logs = str(output / "tensorboard" / phase)
        chosen = [keras.callbacks.TensorBoard(logs, write_graph=False)]
        if console is not None:
            chosen.append(ProgressBar(console, phase, steps))
        return chosen

    return make


class ProgressBar(callbacks.EpochLines):
    """Shows a bar within an epoch, and leaves a line behind for each.

    Args:
        console: Where to show them; only a terminal gets bars.
        phase: Name of the phase.
        steps: Steps in an epoch.
    """

    def __init__(self, console: Console, phase: str, steps: int) -> None:
        super().__init__(console.print, phase)
        self.steps = steps
        self._progress = Progress(
            console=console, transient=True, disable=not console.is_terminal
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Shows the bar."""
        self._progress.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's bar."""
        self._task = self._progress.add_task(
            f"{self.phase} epoch {epoch + 1}", total=self.steps
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar on; `batch` is the last one of an execution."""
        self._progress.update(self._task, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Leaves the epoch's line."""
        self._progress.remove_task(self._task)
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Takes the bar away."""
        self._progress.stop()


def write(path: pathlib.Path, text: str) -> None:
    """Writes a file aside and renames it, so that it is never half there."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text, "utf-8")
    os.replace(aside, path)


def _is_aside(path: pathlib.Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _claim(output: pathlib.Path, config: dict[str, Any]) -> None:
    """Writes `config.json`, unless the folder holds work of another run."""
    path = output / "config.json"
    theirs = output.iterdir() if output.is_dir() else ()
    # Files that `write` left aside when it was killed are our own.
    strange = [file for file in theirs if not _is_aside(file)]
    if strange and not path.is_file():
        raise RunError(
            f"{output} isn't empty and holds no run (no config.json): choose "
            "another --output."
        )
    started = any(output.glob("state/*.npz")) or any(
        output.glob("metrics.json")
    )
    if not started:
        output.mkdir(parents=True, exist_ok=True)
        content = {**config, "provenance": provenance()}
        write(path, json.dumps(content, indent=2))
        return
    try:
        saved = _flat(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error}): choose another --output."
        ) from None
    differences = sorted(
        name
        for name, value in _flat(config).items()
        if saved.get(name) != value
    )
    if differences:
        raise RunError(
            f"{output} holds another run, which differs in "
            f"{', '.join(differences)}: choose another --output, or delete "
            "that folder."
        )


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with `recipe.dropout` for `["recipe"]["dropout"]`."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _save(model: keras.Model, path: pathlib.Path) -> None:
    """Saves the model alone: not compiled, and with nothing frozen.

    Keras saves neither which weights of a layer are frozen nor, then, an
    optimizer that fits them; `state/` is what training goes on from.
    """
    alone = keras.Model(model.input, model.output, name=model.name)
    unfreeze(alone)
    aside = path.with_name(f".tmp-{path.name}")
    alone.save(aside)
    os.replace(aside, path)


def _export(model: keras.Model, log: ClickLog, output: pathlib.Path) -> None:
    """Exports a run's model; an error says how to finish without."""
    try:
        serving.export(model, log.schema, output / "serving")
    except ValueError as error:
        raise RunError(
            f"{output}/model.keras is trained, but can't be exported: {error} "
            "The same command with --noexport finishes the run."
        ) from None


def _history(phases: Sequence[training.Phase]) -> str:
    rows = [
        {"phase": phase.name, **logs}
        for phase in phases
        for logs in phase.history
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _metrics(log: ClickLog, phases: Sequence[training.Phase]) -> dict[str, Any]:
    """Each phase's metrics; the last one's are the run's."""
    user = USER_FEATURE if USER_FEATURE in log.schema.num_ids else None
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
                predictor, getattr(log, split), user_feature=user
            )
            result = evaluate(
                scored.label,
                scored.score,
                scored.domain,
                log.schema.domains,
                users=scored.users,
            )
            report[split] = result.to_dict()
            if split == "test":
                report[split]["intervals"] = _intervals(log, scored)
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


def _intervals(log: ClickLog, scored: Scored) -> dict[str, list[float] | None]:
    """95% bootstrap intervals over the rows; None where undefined."""
    found = bootstrap.intervals(
        scored.label, scored.score, scored.domain, log.schema.num_domains
    )
    return {
        name: None if math.isnan(ends[0]) else list(ends)
        for name, ends in found.items()
    }
