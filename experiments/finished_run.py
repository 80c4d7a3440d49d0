"""Reads what a finished run has left, for the binaries that come after."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any


def check(run: pathlib.Path, imports: Sequence[str]) -> None:
    """Raises unless a run is finished, and the modules it needs are imported.

    Raises:
        RunError: It isn't, or they aren't.
    """
    from experiments.runs import RunError

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
    from experiments.runs import RunError

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
    from experiments.runs import RunError

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
        (first, *_) = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"{path.name} can't be read: {first}") from None
