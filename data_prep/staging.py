"""Makes a folder aside and moves it into place: whole or not at all."""

import contextlib
import ctypes
import hashlib
import io
import itertools
import json
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from typing import BinaryIO

from data_prep.layout import FILES
from data_prep.layout import FORMAT
from data_prep.layout import MANIFEST
from data_prep.layout import README
from data_prep.layout import TITLE
from data_prep.layout import PreparationError

_AT_FDCWD = -100
_EXCHANGE = 2
"""Linux's names of them, in `renameat2`."""


def check_output(output: str | pathlib.Path, overwrite: bool) -> None:
    """Raises unless `output` is free or may be replaced.

    A preparation calls this first, before the minutes that reading may take.
    """
    output = pathlib.Path(output)
    if not output.exists():
        return
    if not output.is_dir():
        raise PreparationError(
            f"{output} is a file; name a folder as --output."
        )
    if not overwrite:
        raise PreparationError(
            f"{output} exists; add --overwrite to replace it, or name another "
            "folder as --output."
        )
    entries = {entry.name for entry in output.iterdir()}
    files = _prepared_files(output)
    if entries and not files:
        raise PreparationError(
            f"{output} is no prepared folder, so it is not overwritten; name "
            "another folder as --output."
        )
    if strangers := sorted(entries - files):
        raise PreparationError(
            f"{output} also holds {strangers[0]!r}, which overwriting would "
            "delete; move it away, or name another folder as --output."
        )


def digest(stream: io.BytesIO | io.BufferedReader) -> dict[str, Any]:
    """Returns the length and the SHA-256 of a stream, read from its start."""
    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": stream.seek(0, os.SEEK_END), "sha256": sha256}


def _prepared_files(folder: pathlib.Path) -> set[str]:
    """The files that a prepared folder's manifest knows; none, if it is none.

    Only vectors' files have names that the format doesn't fix.
    """
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return set()
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return set()
    files = content.get("files")
    ours = {*FILES, *(files if isinstance(files, dict) else ())}
    if not _is_our_page(folder / README):
        ours.remove(README)
    return ours


def _is_our_page(path: pathlib.Path) -> bool:
    """Whether a README is one that a preparation wrote, not its owner."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(TITLE)) == TITLE.encode()
    except OSError:
        return False


def move_into_place(staging: pathlib.Path, output: pathlib.Path) -> None:
    """Renames `staging` to `output`, and what was there out of the way."""
    if not output.exists():
        os.replace(staging, output)
        sync_folder(output.parent)
        return
    old = staging
    if not exchange(staging, output):
        old = sibling(output)
        os.replace(output, old)
        try:
            os.replace(staging, output)
        except BaseException:
            os.replace(old, output)
            raise
    sync_folder(output.parent)
    shutil.rmtree(old, ignore_errors=True)


def exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Swaps two folders at one moment, so that neither is ever missing.

    Returns:
        Whether it has. Not every file system can.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    paths = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    status = renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _EXCHANGE)
    return status == 0


def make_parents(folder: pathlib.Path) -> list[pathlib.Path]:
    """Makes the folders above one; returns those made, the lowest first."""
    parents = folder.parents
    made = list(itertools.takewhile(lambda path: not path.exists(), parents))
    folder.parent.mkdir(parents=True, exist_ok=True)
    return made


def remove_empty(folders: Iterable[pathlib.Path]) -> None:
    """Removes folders, the lowest first, until one isn't empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def delete_left_behind(
    output: pathlib.Path, *, whole: bool, ending: str = "tmp"
) -> None:
    """Deletes what killed preparations of that folder left beside it.

    Args:
        output: The folder, whose lock is held: nobody writes to any of them.
        whole: Whether whole ones go too. One may be all that is left, where
            two folders can't be swapped at one moment.
        ending: That of their names, as `sibling` made them.
    """
    stem = re.escape(f".{output.name}.")
    name = re.compile(f"{stem}[0-9a-f]{{32}}[.]{ending}")
    for path in output.parent.iterdir():
        if name.fullmatch(path.name) and (
            whole or not (path / MANIFEST).exists()
        ):
            shutil.rmtree(path, ignore_errors=True)


def sibling(folder: pathlib.Path, ending: str = "tmp") -> pathlib.Path:
    """A name beside the folder that nobody else has."""
    # A rename is atomic only within a file system, hence beside the folder.
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.{ending}")


def write_json(path: pathlib.Path, content: Any, **options: Any) -> None:
    """Writes JSON and a newline; `options` are `json.dumps`'s."""
    write_text(path, json_text(content, **options) + "\n")


def json_text(content: Any, **options: Any) -> str:
    """JSON with names as people write them; `options` are `json.dumps`'s."""
    return encodable(json.dumps(content, ensure_ascii=False, **options))


def encodable(text: str) -> str:
    """The text, as UTF-8 can have it.

    A file's name that is no UTF-8 is the one text that can't be encoded; its
    replacement is JSON's own escape.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes text, whose bytes are on the disk then."""
    with durable(path) as stream:
        stream.write(encodable(text).encode())


@contextlib.contextmanager
def durable(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a file to write; its bytes are on the disk when it is closed."""
    with path.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: pathlib.Path) -> None:
    """Puts the names of the folder's files on the disk."""
    # Some file systems keep no such order, and say so with an error.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(path: pathlib.Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return digest(stream)["sha256"]
