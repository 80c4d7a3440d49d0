"""The files of a run's folder, none of which is ever half there."""

import contextlib
import csv
import io
import json
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras

from data_prep.folder_lock import locked
from experiments.provenance import provenance
from experiments.run_readme import readme
from mlora_tf import durable
from mlora_tf.phases import Phase
from mlora_tf.recipes import DEFAULTS
from mlora_tf.schema_checks import short
from mlora_tf.transform import unfreeze

LOCK = ".lock"


class RunError(ValueError):
    """A run that can't be made as asked: says why, and what to do."""


def write(path: pathlib.Path, text: str) -> None:
    """Writes a file aside and renames it, so that it is never half there."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text, "utf-8")
    durable.replace(aside, path)


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes JSON in the same way, names as people write them."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    # What is no UTF-8 can't be encoded: it becomes JSON's own escape.
    write(path, text.encode("utf-8", "backslashreplace").decode())


@contextlib.contextmanager
def held(output: pathlib.Path) -> Iterator[None]:
    """Makes a run's folder and keeps other processes from it.

    Raises:
        RunError: It holds something else.
        FolderInUseError: Another process has it.
    """
    if output.exists() and not output.is_dir():
        raise RunError(f"{output} is no folder: choose another --output.")
    output.mkdir(parents=True, exist_ok=True)
    strange = [path for path in output.iterdir() if not _is_ours(path)]
    if strange and not (output / "config.json").is_file():
        raise RunError(
            f"{output} isn't empty and holds no run (no config.json): choose "
            "another --output."
        )
    with locked(output / LOCK, output):
        yield


def _is_ours(path: pathlib.Path) -> bool:
    """Whether a killed run has left the file, which had no `config.json`."""
    aside = path.name.startswith(".") and path.name.endswith(".tmp")
    return aside or path.name == LOCK


def claim(output: pathlib.Path, config: dict[str, Any]) -> None:
    """Writes `config.json` and a page, unless there is work of another run.

    Raises:
        RunError: It does.
    """
    path = output / "config.json"
    started = any(output.glob("state/*.npz")) or any(
        output.glob("metrics.json")
    )
    if not started:
        content = {**config, "provenance": provenance()}
        write_json(path, content)
        write(output / "README.md", readme(output, config))
        return
    try:
        saved = _flat(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error}): choose another --output."
        ) from None
    # What a version before this one didn't have yet, it did by default.
    saved = {**_flat({"recipe": DEFAULTS}), **saved}
    differences = [
        f"{name} (there {short(saved.get(name))}, here {short(value)})"
        for name, value in sorted(_flat(config).items())
        if saved.get(name) != value
    ]
    if differences:
        raise RunError(
            f"{output} holds another run, which differs in "
            f"{', '.join(differences)}: choose another --output, go on with "
            "the flags it had, or delete that folder."
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


def save(model: keras.Model, path: pathlib.Path) -> None:
    """Saves the model alone: not compiled, and with nothing frozen.

    Keras saves neither which weights of a layer are frozen nor, then, an
    optimizer that fits them; `state/` is what training goes on from.
    """
    alone = keras.Model(model.input, model.output, name=model.name)
    unfreeze(alone)
    aside = path.with_name(f".tmp-{path.name}")
    alone.save(aside)
    durable.replace(aside, path)


def history(phases: Sequence[Phase]) -> str:
    """The logs of each epoch of all phases, as CSV.

    Epochs count from 1, as on the screen and in `metrics.json`. States count
    them from 0, as Keras does, whichever version has saved them.
    """
    rows = [
        {"phase": phase.name, **logs, "epoch": epoch}
        for phase in phases
        for epoch, logs in enumerate(phase.history, start=1)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
