"""The page that a run's folder has for whoever finds it."""

import pathlib
import shlex
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from mlora_tf.version import __version__


def readme(
    output: pathlib.Path,
    config: Mapping[str, Any],
    program: Sequence[str] | None = None,
) -> str:
    """What the folder is, what made it, and what can be done with it.

    Args:
        output: The run's folder.
        config: What its `config.json` holds.
        program: The program that trains and its arguments; by default this
            process's own.
    """
    recipe = config["recipe"]
    command = shlex.join(["python", *(program or sys.orig_argv)[1:]])
    folder = shlex.quote(str(output))
    return f"""# {recipe["backbone"]} with the tower {recipe["tower"]}

A training run of mlora_tf {__version__}, made by

    {command}

The same command goes on with it where it was stopped, and leaves it alone
once it is finished, which `metrics.json` says by being there.

- `config.json`: the recipe, the data's fingerprint, versions, the commit
- `history.csv`: a row for each epoch
- `metrics.json`: validation and test, overall and by domain
- `model.keras`, `schema.json`: the model, and what its inputs are
- `serving/`: a SavedModel for TensorFlow Serving
- `state/`: what a stopped run goes on from
- `tensorboard/`: logs

What to do next:

    tensorboard --logdir={folder}/tensorboard
    python -m mlora_tf.doctor --run={folder}
    python -m experiments.export --run={folder} --output=served
"""
