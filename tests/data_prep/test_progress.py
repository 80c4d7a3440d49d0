import io
import sys

import pytest

from data_prep import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_how_far_it_is(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress.track(range(3), "Counting")) == [0, 1, 2]
    assert "Counting" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_an_amount_moves_the_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.bar("Reading", total=10) as advance:
        advance(4)
        advance(3)
    assert "7/10" in terminal.getvalue()


def test_a_file_or_a_pipe_sees_nothing(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.bar("Reading", total=10) as advance:
        advance(10)
    assert list(progress.track(iter("ab"), "Spelling")) == ["a", "b"]
    assert stream.getvalue() == ""


def test_a_terminal_sees_what_it_waits_for(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.waiting("Exporting"):
        pass
    assert "Exporting ..." in terminal.getvalue()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.waiting("Exporting"):
        pass
    assert stream.getvalue() == ""


def test_numbers_stand_in_for_items():
    assert list(progress.track(None, "Counting", 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="total must be given"):
        next(progress.track(None, "Counting"))
