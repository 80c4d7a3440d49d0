"""What the experiments' command lines share."""

import os
import sys
from collections.abc import Callable

# Before TensorFlow is imported anywhere: its start-up notes are not for users.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from absl import app
from absl import flags
from absl import logging

# The flags that binaries define in functions count as their own in --help.
flags.disclaim_key_flags()


def run(main: Callable[[], None]) -> None:
    """Parses the flags and runs a binary; a user's mistake takes one line."""

    def checked(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)
        if len(argv) > 1:
            sys.exit(f"error: {argv[1]!r} is no flag; write --name=value.")
        from experiments.runs import RunError
        from mlora_tf.data import DataError
        from mlora_tf.recipes import RecipeError
        from mlora_tf.schema import SchemaError

        try:
            main()
        except (DataError, RecipeError, RunError, SchemaError) as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            sys.exit("interrupted; the same command goes on from there.")

    app.run(checked)
