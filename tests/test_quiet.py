import importlib
import os

import pytest
import tensorflow as tf

from mlora_tf import environment
from mlora_tf import preflight
from mlora_tf import quiet


def noted(monkeypatch, then):
    """Has TensorFlow write a note when it is asked for devices."""

    def devices():
        os.write(2, b"no GPU here\n")
        then()

    monkeypatch.setattr(tf.config, "list_physical_devices", devices)


def test_notes_of_a_good_start_are_kept_from_stderr(monkeypatch, capfd):
    noted(monkeypatch, lambda: None)
    quiet.import_tensorflow()
    os.write(2, b"after it\n")
    assert capfd.readouterr().err == "after it\n"


def test_notes_of_a_start_that_fails_are_shown(monkeypatch, capfd):
    def fail():
        raise RuntimeError("broken")

    noted(monkeypatch, fail)
    with pytest.raises(RuntimeError, match="broken"):
        quiet.import_tensorflow()
    assert capfd.readouterr().err == "no GPU here\n"


@pytest.mark.parametrize(
    ("level", "doctor", "kept"),
    [
        ("3", False, True),
        ("2", False, True),
        ("1", False, False),
        ("0", True, True),
    ],
)
def test_an_import_is_quiet_for_who_wants_it(monkeypatch, level, doctor, kept):
    started = []
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    monkeypatch.setattr(environment, "is_doctor", lambda: doctor)
    monkeypatch.setattr(quiet, "import_tensorflow", lambda: started.append(1))
    importlib.reload(preflight)
    assert bool(started) == kept


def test_where_nothing_can_be_kept_nothing_is_done(monkeypatch, capfd):
    noted(monkeypatch, lambda: None)

    def refused():
        raise FileNotFoundError

    monkeypatch.setattr(quiet.tempfile, "TemporaryFile", refused)
    quiet.import_tensorflow()
    assert capfd.readouterr().err == ""
