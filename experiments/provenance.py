"""Where a number comes from: commit and versions."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("tensorflow", "keras", "numpy", "pyarrow")


def provenance() -> dict[str, Any]:
    """The commit and the versions that a result was made with."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }


def _commit() -> str | None:
    """The checkout's commit, "+changes" added if files differ from it."""
    try:
        commit = _git("rev-parse", "HEAD")
        # Results are what commands write: rewriting one changes no command.
        changes = _git(
            *("status", "--porcelain", "--untracked-files=no", "--"),
            *(".", ":!experiments/results"),
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+changes" if changes else commit


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
