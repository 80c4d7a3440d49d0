"""A lock that lets one process at a time write a folder."""

import contextlib
import fcntl
import logging
import os
import pathlib
import socket
from collections.abc import Iterator

logger = logging.getLogger(__name__)


class FolderInUseError(OSError):
    """Another process writes the folder: says which."""


@contextlib.contextmanager
def locked(path: pathlib.Path, folder: pathlib.Path) -> Iterator[None]:
    """Holds a folder's lock, which the system lets go when a process ends.

    Args:
        path: The lock's own file. It is deleted in the end; one that a killed
            process left is taken over.
        folder: What is locked, for the error's words.

    Raises:
        FolderInUseError: Another process, or another thread, has the lock.
    """
    descriptor = _take(path, folder)
    try:
        holder = f"{os.getpid()} on {socket.gethostname()}"
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder.encode())
        yield
    finally:
        # While the lock is held: nobody takes a file that is about to go.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: pathlib.Path, folder: pathlib.Path) -> int:
    """Opens the file and locks it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 300).decode(errors="replace")
            os.close(descriptor)
            words = f"process {holder}" if holder else "another process"
            raise FolderInUseError(
                f"{folder} is in use by {words}: wait until it ends, or name "
                "another folder."
            ) from None
        except OSError as error:
            logger.warning(
                "%s can't be locked (%s): see to it that nothing else writes "
                "that folder.",
                folder,
                error,
            )
            return descriptor
        if _is_at(descriptor, path):
            return descriptor
        # Its holder deleted it between the two calls above.
        os.close(descriptor)


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
