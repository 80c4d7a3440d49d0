"""Reads the state of a training run, without trust in the file's bytes.

It is an `.npz` whose members are stored as they are: `state`, a JSON text,
`variable_<i>` for each variable it lists, `best_<i>` for the best weights so
far and, in the midst of an epoch, `metric_<i>` for its metrics. Nothing is
unpickled or evaluated, and no more memory is taken than about twice what the
file has bytes.
"""

import pathlib
import zipfile
from typing import Any

import numpy as np

from mlora_tf import npy_header
from mlora_tf import stored_zip
from mlora_tf import strict_json
from mlora_tf.schema_checks import get
from mlora_tf.schema_checks import short

STATE = "state"


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a file's arrays, and checks that they are those that it lists.

    Returns:
        The arrays by name; the JSON text is one of them, `STATE`.

    Raises:
        ValueError: The file is no whole one: the message says what is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _arrays(archive, path.stat().st_size)
        _check(arrays)
    except stored_zip.BROKEN as error:
        # zipfile repeats the bytes that it finds in place of a name.
        reason = str(error)[:200] or type(error).__name__
        raise ValueError(reason) from None
    return arrays


def _arrays(archive: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for info in stored_zip.members(archive, size).values():
        name = info.filename.removesuffix(".npy")
        if name in arrays:
            raise ValueError(f"{short(info.filename)} is there twice.")
        content = archive.read(info)
        end = npy_header.end(content)
        header = npy_header.parse(content[:end], len(content))
        numbers = np.frombuffer(content, header.dtype, offset=end)
        arrays[name] = numbers.reshape(header.shape, order=header.order)
    return arrays


def _check(arrays: dict[str, np.ndarray]) -> None:
    """Raises unless the arrays are those that the JSON text says."""
    if STATE not in arrays:
        raise ValueError(f"it has no {STATE!r}.")
    state = strict_json.loads(str(arrays[STATE]))
    get(state, "identity", dict)
    get(state, "finished", bool)
    get(state, "seconds", float)
    if get(state, "done", int) < 0:
        raise ValueError(f"'done' can't be {short(state['done'])}.")
    if not all(isinstance(one, dict) for one in get(state, "history", list)):
        raise ValueError("'history' must hold the logs of each epoch.")
    stopping = get(state, "early_stopping", dict)
    get(stopping, "wait", int)
    get(stopping, "best", float)
    get(stopping, "best_epoch", int)
    best = get(stopping, "num_weights", int)
    metrics = get(state, "num_metrics", int)
    shapes = [_shape(one) for one in get(state, "variables", list)]
    if not 0 <= best <= len(shapes):
        raise ValueError(f"'num_weights' can't be {short(best)}.")
    if not 0 <= metrics <= len(arrays):
        raise ValueError(f"'num_metrics' can't be {short(metrics)}.")
    expected = {STATE, *(f"variable_{i}" for i in range(len(shapes)))}
    expected |= {f"best_{i}" for i in range(best)}
    expected |= {f"metric_{i}" for i in range(metrics)}
    if set(arrays) != expected:
        wrong = sorted(set(arrays) ^ expected)
        raise ValueError(f"its arrays aren't those it lists: {short(wrong)}")
    for i, shape in enumerate(shapes):
        if arrays[f"variable_{i}"].shape != shape:
            raise ValueError(f"variable_{i} must be of shape {shape}.")


def _shape(variable: Any) -> tuple[int, ...]:
    """The shape of a variable that is listed as `[path, [sizes]]`."""
    if not isinstance(variable, list) or len(variable) != 2:
        raise ValueError(f"no variable: {short(variable)}")
    sizes = variable[1]
    if not isinstance(sizes, list) or not all(type(n) is int for n in sizes):
        raise ValueError(f"no shape: {short(sizes)}")
    return tuple(sizes)
