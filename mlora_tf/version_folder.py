"""Numbered versions of a served model, of which no reader sees a half."""

import contextlib
import errno
import fcntl
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Iterator

from mlora_tf import durable

_ASIDE = ".export-"


def versions(folder: str | pathlib.Path) -> list[int]:
    """The versions of a served model, in rising order."""
    folder = pathlib.Path(folder)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    # A reader of TensorFlow Serving's layout sees whole decimal names alone.
    return sorted(int(name) for name in names if re.fullmatch("[0-9]+", name))


def publish(
    folder: str | pathlib.Path, write: Callable[[pathlib.Path], None]
) -> pathlib.Path:
    """Writes the next version aside and renames it, whole.

    Several processes may publish to one folder at a time: each gets a version
    of its own. What a killed one left aside is deleted by the next.

    Args:
        folder: The model's folder; made if it isn't there.
        write: Writes into the folder that it is called with.

    Returns:
        The new version's folder.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left_behind in folder.glob(f"{_ASIDE}*"):
        with contextlib.suppress(OSError), _locked(left_behind, wait=False):
            shutil.rmtree(left_behind)
    with _aside(folder) as aside:
        try:
            write(aside)
            aside.chmod(0o755)
            durable.sync_tree(aside)
            version = _rename(aside, folder)
            durable.sync_folder(folder)
            return version
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


@contextlib.contextmanager
def _aside(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder that nobody else takes for one left behind."""
    while True:
        aside = pathlib.Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder))
        with contextlib.ExitStack() as stack:
            # Another may have deleted it before it was locked. Where folders
            # can't be locked, nobody deletes any.
            with contextlib.suppress(OSError):
                stack.enter_context(_locked(aside, wait=True))
            if aside.is_dir():
                yield aside
                return


@contextlib.contextmanager
def _locked(path: pathlib.Path, wait: bool) -> Iterator[None]:
    """Holds a folder's lock, which the system lets go when a process ends."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def _rename(aside: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Renames a folder to the next version that is free."""
    while True:
        version = folder / str(max(versions(folder), default=0) + 1)
        try:
            # It replaces no folder that has something in it.
            aside.rename(version)
            return version
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
