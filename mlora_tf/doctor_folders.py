"""What the doctor says of a prepared folder and of a run's folder."""

import json
import pathlib
from collections.abc import Generator
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from mlora_tf import environment
from mlora_tf.data import SPLITS
from mlora_tf.data import ClickLog
from mlora_tf.data import DataError
from mlora_tf.data import load
from mlora_tf.environment import OK
from mlora_tf.environment import PROBLEM
from mlora_tf.environment import WARNING
from mlora_tf.environment import Finding
from mlora_tf.memory import available_memory
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.streaming import row_bytes
from mlora_tf.version_folder import versions

NAMED = 5  # domains, in a line
VERSIONS = ("tensorflow", "keras", "numpy")  # of which a run tells


def data_findings(
    folder: pathlib.Path,
) -> Generator[Finding, None, ClickLog | None]:
    """Checks a prepared folder.

    Returns:
        It, if it can be read.
    """
    try:
        log = load(folder)
        counts = {split: log.counts(split) for split in SPLITS}
    except (DataError, SchemaError, OSError) as error:
        yield Finding(PROBLEM, str(error))
        return None
    rows = {split: int(cells.sum()) for split, cells in counts.items()}
    yield Finding(
        OK,
        f"{folder} has {', '.join(f'{rows[s]:,} {s}' for s in SPLITS)} rows, "
        f"{log.schema.num_domains} domain(s) and {len(log.schema.features)} "
        "feature(s)",
    )
    yield _reading(folder, log, sum(rows.values()))
    if not (counts["valid"] > 0).all(axis=1).any():
        yield Finding(
            PROBLEM,
            f"{folder}: no domain has both clicks and other rows in the "
            "validation split, so that training can't choose by an AUC: "
            "prepare it with more rows there",
        )
    for split in ("valid", "test"):
        yield from _domains(
            log,
            ~(counts[split] > 0).all(axis=1),
            f"has no AUC in {split} (one class alone, or no row): the "
            "averages leave it out",
        )
    yield from _domains(
        log,
        counts["train"].sum(axis=1) == 0,
        "has no row to train on: its own weights stay as they start",
    )
    return log


def _other_data(folder: pathlib.Path, schema: Schema) -> Finding:
    """What a run can do with data that it wasn't trained on."""
    try:
        alike = Schema.load(folder / "schema.json") == schema
    except (SchemaError, OSError):
        alike = False
    if alike:
        return Finding(
            OK,
            f"{folder} was trained on other rows than those of --data, whose "
            "ids mean the same: experiments.evaluate measures it on them, if "
            "they are of a later log",
        )
    return Finding(
        PROBLEM,
        f"{folder} was trained on other data than --data: choose the folder "
        "that it was trained on, or another --output",
    )


def run_findings(
    folder: pathlib.Path,
    log: ClickLog | None = None,
    modules: Sequence[str] = (),
) -> Iterator[Finding]:
    """Checks a run's folder.

    Args:
        folder: The folder.
        log: The data that --data names, if it can be read.
        modules: The user's, which have been imported.
    """
    path = folder / "config.json"
    if not folder.is_dir():
        yield Finding(
            PROBLEM, f"{folder} is no folder: give the --output of a run"
        )
        return
    config = _json(path)
    if config is None:
        yield Finding(
            PROBLEM,
            f"{path} is missing or damaged: this is no run's folder; train "
            "into another --output",
        )
        return
    yield from _made_with(folder, config)
    if log is not None and config.get("data") != log.fingerprint:
        yield _other_data(folder, log.schema)
    states = sorted((folder / "state").glob("*.npz"))
    finished = folder / "metrics.json"
    if not finished.exists():
        yield Finding(
            WARNING,
            f"{folder} isn't finished"
            + (f", it has the state of {states[-1].stem}" if states else "")
            + ": the same command goes on with it",
        )
        return
    if _json(finished) is None:
        yield Finding(
            PROBLEM,
            f"{finished} is damaged: delete it, and the same command writes "
            "it again",
        )
    needed = config.get("imports")
    lacking = [
        str(name)
        for name in (needed if isinstance(needed, list) else [])
        if name not in modules
    ]
    if lacking:
        yield Finding(
            WARNING,
            f"{folder} was trained with modules of yours, and its model isn't "
            f"looked at without them: add --import={','.join(lacking)}",
        )
    else:
        yield from _files(folder)


def _files(folder: pathlib.Path) -> Iterator[Finding]:
    """Checks what a finished run has written."""
    again = "delete metrics.json, and the same command writes it again"
    try:
        model = keras.models.load_model(
            folder / "model.keras", compile=False, safe_mode=True
        )
        parameters = model.count_params()
    except Exception as error:  # Keras raises whatever it meets.
        line = (str(error).splitlines() or [type(error).__name__])[0]
        yield Finding(
            PROBLEM, f"{folder / 'model.keras'} can't be read: {line}; {again}"
        )
    else:
        weights = [np.asarray(weight) for weight in model.weights]
        if not all(np.isfinite(weight).all() for weight in weights):
            yield Finding(
                PROBLEM,
                f"{folder / 'model.keras'} has weights that aren't finite: "
                "train with a lower learning rate",
            )
        else:
            yield Finding(
                OK, f"{folder} is finished, {parameters:,} parameters"
            )
    try:
        Schema.load(folder / "schema.json")
    except (SchemaError, OSError) as error:
        yield Finding(PROBLEM, f"{error}; {again}")
    if not versions(folder / "serving"):
        yield Finding(
            WARNING,
            f"{folder} has no export: the same command without --noexport "
            "writes one",
        )


def _made_with(
    folder: pathlib.Path, config: dict[str, Any]
) -> Iterator[Finding]:
    """Says which versions have changed since."""
    said = config.get("provenance")
    made = said if isinstance(said, dict) else {}
    others = [
        f"{name} {made[name]} (here {environment.installed(name)})"
        for name in VERSIONS
        if name in made and made[name] != environment.installed(name)
    ]
    if others:
        yield Finding(
            WARNING,
            f"{folder} was made with {', '.join(others)}: numbers may differ "
            "in their last digits; install those to go on with it",
        )


def _reading(folder: pathlib.Path, log: ClickLog, rows: int) -> Finding:
    size = rows * row_bytes(log.schema)
    memory = available_memory()
    text = f"{folder}: rows take {size >> 20:,} MiB of memory"
    if log.reading == "stream":
        return Finding(OK, f"{text}, and stay on disk by default")
    if memory is not None and 2 * size > memory:
        return Finding(
            WARNING,
            f"{text}, over half of what is available: use --reading=stream",
        )
    return Finding(OK, text)


def _domains(
    log: ClickLog, which: npt.ArrayLike, what: str
) -> Iterator[Finding]:
    """A warning about some domains, of which it names a few."""
    found = [log.schema.domains[i] for i in np.flatnonzero(which)]
    if found:
        names = ", ".join(map(repr, found[:NAMED]))
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        yield Finding(WARNING, f"domain {names}{more} {what}")


def _json(path: pathlib.Path) -> dict[str, Any] | None:
    """A file's JSON object; None if it has none."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    return content if isinstance(content, dict) else None
