"""Says what is wrong with a command line in the words of its user."""

import contextlib
import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from collections.abc import Sequence

from absl import flags

WORDS = (
    (r"flag (--\w+)=None: Flag --\w+ must have a value .*", r"\1 is missing."),
    (r"\('Non-boolean argument .*\)$", "it must be true or false."),
    (r"invalid literal for int.*$", "it must be an integer."),
    (r"could not convert string to float.*$", "it must be a number."),
    (r"^flag --", "--"),
)
"""Patterns of absl's words, and what stands in for them."""


def parse(argv: Sequence[str]) -> list[str]:
    """Parses a command line, or ends in a line on stderr for each mistake.

    Args:
        argv: The program's name and its arguments.

    Returns:
        The program's name and the arguments that are no flags.
    """
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        for line in str(error).splitlines():
            print(f"error: {clear(line)}", file=sys.stderr)
        print("--helpshort lists the flags.", file=sys.stderr)
        sys.exit(1)


@contextlib.contextmanager
def closed_pipe_ends() -> Iterator[None]:
    """Ends in silence once nobody reads what is printed, as in `... | head`.

    The exit status is that of a process which the signal has ended.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError as error:
        if not _nobody_reads():  # It was another pipe.
            sys.exit(f"error: {of_system(error)}")
        # What is left to print goes nowhere, or Python would complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _nobody_reads() -> bool:
    """Whether stdout is a pipe that its reader has closed."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except OSError:  # It is no file, as in a notebook.
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def of_system(error: OSError) -> str:
    """What the system refuses, without the number of its error.

    Example:
        >>> of_system(FileExistsError(17, "File exists", "runs/mine"))
        'runs/mine: File exists.'
    """
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}."


def clear(line: str) -> str:
    """One of absl's lines, made clearer.

    Example:
        >>> clear("flag --data=None: Flag --data must have a value other ...")
        '--data is missing.'
    """
    for pattern, words in WORDS:
        line = re.sub(pattern, words, line)
    return line
