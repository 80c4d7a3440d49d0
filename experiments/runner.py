"""Trains many runs, each in a process of its own."""

import concurrent.futures
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any
from typing import Protocol

from experiments.provenance import ROOT
from experiments.run_folder import RunError
from experiments.run_folder import write
from mlora_tf.data import load

END_SECONDS = 10.0
"""How long a run may take to save its state when all ends."""


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

    Each has one thread. One that is finished isn't trained again. Where all
    ends, by a failure or a signal, those under way save their state first.

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
        self._children: set[subprocess.Popen[str]] = set()
        self._ending = False
        self._lock = threading.Lock()

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
        self._ending = False
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            pending = [pool.submit(self._train, run) for run in missing]
            try:
                for done, future in enumerate(
                    concurrent.futures.as_completed(pending), start=1
                ):
                    name = future.result()
                    left = (time.monotonic() - began) / done
                    left *= len(missing) - done
                    print(
                        f"{done}/{len(missing)} {name}, {left / 60:.0f} min "
                        "left",
                        file=sys.stderr,
                        flush=True,
                    )
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._end()
                raise

    def _end(self) -> None:
        """Lets the runs under way save their state, and ends them."""
        with self._lock:
            self._ending = True
            children = list(self._children)
        for child in children:
            child.terminate()
        deadline = time.monotonic() + END_SECONDS
        for child in children:
            try:
                child.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                child.kill()

    def _flags_file(self, run: Run) -> pathlib.Path:
        return self.folder / f"{run.name}.flags.json"

    def _train(self, run: Run) -> str:
        write(self._flags_file(run), json.dumps(run.flags))
        with self._lock:
            if self._ending:
                raise RunError(f"{run.name} wasn't started: all is ending.")
            child = subprocess.Popen(
                self._command(run),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._children.add(child)
        _, words = child.communicate()
        with self._lock:
            self._children.remove(child)
        if child.returncode:
            raise RunError(f"{run.name} failed:\n{words[-3000:]}")
        return run.name

    def _command(self, run: Run) -> list[str]:
        return [
            *(sys.executable, "-m", "experiments.train"),
            *(f"--data={self.data}", f"--output={self.folder / run.name}"),
            *("--threads=1", "--noexport", *run.flags),
        ]
