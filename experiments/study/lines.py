"""A file of JSON lines that is only ever added to, by several processes."""

import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from experiments.errors import RunError


def append(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Adds a line; once this returns, a crash doesn't lose it.

    A part of a line, left by a process that was killed, is removed first.

    Raises:
        ValueError: A number is none that JSON has.
    """
    line = json.dumps(content, separators=(",", ":"), allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def make(path: pathlib.Path) -> None:
    """Makes an empty file, if there is none: so a file that can't be is told.

    Raises:
        RunError: It can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise RunError(
            f"{path} can't be written ({error.strerror}): name another folder "
            "as --output."
        ) from None


def read(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, none if there is no file.

    Raises:
        RunError: A line isn't a JSON object.
    """
    if not path.is_file():
        return
    content = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(content, start=1):
        if not line.endswith(b"\n"):
            return
        try:
            found = json.loads(line)
        except ValueError as error:
            raise damaged(path, number, error) from None
        if not isinstance(found, dict):
            raise damaged(path, number, "no object")
        yield found


def damaged(path: pathlib.Path, number: int, error: object) -> RunError:
    """The error that names a line which is no run."""
    return RunError(
        f"{path}, line {number}: no run ({error!r}); delete the line, and the "
        "run is trained again."
    )
