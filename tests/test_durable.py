import os
import pathlib

import pytest

from mlora_tf import durable
from mlora_tf.version_folder import publish


@pytest.fixture
def done(monkeypatch):
    """What reaches the disk and what is renamed, in order."""
    done = []

    def noted(name, function, path_of):
        def call(first, *args):
            done.append((name, path_of(first)))
            return function(first, *args)

        return call

    def opened(descriptor):
        return pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", noted("synced", os.fsync, opened))
    monkeypatch.setattr(os, "replace", noted("moved", os.replace, pathlib.Path))
    rename = noted("moved", pathlib.Path.rename, pathlib.Path)
    monkeypatch.setattr(
        pathlib.Path, "rename", lambda path, target: rename(path, target)
    )
    return done


def test_bytes_come_first_then_the_name_then_the_folder(tmp_path, done):
    aside, path = tmp_path / ".a.tmp", tmp_path / "a"
    aside.write_text("new")
    path.write_text("old")
    durable.replace(aside, path)
    assert path.read_text() == "new"
    assert done == [("synced", aside), ("moved", aside), ("synced", tmp_path)]


def test_a_folder_that_cannot_be_synced_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / ".a.tmp").touch()
    fsync = os.fsync

    def files_alone(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    durable.replace(tmp_path / ".a.tmp", tmp_path / "a")
    assert (tmp_path / "a").exists()


def test_a_file_that_cannot_be_synced_does(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    (tmp_path / ".a.tmp").touch()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        durable.replace(tmp_path / ".a.tmp", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_all_of_a_version_is_on_the_disk_before_it_has_its_name(tmp_path, done):
    def write(aside):
        (aside / "variables").mkdir()
        (aside / "variables" / "data").touch()
        (aside / "saved_model.pb").touch()

    version = publish(tmp_path, write)
    moved = [what for what, _ in done].index("moved")
    synced = {path.name for what, path in done[:moved] if what == "synced"}
    assert synced >= {
        "variables",
        "data",
        "saved_model.pb",
        done[moved][1].name,
    }
    assert done[moved + 1 :] == [("synced", tmp_path)]
    assert version.name == "1"
