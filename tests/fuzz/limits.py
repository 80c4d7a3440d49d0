"""Bounds within which a reader must end, whatever it is given."""

import contextlib
import faulthandler
import os
import resource
import signal
import sys
import threading

import pytest
from hypothesis import HealthCheck
from hypothesis import settings

SECONDS = 20
"""How long one input may take; all are of a few kilobytes."""

BYTES = 3 << 30
"""What a reader may ask for beyond what the process has, once."""


def examples(count):
    """The settings under which so many inputs are drawn, always the same."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def few_and_many(few, many):
    """Runs a test on `count` inputs: a few each time, many if slow ones run."""
    return pytest.mark.parametrize(
        "count", [few, pytest.param(many, marks=pytest.mark.slow)]
    )


@contextlib.contextmanager
def bounded(seconds=SECONDS, size=BYTES):
    """Within it, an endless loop or a giant allocation is an error.

    Code that never comes back to Python ends the process, with a traceback,
    after twice the time.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    def late(*_):
        raise AssertionError(f"it takes longer than {seconds} s")

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(
        2 * seconds, exit=True, file=sys.__stderr__
    )
    resource.setrlimit(resource.RLIMIT_AS, (used + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def read_or_refused(path, *errors, longest=1000):
    """Within it, a file is read, or refused by an error that names it.

    Args:
        path: What a message must name: a file or the folder it is in. Where
            no file is wrong by itself, it names the flag that mends it.
        *errors: The documented errors; no subclass of theirs counts.
        longest: The most characters of a message.
    """
    refused: Exception | None = None
    with bounded():
        try:
            yield
        except errors as error:
            refused = error
    if refused is None:
        return
    message = str(refused)
    assert type(refused) in errors
    assert str(path) in message or "--" in message, message
    assert len(message) <= longest + message.count(str(path)) * 100
