"""Files that are whole whatever happens, a power loss included.

A rename alone makes a file whole for whoever reads it meanwhile. After a power
loss its name may be there without its bytes, unless these were put on the disk
first.
"""

import contextlib
import os
import pathlib


def replace(aside: pathlib.Path, path: pathlib.Path) -> None:
    """Moves a file that was written aside into place, durably.

    Args:
        aside: The whole file, in the same folder.
        path: Its name; a file of that name is replaced.
    """
    sync(aside)
    os.replace(aside, path)
    sync_folder(path.parent)


def sync(path: pathlib.Path) -> None:
    """Puts a file's bytes on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: pathlib.Path) -> None:
    """Puts the names in a folder on the disk."""
    # Some file systems keep no such order, and say so with an error.
    with contextlib.suppress(OSError):
        sync(folder)


def sync_tree(folder: pathlib.Path) -> None:
    """Puts all that is in a folder on the disk, and what is in its folders."""
    for path, _, names in os.walk(folder):
        for name in names:
            sync(pathlib.Path(path, name))
        sync_folder(pathlib.Path(path))
