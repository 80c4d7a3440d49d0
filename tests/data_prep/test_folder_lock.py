import fcntl
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from data_prep import folder_lock
from data_prep.folder_lock import FolderInUseError
from data_prep.folder_lock import locked

ROOT = pathlib.Path(__file__).parents[2]
HOLDER = """
import pathlib, sys, time
from data_prep.folder_lock import locked
with locked(pathlib.Path(sys.argv[1]), pathlib.Path("out")):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def start(path):
    """A process that holds the lock until it is told to go."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_process_is_told_which_has_the_folder(tmp_path):
    path = tmp_path / ".lock"
    process = start(path)
    said = (
        rf"^out is in use by process {process.pid} on .*: wait until.*folder\."
    )
    with (
        pytest.raises(FolderInUseError, match=said),
        locked(path, pathlib.Path("out")),
    ):
        pass
    process.communicate("\n")
    with locked(path, pathlib.Path("out")):
        assert path.read_text().startswith(f"{os.getpid()} on ")


def test_the_lock_dies_with_its_process(tmp_path):
    path = tmp_path / ".lock"
    process = start(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.exists()
    with locked(path, pathlib.Path("out")):
        pass
    assert not path.exists()


def test_an_error_lets_the_lock_go(tmp_path):
    path = tmp_path / ".lock"
    with pytest.raises(KeyError), locked(path, tmp_path):
        raise KeyError
    assert not path.exists()
    with locked(path, tmp_path):
        pass


def test_a_lock_deleted_before_it_is_taken_is_made_again(tmp_path, monkeypatch):
    path, flock = tmp_path / ".lock", fcntl.flock
    deleted = []

    def holder_was_faster(descriptor, operation):
        if not deleted:
            deleted.append(path)
            path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(folder_lock.fcntl, "flock", holder_was_faster)
    with (
        locked(path, tmp_path),
        pytest.raises(FolderInUseError),
        locked(path, tmp_path),
    ):
        pass
    assert len(deleted) == 1


def test_where_nothing_can_be_locked_that_is_said(
    tmp_path, monkeypatch, caplog
):
    def refuse(*_):
        raise OSError("not supported")

    monkeypatch.setattr(folder_lock.fcntl, "flock", refuse)
    with locked(tmp_path / ".lock", tmp_path):
        pass
    assert "can't be locked (not supported)" in caplog.text
