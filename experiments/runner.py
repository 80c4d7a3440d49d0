"""Trains many runs, each in a process of its own."""

import concurrent.futures
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any
from typing import Protocol

from experiments.provenance import ROOT
from experiments.runs import RunError
from mlora_tf.data import load


class Run(Protocol):
    """A run that a table needs."""

    @property
    def name(self) -> str:
        """Its folder's name: no other run's."""

    @property
    def flags(self) -> list[str]:
        """The flags of `experiments.train` that train it."""


class Runner:
    """Trains runs in processes of their own, several at a time.

    Each has one thread. One that is finished isn't trained again.

    Args:
        data: The prepared folder.
        folder: Holds the runs' folders.
        jobs: How many at a time.
    """

    def __init__(self, data: str, folder: pathlib.Path, jobs: int) -> None:
        self.data = data
        self.fingerprint = load(data).fingerprint
        self.folder = folder
        self.jobs = jobs

    def metrics(self, run: Run) -> dict[str, Any] | None:
        """A finished run's metrics; None if it isn't finished.

        Raises:
            RunError: It was trained on other data, or with other flags.
        """
        path = self.folder / run.name / "metrics.json"
        if not path.is_file():
            return None
        flags = self._flags_file(run)
        if flags.is_file() and json.loads(flags.read_text()) != run.flags:
            raise RunError(
                f"{path.parent} was trained with other flags than "
                f"{' '.join(run.flags)}: choose another --runs."
            )
        if self.config(run)["data"] != self.fingerprint:
            raise RunError(
                f"{path.parent} was trained on other data than {self.data}: "
                "choose another --runs."
            )
        return json.loads(path.read_text("utf-8"))

    def config(self, run: Run) -> dict[str, Any]:
        """A run's configuration."""
        path = self.folder / run.name / "config.json"
        return json.loads(path.read_text("utf-8"))

    def train(self, runs: Iterable[Run]) -> None:
        """Trains those that aren't finished; a failure ends everything."""
        missing = [run for run in runs if self.metrics(run) is None]
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            pending = [pool.submit(self._train, run) for run in missing]
            for done, future in enumerate(
                concurrent.futures.as_completed(pending), start=1
            ):
                try:
                    name = future.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
                left = (time.monotonic() - began) / done * (len(missing) - done)
                print(
                    f"{done}/{len(missing)} {name}, {left / 60:.0f} min left",
                    file=sys.stderr,
                    flush=True,
                )

    def _flags_file(self, run: Run) -> pathlib.Path:
        return self.folder / f"{run.name}.flags.json"

    def _train(self, run: Run) -> str:
        self._flags_file(run).write_text(json.dumps(run.flags), "utf-8")
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "experiments.train"),
                *(f"--data={self.data}", f"--output={self.folder / run.name}"),
                *("--threads=1", "--noexport", *run.flags),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            raise RunError(f"{run.name} failed:\n{finished.stderr[-3000:]}")
        return run.name
