"""Preparations killed at every moment that could matter."""

import json
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from data_prep import features
from data_prep import staging
from data_prep.folder_lock import FolderInUseError
from data_prep.layout import Description
from data_prep.layout import PreparationError
from data_prep.writer import Writer

ROOT = pathlib.Path(__file__).parents[2]

# Its children die at their n-th call of what changes a folder.
DYING = """
import os, shutil, signal, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from data_prep import features, folder, staging

def prepare(output, moment, way):
    left = [moment]

    def dying(function):
        def call(*args, **kwargs):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return function(*args, **kwargs)
        return call

    os.replace = dying(os.replace)
    os.fsync = dying(os.fsync)
    shutil.rmtree = dying(shutil.rmtree)
    swap = staging.exchange if way == "swap" else lambda *_: False
    staging.exchange = dying(swap)
    rng = np.random.default_rng(8)
    folder.write(
        output,
        folder.Prepared(
            dataset="tiny", options={}, seed=8, sources={},
            features=[features.sparse("user", range(5))],
            domain_name="shop", domains=["a", "b"],
            columns={
                "user": rng.integers(0, 6, 60),
                "domain": rng.integers(0, 2, 60),
                "label": rng.integers(0, 2, 60),
            },
            split=np.repeat([0, 1, 2], 20),
        ),
        overwrite=True,
    )
    return moment - left[0]

for line in sys.stdin:
    moment, way, output = line.strip().split(" ", 2)
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, str(prepare(output, int(moment), way)).encode())
        os._exit(0)
    os.wait()
    os.close(writing)
    print(os.read(reading, 99).decode(), flush=True)
    os.close(reading)
"""


@pytest.fixture(scope="module")
def prepare():
    """Prepares in a process that dies at a moment, and counts the moments."""
    process = subprocess.Popen(
        [sys.executable, "-c", DYING, ROOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def prepare(output, moment, way="swap"):
        process.stdin.write(f"{moment} {way} {output}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield prepare
    process.communicate()


def is_whole(folder):
    """Whether a folder's files are those that its manifest states."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return all(
        staging.sha256(folder / name) == stated["sha256"]
        for name, stated in manifest["files"].items()
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, prepare):
    """The folder that nobody kills, and how many moments there are."""
    output = tmp_path_factory.mktemp("whole") / "out"
    moments = int(prepare(output, 1000))
    return contents(output), moments


class Watcher(threading.Thread):
    """Reads a folder all the while: it is there and whole, or not there."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.faults, self.seen = folder, [], 0
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(0.0002):
            try:
                manifest = (self.folder / "manifest.json").read_text()
            except FileNotFoundError:
                if self.seen:
                    self.faults.append("it was gone for a moment")
                continue
            self.seen += 1
            try:
                json.loads(manifest)
            except ValueError:
                self.faults.append("half a manifest")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


def test_killed_at_any_moment_it_is_made_by_the_same_command(
    tmp_path, prepare, whole
):
    expected, moments = whole
    assert moments > 6
    output = tmp_path / "out"
    with Watcher(output) as watcher:
        for moment in range(moments):
            assert prepare(output, moment) == ""
            assert not output.exists() or is_whole(output)
    assert watcher.faults == []
    assert prepare(output, 1000)
    assert contents(output) == expected
    # Nothing that was killed has left anything.
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("way", ["swap", "rename"])
def test_what_is_overwritten_is_never_lost(tmp_path, prepare, whole, way):
    expected, moments = whole
    output = tmp_path / "out"
    prepare(output, 1000)
    with Watcher(output) as watcher:
        for moment in range(moments - 3, moments + 2):
            prepare(output, moment, way)
            # The next one starts by tidying up, and is killed as well.
            prepare(output, 3, way)
            folders = [path for path in tmp_path.iterdir() if path.is_dir()]
            assert any(
                (path / "manifest.json").exists() and is_whole(path)
                for path in folders
            )
    if way == "swap":
        assert watcher.faults == []
    assert prepare(output, 1000, way)
    assert contents(output) == expected
    assert names(tmp_path) == ["out"]


def start(output):
    return Writer(
        output,
        Description(
            dataset="tiny",
            options={},
            seed=0,
            sources={},
            features=[features.sparse("user", range(5))],
            domain_name="shop",
            domains=["a", "b"],
        ),
    )


def test_a_second_writer_is_told_that_the_folder_is_in_use(tmp_path):
    output = tmp_path / "out"
    with start(output):
        said = f"out is in use by process {os.getpid()} on"
        with pytest.raises(FolderInUseError, match=said), start(output):
            pass
        # The one that was there first isn't disturbed.
        assert len(names(tmp_path)) == 2
        with start(tmp_path / "other"):
            pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("there", ["", "made"])
def test_a_failure_leaves_no_folder_above_it(tmp_path, there):
    (tmp_path / there).mkdir(exist_ok=True)
    output = tmp_path / there / "a" / "b" / "out"
    with pytest.raises(KeyError), start(output):
        raise KeyError
    assert names(tmp_path / there) == []
    assert (tmp_path / there).is_dir()


def test_a_failure_spares_what_others_have_put_above_it(tmp_path):
    with pytest.raises(KeyError), start(tmp_path / "a" / "b" / "out"):
        (tmp_path / "a" / "theirs").touch()
        raise KeyError
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["theirs"]


def test_other_folders_leftovers_are_spared(tmp_path):
    left = tmp_path / f".out.{'0' * 32}.tmp"
    theirs = tmp_path / f".out.more.{'0' * 32}.tmp"
    mine = tmp_path / ".out.notes.tmp"
    for path in (left, theirs, mine):
        path.mkdir()
    with pytest.raises(PreparationError), start(tmp_path / "out") as out:
        out.finish()
    assert names(tmp_path) == sorted([theirs.name, mine.name])


def test_bytes_are_on_the_disk_before_the_folder_has_its_name(
    tmp_path, monkeypatch
):
    done = []
    fsync, replace = os.fsync, os.replace

    def noted(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def renamed(*paths):
        done.append("renamed")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", renamed)
    output = tmp_path / "out"
    with start(output) as out:
        columns = {name: np.zeros(9, int) for name in ("user", "domain")}
        columns["label"] = np.zeros(9, int)
        out.add(columns, np.repeat([0, 1, 2], 3))
        out.finish()
    before = [pathlib.Path(path).name for path in done[: done.index("renamed")]]
    assert set(names(output)) < set(before)
    assert done[-1] == str(tmp_path)
