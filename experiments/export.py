r"""Exports a run's model as a SavedModel, the next version of a folder.

    python -m experiments.export --run=runs/ml1m-gender \
        --output=served/ml1m-gender

The run is a folder of `experiments.train`, which exports by itself too: this
is for other weights, other domains or another folder. See
`mlora_tf.serving.export` for what an export holds, and
`experiments.verify_export` for replaying its golden request. It prints the
version's folder.
"""

import pathlib
import zipfile
from collections.abc import Sequence

from absl import flags

from experiments import command_line
from experiments import finished_run
from experiments.errors import RunError
from experiments.errors import first_line
from experiments.import_flag import define_import_flag

ALL, NONE = "all", "none"


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("run", None, "A finished run's folder.", required=True)
    flags.DEFINE_string(
        "output", None, "The served model's folder.", required=True
    )
    flags.DEFINE_enum(
        "weights",
        "float32",
        # stored_weights.TYPES, without importing Keras for --help.
        ("float32", "bfloat16", "float16"),
        "What kernels and tables are stored in.",
    )
    flags.DEFINE_list(
        "domains",
        None,
        "The domains with a signature of their own: all, none, or "
        "name,name; by default all, unless they are many.",
    )
    define_import_flag()


def main() -> None:
    """Exports what the flags say."""
    from data_prep import progress
    from mlora_tf import serving
    from mlora_tf.schema import Schema

    values = flags.FLAGS.flag_values_dict()
    run = pathlib.Path(values["run"])
    finished_run.check(run, values["import"])
    check_output(pathlib.Path(values["output"]), run)
    schema = Schema.load(run / "schema.json")
    try:
        with progress.waiting(f"Exporting {run}"):
            version = serving.export(
                finished_run.loaded(run / "model.keras"),
                schema,
                values["output"],
                weights=values["weights"],
                domains=chosen(values["domains"], schema.domains),
            )
    # The errors of a file that is missing, or damaged, among others.
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{run} isn't exported: {first_line(error)}") from None
    print(version)


def check_output(output: pathlib.Path, run: pathlib.Path) -> None:
    """Raises unless a folder is new, empty, or one of versions.

    Raises:
        RunError: It is a run's, say, or somebody's.
    """
    if not output.is_dir():
        return
    others = [
        path.name
        for path in sorted(output.iterdir())
        if not path.name.isdigit() and not path.name.startswith(".")
    ]
    if others:
        raise RunError(
            f"--output={output} holds {others[0]!r} and is no place for "
            "versions of a served model: name another, such as "
            f"served/{run.resolve().name}."
        )


def chosen(
    names: Sequence[str] | None, domains: Sequence[str]
) -> Sequence[str] | None:
    """The domains that the flag names; None leaves the choice to `export`."""
    if names == [ALL]:
        return domains
    return [] if names == [NONE] else names


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
