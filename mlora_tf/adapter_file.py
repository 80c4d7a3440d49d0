"""The file of adapters: plain arrays and a header, read without trust.

It is an `.npz` whose members are stored as they are: `header.json`, and for
each per-domain weight an array named by the weight's path, axis 0 of which
are the domains in the file. A reader unpickles nothing, evaluates nothing,
and takes no more memory than about twice what the file has bytes.
"""

import dataclasses
import errno
import io
import json
import pathlib
import uuid
import zipfile
from typing import Any

import numpy as np

from mlora_tf import durable
from mlora_tf import npy_header
from mlora_tf import stored_zip
from mlora_tf import strict_json
from mlora_tf.schema_checks import check_positive
from mlora_tf.schema_checks import check_values
from mlora_tf.schema_checks import get
from mlora_tf.schema_checks import short
from mlora_tf.version import __version__

FORMAT = "mlora_tf.adapters/1"
HEADER = "header.json"

LONGEST = 500
"""The most characters of what an error quotes."""

STORED = {
    "float16": "<f4",
    "bfloat16": "<f4",
    "float32": "<f4",
    "float64": "<f8",
}
"""How numbers of each kind are stored: exactly, and for any NumPy to read."""


@dataclasses.dataclass(frozen=True)
class Adapters:
    """What a file of adapters holds.

    Args:
        domains: The domains' names.
        weights: By path, each weight's slices: axis 0 is the domain.
        dtypes: By path, the weight's own dtype.
        backbone: The fingerprint of all that isn't per domain.
        version: The version of mlora_tf that wrote it.
    """

    domains: tuple[str, ...]
    weights: dict[str, np.ndarray]
    dtypes: dict[str, str]
    backbone: str
    version: str = __version__


def write(adapters: Adapters, path: str | pathlib.Path) -> None:
    """Writes a file aside and renames it, so that nobody reads half of one."""
    path = pathlib.Path(path)
    header = {
        "format": FORMAT,
        "version": adapters.version,
        "domains": list(adapters.domains),
        "backbone": adapters.backbone,
        "weights": {
            name: {"shape": list(values.shape[1:]), "dtype": kind}
            for (name, values), kind in zip(
                adapters.weights.items(), adapters.dtypes.values(), strict=True
            )
        },
    }
    if not path.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "there is no such folder to write to", str(path)
        )
    # Made like any file, so that it has the rights that the umask leaves.
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(aside, "x") as archive:
            archive.writestr(HEADER, json.dumps(header))
            for name, values in adapters.weights.items():
                stored = values.astype(STORED[adapters.dtypes[name]])
                buffer = io.BytesIO()
                np.lib.format.write_array(
                    buffer, stored, version=(1, 0), allow_pickle=False
                )
                archive.writestr(f"{name}.npy", buffer.getvalue())
        durable.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def read(path: str | pathlib.Path) -> Adapters:
    """Reads a file, and checks that it says of itself what is true.

    Raises:
        ValueError: The file isn't one of adapters, or not a whole one: the
            message names it and says what is wrong.
    """
    content = pathlib.Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read(archive, len(content))
    except stored_zip.BROKEN as error:
        # zipfile repeats the bytes that it finds in place of a name.
        reason = str(error)[:LONGEST] or type(error).__name__
        raise ValueError(f"{path} is no file of adapters: {reason}") from None


def _read(archive: zipfile.ZipFile, size: int) -> Adapters:
    members = stored_zip.members(archive, size)
    if HEADER not in members:
        raise ValueError(
            f"it has no {HEADER}. Received: {short(list(members))}"
        )
    header = strict_json.loads(archive.read(members.pop(HEADER)))
    if get(header, "format", str) != FORMAT:
        raise ValueError(
            f"this version reads the format {FORMAT!r}. Received: "
            f"{short(header['format'])}, by {short(header.get('version'))}"
        )
    domains = tuple(get(header, "domains", list))
    check_values(domains, "the list of domains")
    if not all(isinstance(name, str) and name for name in domains):
        raise ValueError(
            f"domain names must be strings. Received: {short(domains)}"
        )
    weights, dtypes = {}, {}
    for name, said in get(header, "weights", dict).items():
        dtypes[name] = _dtype(name, said)
        shape = (len(domains), *_shape(name, said))
        if f"{name}.npy" not in members:
            raise ValueError(f"the weight {short(name)} is missing.")
        values = _array(archive.read(members.pop(f"{name}.npy")))
        stored = np.dtype(STORED[dtypes[name]])
        if (values.shape, values.dtype) != (shape, stored):
            raise ValueError(
                f"the weight {short(name)} must be of shape {shape} and dtype "
                f"{stored}. Received: {values.shape} and {values.dtype}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"the weight {short(name)} isn't finite.")
        weights[name] = values
    if members:
        raise ValueError(f"it holds more: {short(sorted(members))}")
    return Adapters(
        domains,
        weights,
        dtypes,
        backbone=get(header, "backbone", str),
        version=get(header, "version", str),
    )


def _dtype(name: str, said: Any) -> str:
    kind: str = get(said, "dtype", str)
    if kind not in STORED:
        raise ValueError(
            f"the dtype of {short(name)} must be one of {list(STORED)}. "
            f"Received: {short(kind)}"
        )
    return kind


def _shape(name: str, said: Any) -> tuple[int, ...]:
    shape = tuple(get(said, "shape", list))
    for size in shape:
        check_positive(size, f"each size of {short(name)}")
    return shape


def _array(content: bytes) -> np.ndarray:
    """An array from NumPy's format 1.0, whose header nothing evaluates."""
    end = npy_header.end(content)
    header = npy_header.parse(content[:end], len(content))
    # Every domain's slice is in one piece then.
    if header.order != "C" or header.dtype.str not in STORED.values():
        raise ValueError("it holds an array that isn't of float numbers.")
    return np.frombuffer(content, header.dtype, offset=end).reshape(
        header.shape
    )
