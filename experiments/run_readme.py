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
    imports = config.get("imports", ())
    doctor = [f"--run={output}", *_import_flag(imports)]
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

    {shlex.join(["tensorboard", f"--logdir={output}/tensorboard"])}
    {shlex.join(["python", "-m", "mlora_tf.doctor", *doctor])}
    {export_command(output, imports)}

`experiments.evaluate`, `experiments.score` and `experiments.add_domain` take
this folder as `--run`.
"""


def export_command(output: pathlib.Path, imports: Sequence[str] = ()) -> str:
    """The command that exports a run into a folder of versions of its own.

    Args:
        output: The run's folder.
        imports: The user's modules that it was trained with.
    """
    return shlex.join(
        [
            "python",
            "-m",
            "experiments.export",
            f"--run={output}",
            f"--output=served/{output.resolve().name}",
            *_import_flag(imports),
        ]
    )


def _import_flag(imports: Sequence[str]) -> list[str]:
    return [f"--import={','.join(imports)}"] if imports else []
