"""A file that a binary shall write: checked before any work is done."""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.errors import RunError


def define_flag() -> None:
    """Defines the flag that lets a file be replaced."""
    flags.DEFINE_bool("overwrite", False, "Replace the files that are there.")


RUN_FILES = {
    "README.md",
    "config.json",
    "history.csv",
    "metrics.json",
    "model.keras",
    "schema.json",
}
"""What a run's folder has, by which it is whole."""


def check(
    flag: str, path: pathlib.Path, suffixes: Sequence[str], overwrite: bool
) -> None:
    """Raises unless there can be such a file, and nothing is lost by it.

    Args:
        flag: The flag that names it.
        path: The file.
        suffixes: What its name may end in.
        overwrite: Whether a file that is there is replaced.

    Raises:
        RunError: It is a folder, has another suffix, or is there.
    """
    said = f"--{flag}={path}"
    if path.is_dir():
        raise RunError(f"{said} is a folder: name a file.")
    if path.suffix not in suffixes:
        raise RunError(f"{said} must end in {' or '.join(suffixes)}.")
    if path.exists() and _is_ours(path):
        raise RunError(
            f"{said} is a file of a run or of prepared data, which would be "
            "lost: name another file."
        )
    if path.exists() and not overwrite:
        raise RunError(
            f"{said} exists: add --overwrite to replace it, or name another "
            "file."
        )


def _is_ours(path: pathlib.Path) -> bool:
    """Whether a file is one that a run, or a prepared folder, is made of."""
    of_run = (path.parent / "config.json").is_file() and path.name in RUN_FILES
    of_data = (path.parent / "manifest.json").is_file() and (
        path.suffix in (".json", ".parquet")
    )
    return of_run or of_data
