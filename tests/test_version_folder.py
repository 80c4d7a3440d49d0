import pathlib
import subprocess
import sys
import threading

import pytest

from mlora_tf import version_folder
from mlora_tf.version_folder import publish
from mlora_tf.version_folder import versions

# The module without the package's own, which would load TensorFlow.
PUBLISHER = f"""
import pathlib, sys, time, types
package = types.ModuleType("mlora_tf")
package.__path__ = [{str(pathlib.Path(version_folder.__file__).parent)!r}]
sys.modules["mlora_tf"] = package
from mlora_tf import version_folder

def write(aside):
    (aside / "content").write_text(sys.argv[2])
    print("writing", flush=True)
    sys.stdin.readline()

print(version_folder.publish(sys.argv[1], write).name)
"""


def content(text):
    return lambda aside: (aside / "content").write_text(text)


def names(folder):
    return {path.name for path in folder.iterdir()}


def start(folder, text):
    """A process that publishes, in the midst of its writing."""
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, folder, text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    return process


def test_versions_are_whole_numbers(tmp_path):
    for name in ("2", "10", "x", "1.5", "-3", ".export-7", "٣"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [2, 10]
    assert versions(tmp_path / "nowhere") == []


def test_the_next_version_follows_the_highest(tmp_path):
    folder = tmp_path / "made" / "here"
    assert publish(folder, content("a")) == folder / "1"
    (folder / "7").mkdir()
    assert publish(folder, content("b")) == folder / "8"
    assert (folder / "8" / "content").read_text() == "b"
    assert (folder / "8").stat().st_mode & 0o777 == 0o755


def test_nobody_sees_a_version_before_it_is_whole(tmp_path):
    seen = []
    publish(tmp_path, lambda aside: seen.append(versions(tmp_path)))
    assert seen == [[]]
    assert names(tmp_path) == {"1"}


def test_a_failure_leaves_nothing_behind(tmp_path):
    def fail(aside):
        (aside / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, fail)
    assert names(tmp_path) == set()


def test_another_error_of_renaming_is_raised(tmp_path, monkeypatch):
    # No next version would help.
    errors = iter([PermissionError(13, "denied"), AssertionError("again")])

    def refuse(*_):
        raise next(errors)

    monkeypatch.setattr(pathlib.Path, "rename", refuse)
    with pytest.raises(PermissionError):
        publish(tmp_path, content("a"))
    assert names(tmp_path) == set()


def test_a_version_taken_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    publish(tmp_path, content("theirs"))
    # What is read before theirs is there, then after.
    answers = iter([[], [1]])
    monkeypatch.setattr(version_folder, "versions", lambda _: next(answers))
    assert publish(tmp_path, content("ours")) == tmp_path / "2"
    assert (tmp_path / "1" / "content").read_text() == "theirs"


def test_threads_get_versions_of_their_own(tmp_path):
    together = threading.Barrier(8)
    published = {}

    def write(aside):
        together.wait(timeout=30)
        content(threading.current_thread().name)(aside)

    def run():
        path = publish(tmp_path, write)
        published[threading.current_thread().name] = path

    threads = [threading.Thread(target=run, name=f"{i}") for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions(tmp_path) == list(range(1, 9))
    assert len(names(tmp_path)) == 8
    for name, path in published.items():
        assert (path / "content").read_text() == name


def test_processes_get_versions_of_their_own(tmp_path):
    # Each starts while the one before is writing, and none is disturbed.
    processes = {text: start(tmp_path, text) for text in ("a", "b", "c")}
    answers = {
        text: process.communicate("\n")[0].strip()
        for text, process in processes.items()
    }
    assert sorted(answers.values()) == ["1", "2", "3"]
    assert names(tmp_path) == {"1", "2", "3"}
    for text, version in answers.items():
        assert (tmp_path / version / "content").read_text() == text


def test_what_a_killed_process_left_aside_is_deleted(tmp_path):
    process = start(tmp_path, "half")
    process.kill()
    process.communicate()
    (left,) = names(tmp_path)
    assert left.startswith(".")
    publish(tmp_path, content("whole"))
    assert names(tmp_path) == {"1"}


def test_where_folders_cannot_be_locked_none_is_deleted(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("not supported")

    monkeypatch.setattr(version_folder.fcntl, "flock", refuse)
    (tmp_path / ".export-theirs").mkdir()
    assert publish(tmp_path, content("a")) == tmp_path / "1"
    assert names(tmp_path) == {"1", ".export-theirs"}


def test_a_folder_deleted_before_it_is_locked_is_made_again(
    tmp_path, monkeypatch
):
    flock = version_folder.fcntl.flock
    deleted = []

    def cleaner_was_faster(handle, operation):
        if not deleted:
            deleted.append(*tmp_path.glob(".export-*"))
            deleted[0].rmdir()
        flock(handle, operation)

    monkeypatch.setattr(version_folder.fcntl, "flock", cleaner_was_faster)
    assert publish(tmp_path, content("a")) == tmp_path / "1"
    assert (tmp_path / "1" / "content").read_text() == "a"
    assert len(deleted) == 1
