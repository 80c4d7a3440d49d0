"""What must be installed and set for this package: read without importing it.

So it can say what is wrong where Keras or TensorFlow couldn't even start.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import sys
from collections.abc import Iterator
from collections.abc import Mapping

OK = "OK"
WARNING = "warning"
PROBLEM = "problem"

PYTHON = (3, 11)

NEEDED = {
    "tensorflow": (2, 20),
    "keras": (3, 15),
    "numpy": (1, 26),
    "pyarrow": (15,),
}
"""The oldest release of each package, as in setup.py."""

TESTED = {"tensorflow": (2, 21), "keras": (3, 15)}
"""The newest releases that the tests have run with."""

RIVALS = {
    "tensorflow": ("tensorflow-cpu", "tensorflow-gpu", "tf-nightly"),
    "keras": ("keras-nightly",),
}
"""Packages that install their files over another's."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A line of what the doctor says.

    Attributes:
        level: "OK", "warning" or "problem".
        text: What was found and, unless it is fine, what to do.
        fatal: Whether the package can't even be imported.
    """

    level: str
    text: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.level:<8} {self.text}"


def require() -> None:
    """Raises `ImportError` if this package can't be imported, and says why."""
    found = list(findings())
    fatal = [finding.text for finding in found if finding.fatal]
    if fatal and is_doctor():
        # It can't be imported either, and this is what it would say.
        sys.exit("\n".join(map(str, found)))
    if fatal:
        raise ImportError("mlora_tf can't start: " + "; ".join(fatal))


def is_doctor() -> bool:
    """Whether this process is `python -m mlora_tf.doctor`."""
    return "mlora_tf.doctor" in sys.orig_argv


def findings() -> Iterator[Finding]:
    """What is installed and set."""
    variables = os.environ
    yield _python()
    for name in NEEDED:
        yield _package(name)
    yield from _rivals()
    yield from _backend(variables)
    yield from _variables(variables)


def release(version: str) -> tuple[int, ...]:
    """The numbers that a version starts with.

    Example:
        >>> release("2.21.0rc1")
        (2, 21, 0)
    """
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def installed(name: str) -> str | None:
    """A package's version; None if it isn't installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] < PYTHON:
        return Finding(
            PROBLEM,
            f"python {version} is older than {_dots(PYTHON)}: make a virtual "
            "environment with a newer one",
            fatal=True,
        )
    return Finding(OK, f"python {version} ({_dots(PYTHON)} or newer)")


def _package(name: str) -> Finding:
    needed = _dots(NEEDED[name])
    version = installed(name)
    if version is None:
        return Finding(
            PROBLEM,
            f"{name} isn't installed: pip install '{name}>={needed}'",
            fatal=True,
        )
    if release(version) < NEEDED[name]:
        return Finding(
            PROBLEM,
            f"{name} {version} is too old: pip install '{name}>={needed}'",
            fatal=True,
        )
    tested = TESTED.get(name)
    if tested and release(version)[: len(tested)] > tested:
        return Finding(
            WARNING,
            f"{name} {version} is newer than {_dots(tested)}, which this is "
            f"tested with: if something breaks, pip install "
            f"'{name}=={_dots(tested)}.*'",
        )
    return Finding(OK, f"{name} {version} ({needed} or newer)")


def _rivals() -> Iterator[Finding]:
    names = [
        (distribution.metadata["Name"] or "").lower().replace("_", "-")
        for distribution in importlib.metadata.distributions()
    ]
    for name, rivals in RIVALS.items():
        found = [rival for rival in rivals if rival in names]
        if names.count(name) > 1:
            found.append(f"another {name}")
        if found and name in names:
            yield Finding(
                PROBLEM,
                f"{name} and {', '.join(found)} are both installed, and one's "
                f"files lie over the other's: pip uninstall all of them, then "
                f"pip install {name}",
            )


def _backend(variables: Mapping[str, str]) -> Iterator[Finding]:
    """Keras's backend, as Keras itself finds it."""
    home = variables.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    path = pathlib.Path(home) / "keras.json"
    saved: object = {}
    if path.is_file():
        try:
            saved = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            saved = None
    if not isinstance(saved, dict):
        yield Finding(WARNING, f"{path} is no JSON object: delete it")
        saved = {}
    if variables.get("KERAS_BACKEND"):
        backend, where = variables["KERAS_BACKEND"], "KERAS_BACKEND"
    else:
        backend, where = str(saved.get("backend", "tensorflow")), str(path)
    if backend != "tensorflow":
        missing = backend in ("jax", "torch") and (
            importlib.util.find_spec(backend) is None
        )
        yield Finding(
            PROBLEM,
            f"Keras's backend is {backend!r}, by {where}"
            + (", which isn't installed" if missing else "")
            + ": layers run with any, but training and serving with "
            "TensorFlow alone: set KERAS_BACKEND=tensorflow",
            fatal=missing,
        )
    else:
        yield Finding(OK, "Keras's backend is tensorflow")
    if saved.get("floatx", "float32") != "float32":
        yield Finding(
            WARNING,
            f"{path} makes {saved['floatx']!r} Keras's type of numbers, where "
            'results are from float32: set its "floatx" to that',
        )


def _variables(variables: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that are known to break something."""
    legacy = variables.get("TF_USE_LEGACY_KERAS", "").lower()
    if legacy in ("1", "true"):
        yield Finding(
            PROBLEM,
            f"TF_USE_LEGACY_KERAS={legacy} makes tf.keras Keras 2, whose "
            "layers and models don't go together with these: unset it",
        )
    flags = variables.get("TF_XLA_FLAGS", "")
    if re.search(r"tf_xla_auto_jit=(?!0|off)", flags):
        yield Finding(
            PROBLEM,
            f"TF_XLA_FLAGS={flags} compiles everything by XLA, which fails on "
            "several replicas and is slow on a CPU: unset it",
        )


def _dots(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
