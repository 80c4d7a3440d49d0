"""The package's programs, run as users run them: in processes of their own."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def run(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs `python -m module` in the repository."""
    return python("-m", module, *arguments)


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs Python in the repository."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
    )
