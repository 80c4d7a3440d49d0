"""What the preparations' command lines share."""

import contextlib
import signal
import sys
import types
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from absl import app
from absl import flags
from absl import logging

from data_prep import flag_errors
from data_prep import plain_log
from data_prep.layout import PreparationError

# The flags defined below count as the binary's own, so --help lists them.
flags.disclaim_key_flags()


SHOWN_DOMAINS = 30
"""The most domains whose rows a log line counts one by one."""


def define_flags(seed: str = "Seed of every random choice.") -> None:
    """Defines --output, --seed and --overwrite.

    A function, and no module-level flags: tests import several binaries into
    one process, where each flag name may be defined once.

    Args:
        seed: What --seed is for.
    """
    flags.DEFINE_string(
        "output", None, "The prepared folder to write.", required=True
    )
    flags.DEFINE_integer(
        "seed", 123, seed, lower_bound=0, upper_bound=2**32 - 1
    )
    flags.DEFINE_bool(
        "overwrite", False, "Replace the prepared folder if it exists."
    )


def run(prepare: Callable[..., Any], *names: str) -> None:
    """Runs `prepare` on the values of the flags of these names.

    Args:
        prepare: Called with a keyword argument for each flag: these, and
            `output`, `seed` and `overwrite`.
        *names: Names of the binary's own flags.
    """

    def main(argv: list[str]) -> None:
        # As an exception, a polite kill lets the writer clean up, too.
        signal.signal(signal.SIGTERM, _stop)
        plain_log.use()
        with errors_in_one_line():
            if len(argv) > 1:
                raise PreparationError(
                    f"{argv[1]!r} is no flag; write --name=value."
                )
            values = flags.FLAGS.flag_values_dict()
            keys = (*names, "output", "seed", "overwrite")
            prepare(**{key: values[key] for key in keys})

    with flag_errors.closed_pipe_ends():
        app.run(main, flags_parser=flag_errors.parse)


def log_counts(manifest: Mapping[str, Any]) -> None:
    """Logs how many rows each split has and, if they are few, each domain."""
    for split, counts in manifest["counts"].items():
        rows = {name: count["rows"] for name, count in counts.items()}
        words = f"{sum(rows.values()):,} rows"
        if len(rows) <= SHOWN_DOMAINS:
            each = ", ".join(f"{name} {size:,}" for name, size in rows.items())
            words += f" ({each})"
        logging.info("%s: %s", split, words)
        if split != "train":
            _warn_of_one_class(split, counts)


def _warn_of_one_class(split: str, counts: Mapping[str, Any]) -> None:
    """Warns of domains that a split's metrics will leave out."""
    names = [
        name
        for name, count in counts.items()
        if count["clicks"] in (0, count["rows"])
    ]
    if names:
        shown = ", ".join(map(repr, names[:SHOWN_DOMAINS]))
        more = len(names) - SHOWN_DOMAINS
        logging.warning(
            "%s: no AUC for %s%s: there must be rows with a click and without.",
            *(split, shown, f" and {more:,} more" if more > 0 else ""),
        )


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends the user's mistakes in one line on stderr and exit status 1."""
    try:
        yield
    except PreparationError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: {flag_errors.of_system(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as stopped:
        (number,) = stopped.args or (signal.SIGINT,)
        print(
            f"stopped by {number.name}; nothing half-done is left: the same "
            "command starts again.",
            file=sys.stderr,
        )
        sys.exit(128 + number)


def _stop(number: int, _: types.FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number))
