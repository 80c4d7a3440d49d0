"""The files of a run's folder, none of which is ever half there."""

import contextlib
import csv
import io
import json
import os
import pathlib
import types
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from data_prep.folder_lock import locked
from data_prep.staging import json_text
from experiments.errors import RunError
from experiments.provenance import provenance
from experiments.run_readme import readme
from mlora_tf import durable
from mlora_tf.phases import Phase
from mlora_tf.recipes import DEFAULTS
from mlora_tf.schema_checks import short
from mlora_tf.transform import unfreeze

LOCK = ".lock"


def write(path: pathlib.Path, text: str) -> None:
    """Writes a file aside and renames it, so that it is never half there."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text, "utf-8")
    durable.replace(aside, path)


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes JSON in the same way, names as people write them."""
    write(path, json_text(content, indent=2))


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


def claim(
    output: pathlib.Path,
    config: dict[str, Any],
    origin: Mapping[str, Any] = types.MappingProxyType({}),
) -> None:
    """Writes `config.json` and a page, unless there is work of another run.

    Args:
        output: The run's folder, held.
        config: What makes the run the one that it is.
        origin: Where its data are from, for `config.json`: the same data
            elsewhere are the same run's.

    Raises:
        RunError: There is such work; it says how the runs differ.
    """
    path = output / "config.json"
    if not _has_begun(output):
        _check_ours(path)
        content = {
            **config,
            "origin": dict(origin),
            "provenance": provenance(),
        }
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
    # What a run may state and this one doesn't.
    given = {"imports": None, "workers": None, **_flat(config)}
    if ("new_domain" in saved) != ("new_domain" in given):
        program = "add_domain" if "new_domain" in saved else "train"
        raise RunError(
            f"{output} holds a run of experiments.{program}: choose another "
            "--output, or delete that folder."
        )
    given["origin.data"] = origin.get("data")
    differences = [
        _difference(name, saved, given)
        for name in sorted(given)
        if saved.get(name) != given[name] and name != "origin.data"
    ]
    if differences:
        raise RunError(
            f"{output} holds another run, which differs in "
            f"{', '.join(differences)}: choose another --output, go on with "
            "the flags it had, or delete that folder."
        )


def _difference(
    name: str, saved: Mapping[str, Any], given: Mapping[str, Any]
) -> str:
    """What two runs differ in, by its flag if it has one, with both values."""
    values = saved.get(name), given[name]
    if name == "data":
        # Hashes tell the data apart, folders tell people which they are.
        folders = saved.get("origin.data"), given["origin.data"]
        if None not in folders and len({*map(os.path.abspath, folders)}) == 2:
            values = folders
    there, here = map(short, values)
    what = _WORDS.get(name) or f"--{name.removeprefix('recipe.')}"
    return f"{what} (there {there}, here {here})"


_WORDS = {
    "imports": "--import",
    "model": "the model of --run",
    "new_domain": "the new domain",
    "workers": "the number of workers",
}
"""What differs, where no flag has its name."""


def _check_ours(path: pathlib.Path) -> None:
    """Raises if a `config.json` is somebody else's, who would lose it."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        # None is there, or what a kill left of one.
        return
    if not isinstance(content, dict) or "recipe" not in content:
        raise RunError(
            f"{path} is no run's: choose another --output, or move it away."
        )


def withdraw(output: pathlib.Path) -> None:
    """Takes back what `claim` wrote, if nothing of the run is there yet."""
    if _has_begun(output):
        return
    for name in ("config.json", "README.md"):
        (output / name).unlink(missing_ok=True)
    # Made for what never came; what is in it stays.
    with contextlib.suppress(OSError):
        (output / "state").rmdir()


def _has_begun(output: pathlib.Path) -> bool:
    """Whether there is work that another run would destroy."""
    return any(output.glob("state/*.npz")) or any(output.glob("metrics.json"))


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
