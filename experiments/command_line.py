"""What the experiments' command lines share; it leaves TensorFlow for later."""

import contextlib
import os
import sys
from collections.abc import Callable
from collections.abc import Iterator
from signal import SIGINT

from absl import app
from absl import flags
from absl import logging

from data_prep import flag_errors
from data_prep import plain_log
from experiments import flag_synonyms
from experiments.errors import RunError

# At 2 and 3 `mlora_tf` starts TensorFlow without its notes about missing GPUs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# The flags that binaries define in functions count as their own in --help.
flags.disclaim_key_flags()


def run(main: Callable[[], None], at_once: str = "") -> None:
    """Parses the flags and runs a binary.

    Args:
        main: What it does.
        at_once: What stderr says before TensorFlow's start takes its seconds.
    """

    def checked(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)
        plain_log.use()
        if len(argv) > 1:
            sys.exit(f"error: {argv[1]!r} is no flag; write --name=value.")
        if at_once:
            print(at_once, file=sys.stderr, flush=True)
        # Before all that imports Keras: this import starts TensorFlow quietly.
        from mlora_tf.stop_signals import StopSignals

        with errors_in_one_line(), StopSignals():
            main()

    _declare_own_flags()
    with flag_errors.closed_pipe_ends():
        app.run(checked, flags_parser=flag_synonyms.parse)


def _declare_own_flags() -> None:
    """Lists in --helpshort what any file of ours has defined, no one else's."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith("experiments."):
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends mistakes and signals in one line on stderr.

    The exit status is 1, or that of a process that the signal has ended.
    """
    from data_prep.layout import PreparationError
    from mlora_tf.callbacks import TrainingError
    from mlora_tf.cluster import ClusterError
    from mlora_tf.data import DataError
    from mlora_tf.recipes import RecipeError
    from mlora_tf.schema import SchemaError
    from mlora_tf.stop_signals import Stopped

    try:
        yield
    except (
        ClusterError,
        DataError,
        PreparationError,
        RecipeError,
        RunError,
        SchemaError,
        TrainingError,
    ) as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.exit(f"error: {flag_errors.of_system(error)}")
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, Stopped) else Stopped(SIGINT)
        more = "" if stopped.message else ": the same command goes on."
        print(f"{stopped}{more}", file=sys.stderr, flush=True)
        sys.exit(stopped.status)
