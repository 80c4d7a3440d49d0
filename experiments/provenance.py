"""Where a number comes from: commit, versions and arithmetic."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("tensorflow", "keras", "numpy", "pyarrow")

CPUINFO = pathlib.Path("/proc/cpuinfo")
VECTORS = {
    "avx2",
    "fma",
    "avx_vnni",
    "amx_tile",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
}
"""What a CPU may have that TensorFlow's kernels are chosen by."""


def provenance() -> dict[str, Any]:
    """The commit, the versions and the CPU that a result was made with.

    With other `cpu` or `onednn` TensorFlow takes other kernels, whose rounding
    differs, and a training ends elsewhere, as with another seed.
    """
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    }


def _cpu() -> str:
    """What kernels are chosen by; where Linux doesn't say it, the CPU."""
    try:
        lines = CPUINFO.read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    words = {
        word for line in lines if line[:5] == "flags" for word in line.split()
    }
    return " ".join(sorted(VECTORS & words)) or platform.processor()


def _commit() -> str | None:
    """The checkout's commit, "+changes" added if files differ from it."""
    try:
        commit = _git("rev-parse", "HEAD")
        # Results are what commands write: rewriting one changes no command.
        changes = _git(
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            ".",
            ":!experiments/results",
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
