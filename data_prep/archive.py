"""Reads the files of a folder or of an archive, where they are.

Nothing is ever extracted: a member of a `.zip`, `.tar` or `.tar.gz` is read as
a stream. An archive with a member that would leave the folder it is unpacked
in is refused, whether or not that member is asked for.
"""

import contextlib
import hashlib
import io
import lzma
import os
import pathlib
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import IO
from typing import Any

from data_prep import progress
from data_prep.layout import PreparationError
from data_prep.layout import wrong_line

_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or an unknown compression
    ValueError,
)
_AGAIN = "fetch it again"


class File:
    """A file while it is read.

    Attributes:
        path: Where it is, for people.
        stream: Its bytes.
    """

    def __init__(
        self, path: str, stream: IO[bytes], advance: Callable[[float], None]
    ) -> None:
        self.path = path
        self._raw = _Digesting(path, stream, advance)
        self.stream = io.BufferedReader(self._raw, 1 << 20)

    def error(self, line: int, problem: str) -> PreparationError:
        """The error that names this file and that line of it."""
        return wrong_line(self.path, line, problem, _AGAIN)

    def digest(self) -> dict[str, Any]:
        """The length and SHA-256 of the whole file, as a manifest has them.

        What is left of the file is read, so that an archive's checksum is
        checked, too.
        """
        while self.stream.read(1 << 20):
            pass
        return {"bytes": self._raw.bytes, "sha256": self._raw.sha.hexdigest()}


class _Digesting(io.RawIOBase):
    """A stream that digests what is read, and names itself in errors."""

    def __init__(
        self, path: str, stream: IO[bytes], advance: Callable[[float], None]
    ) -> None:
        self.path = path
        self.stream = stream
        self.advance = advance
        self.sha = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with readable(f"{self.path}: can't be read"):
            data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        self.sha.update(data)
        self.bytes += len(data)
        self.advance(len(data))
        return len(data)


class Source:
    """The files of a folder or of an archive.

    Attributes:
        raw: The folder or the archive.
        names: The files' paths in it, with "/", in the order in which they
            are read fastest.
    """

    def __init__(
        self,
        raw: pathlib.Path,
        sizes: Mapping[str, int],
        open_member: Callable[[str], IO[bytes]],
    ) -> None:
        self.raw = raw
        self.names = tuple(sizes)
        self._sizes = sizes
        self._open = open_member

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[File]:
        """Opens a file, and shows how much of it is read."""
        path = f"{self.raw}/{name}"
        with readable(f"{path}: can't be read"):
            member = self._open(name)
        title = f"Reading {pathlib.PurePosixPath(name).name}"
        with member, progress.bar(title, self._sizes[name]) as advance:
            yield File(path, member, advance)


@contextlib.contextmanager
def readable(problem: str, again: str = _AGAIN) -> Iterator[None]:
    """Turns what goes wrong while an archive is read into an error of ours.

    Args:
        problem: What can't be read: `"raw.zip: can't be read"`.
        again: How to get it again.

    Raises:
        PreparationError: It can't be read.
    """
    try:
        yield
    except PreparationError:
        raise
    except _ERRORS as error:
        # zipfile repeats the bytes that it finds in place of a name.
        reason = " ".join(str(error)[:500].split()) or type(error).__name__
        raise PreparationError(f"{problem} ({reason}); {again}.") from error


@contextlib.contextmanager
def opened(raw: str | pathlib.Path, what: str) -> Iterator[Source]:
    """Opens a folder or an archive.

    Args:
        raw: The folder, `.zip`, `.tar` or `.tar.gz`. What it is is told by
            its first bytes, not by its name.
        what: What it should be, for an error: `"the folder of the csv files"`.
    """
    raw = pathlib.Path(raw)
    if not raw.exists():
        raise PreparationError(f"{raw} doesn't exist; name {what} as --raw.")
    if raw.is_dir():
        yield _folder(raw)
        return
    with contextlib.ExitStack() as stack:
        with readable(f"{raw}: can't be read"):
            with raw.open("rb") as stream:
                is_zip = stream.read(2) == b"PK"
            if is_zip:
                archive = stack.enter_context(zipfile.ZipFile(raw))
                source = _zip(raw, archive)
            else:
                members = stack.enter_context(tarfile.open(raw, "r:*"))
                source = _tar(raw, members)
        yield source


def _folder(raw: pathlib.Path) -> Source:
    sizes = {}
    for parent, _, names in os.walk(raw):
        for name in names:
            path = pathlib.Path(parent, name)
            if path.is_file():
                sizes[path.relative_to(raw).as_posix()] = path.stat().st_size
    return Source(
        raw, dict(sorted(sizes.items())), lambda name: (raw / name).open("rb")
    )


def _zip(raw: pathlib.Path, archive: zipfile.ZipFile) -> Source:
    sizes: dict[str, int] = {}
    for member in archive.infolist():
        link = stat.S_ISLNK(member.external_attr >> 16)
        # `filename` is what zipfile has made of it.
        for name in (member.orig_filename, member.filename):
            _check_member(raw, name, link)
        if not member.is_dir():
            _add(raw, sizes, member.filename, member.file_size)
            # A name has no checksum, but is there twice: opening compares.
            archive.open(member).close()
    return Source(raw, sizes, archive.open)


def _tar(raw: pathlib.Path, archive: tarfile.TarFile) -> Source:
    sizes: dict[str, int] = {}
    members = {}
    for member in archive.getmembers():
        _check_member(raw, member.name, not (member.isfile() or member.isdir()))
        if member.isfile():
            name = member.name.removeprefix("./")
            _add(raw, sizes, name, member.size)
            members[name] = member
    _check_end(archive)

    def open_member(name: str) -> IO[bytes]:
        stream = archive.extractfile(members[name])
        assert stream is not None  # It is a file.
        return stream

    return Source(raw, sizes, open_member)


def _check_end(archive: tarfile.TarFile) -> None:
    """Raises unless the list of members ends where the archive does.

    To tarfile, a damaged header is the end. Reading on to the end also lets
    a compressed archive check its sum.
    """
    stream, rest = archive.fileobj, 0
    assert stream is not None  # It is open.
    while data := stream.read(1 << 20):
        rest += len(data)
        if data.count(0) < len(data):
            raise tarfile.ReadError("a header is damaged")
    if not rest:
        raise tarfile.ReadError("its end is missing")


def _check_member(raw: pathlib.Path, name: str, link: bool) -> None:
    """Raises for a member that isn't a plain file within the archive."""
    path = name.replace("\\", "/")
    if not path:
        problem = "has no name"
    elif (
        path.startswith("/")
        or re.match("[A-Za-z]:", path)
        or ".." in path.split("/")
    ):
        problem = "climbs out of the archive"
    elif link:
        problem = "is a link or a device"
    else:
        return
    raise PreparationError(
        f"{raw}: its member {name!r} {problem}, so nothing of it is read; "
        f"{_AGAIN}, from a place you trust."
    )


def _add(
    raw: pathlib.Path, sizes: dict[str, int], name: str, size: int
) -> None:
    if name in sizes:
        raise PreparationError(
            f"{raw}: its member {name!r} is there twice; {_AGAIN}."
        )
    sizes[name] = size
