"""The members of a zip file of arrays, listed without trust."""

import struct
import zipfile

from mlora_tf.schema_checks import short

BROKEN = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
"""What bytes that are no such file may raise while they are read."""


def members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name, which take no more memory than the file.

    Args:
        archive: The file.
        size: Its bytes.

    Raises:
        ValueError: One is compressed or encrypted, there are two of a name, or
            together they are larger than the file.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        # Compressed, a small file could take up all memory.
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ValueError(f"{short(info.filename)} must be stored as it is.")
        if info.filename in found:
            raise ValueError(f"{short(info.filename)} is there twice.")
        found[info.filename] = info
    # One within the other, they could be many times the file.
    if sum(info.file_size for info in found.values()) > size:
        raise ValueError("its members are larger than the file.")
    return found
