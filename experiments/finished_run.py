"""Reads what a finished run has left, for the binaries that come after."""

import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from absl import logging

from data_prep.layout import MANIFEST
from experiments.errors import RunError
from experiments.errors import first_line

VECTORS = re.compile(r"vectors\.(?!(csv|tsv|parquet)$)\w+(:.*)?", re.DOTALL)
"""A source of pretrained vectors, which has no rows; no log, as vectors.csv is.

Older folders have `vectors.<table>`, newer ones `vectors.<table>:<file>`.
"""

LEAST_SHARED = 0.01
"""The share of a log's bytes up to which it may be that of another one."""


def check(run: pathlib.Path, imports: Sequence[str]) -> None:
    """Raises unless a run is finished, and the modules it needs are imported.

    Raises:
        RunError: It isn't, or they aren't.
    """
    if not run.is_dir():
        raise RunError(
            f"--run={run} is no folder: name one that experiments.train wrote."
        )
    if (run / "manifest.json").is_file():
        raise RunError(f"--run={run} is prepared data: name a run's folder.")
    if not (run / "metrics.json").is_file():
        raise RunError(
            f"{run} is no finished run (no metrics.json): train it with "
            f"experiments.train --output={run}."
        )
    check_imports(run, imports)


def check_imports(run: pathlib.Path, imports: Sequence[str]) -> None:
    """Raises unless the modules are imported that a run was trained with.

    Raises:
        RunError: They aren't. None is imported because a file names it.
    """
    needed = config(run).get("imports")
    # Without a list the model itself will say what it lacks.
    needed = map(str, needed) if isinstance(needed, list) else ()
    lacking = [name for name in needed if name not in imports]
    if lacking:
        raise RunError(
            f"{run} was trained with modules of yours: add "
            f"--import={','.join(lacking)}."
        )


def check_schema(
    found: Any, needed: Any, data: str, run: pathlib.Path, advice: str
) -> None:
    """Raises unless a folder's ids mean what the run's do.

    Args:
        found: The prepared folder's `Schema`.
        needed: The run's.
        data: The prepared folder.
        run: The run's folder.
        advice: What to do if they don't, before the folder is named.

    Raises:
        RunError: They don't; it says where they differ first.
    """
    if found == needed:
        return
    names = [feature.name for feature in needed.features]
    if [feature.name for feature in found.features] != names:
        what = f"its features aren't {', '.join(names)}"
    elif found.domains != needed.domains:
        what = "its domains are others, or in another order"
    else:
        (name, *_) = [
            mine.name
            for mine, other in zip(needed.features, found.features, strict=True)
            if mine != other
        ] or ["the label"]
        what = f"{name!r} is another (its vocabulary, or its scale)"
    raise RunError(
        f"{data} wasn't prepared for {run}: {what}. {advice} the folder that "
        f"the run was trained on: --data in {run / 'README.md'}."
    )


def origin(data: str, run: pathlib.Path | None = None) -> dict[str, Any]:
    """Where a run's data are from, for its `config.json`.

    Args:
        data: The prepared folder.
        run: The run that it goes on from, if any.

    Returns:
        "data", the folder, and "sources", the SHA-256 of all files that it,
        and the data of the run before, were prepared from.
    """
    before = () if run is None else learned(run) or ()
    return {"data": data, "sources": sorted({*sources(data), *before})}


def sources(data: str) -> dict[str, tuple[str, int]]:
    """The logs that a folder was prepared from: names and bytes by SHA-256."""
    try:
        manifest = json.loads((pathlib.Path(data) / MANIFEST).read_bytes())
        return {
            file["sha256"]: (name, file["bytes"])
            for name, file in manifest["sources"].items()
            if not VECTORS.fullmatch(name)
        }
    except (OSError, ValueError, RecursionError, KeyError, TypeError,
            AttributeError):  # fmt: skip
        # No file of ours says less; another reader refuses the folder.
        return {}


def learned(run: pathlib.Path) -> list[str] | None:
    """The SHA-256 of the files that a run's data were prepared from.

    Returns:
        They; None if the run, an older version's say, doesn't tell.
    """
    saved = config(run).get("origin")
    files = saved.get("sources") if isinstance(saved, dict) else None
    if not isinstance(files, list):
        return None
    return [one for one in files if isinstance(one, str)]


def check_unseen(run: pathlib.Path, data: str, *, named: bool) -> None:
    """Raises if a folder's rows are those that a run was trained on.

    Args:
        run: The run's folder.
        data: A prepared folder, other than the run's own.
        named: Whether the splits are named: then it warns and doesn't raise.

    Raises:
        RunError: Files that it was prepared from are the run's.
    """
    known, files = learned(run), sources(data)
    if known is None:
        logging.warning(
            "%s doesn't say which files its data are from: only you know "
            "whether it has learned rows of %s.",
            run,
            data,
        )
        return
    same = [files[digest] for digest in known if digest in files]
    shared = sum(size for _, size in same)
    # Two logs may each have a part with a head and no rows.
    if shared > LEAST_SHARED * sum(size for _, size in files.values()):
        name, _ = max(same, key=lambda file: file[1])
        found = (
            f"{data} has rows of {name!r}, as have the data that {run} was "
            "trained on, but parts them otherwise"
        )
        if not named:
            raise RunError(
                f"{found}: the model has learned some of its rows. Evaluate a "
                "later log; or name by --splits those rows that it hasn't "
                "learned."
            )
        logging.warning(
            "%s: if the model has learned any of those that --splits names, "
            "their numbers are too good.",
            found,
        )


def config(run: pathlib.Path) -> dict[str, Any]:
    """What a run's `config.json` says; nothing, if it can't be read."""
    try:
        content = json.loads((run / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def loaded(path: pathlib.Path) -> Any:
    """Reads a model, which may bring no code along.

    Raises:
        ValueError: It is damaged, or holds what isn't data alone.
    """
    import keras

    try:
        return keras.models.load_model(path, safe_mode=True)
    # Keras raises whatever it meets in a file.
    except Exception as error:
        said = f"{path.name} can't be read: {first_line(error)}"
        raise ValueError(said) from None
