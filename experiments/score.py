r"""Scores a log's rows by a run's model, clicked or not yet.

    python -m experiments.score --run=runs/mine --like=data/mine \
        --input=tomorrow.csv --keep=view_id --output=scores.parquet

The log is what `data_prep.table` reads: a csv or Parquet file, a folder or a
pattern in quotes. It needs no label and no split. `--like` is the folder that
the run was trained on, which says what its columns are and which id a value
has; a value that it doesn't know has the id 0.

`--output` has a row for each row of the log, in the log's order: the columns of
`--keep` as they are (of csv as text; by default the domain's), then `score`,
the probability of a click. Its name ends in .parquet or .csv; a file that is
there is kept unless `--overwrite` is given. A row of a domain that the folder
doesn't know has no score: an empty cell. Memory is bounded by the vocabularies,
however long the log.

It prints, by feature, which share of the values the folder doesn't know, and
the unknown domains that have the most rows.
"""

import contextlib
import pathlib
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from absl import flags

from experiments import command_line
from experiments import finished_run
from experiments import output_file
from experiments.errors import RunError
from experiments.import_flag import define_import_flag

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from data_prep.table_unlabelled import Rows
    from mlora_tf.predictor import Predictor
    from mlora_tf.schema import Schema

SCORE = "score"
"""Name of the column of the scores."""

SUFFIXES = (".parquet", ".csv")


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("run", None, "A finished run's folder.", required=True)
    flags.DEFINE_string(
        "like", None, "The prepared folder of the run.", required=True
    )
    flags.DEFINE_string(
        "input", None, "The log: a file, a folder or a pattern.", required=True
    )
    flags.DEFINE_string(
        "output", None, "A .parquet or .csv file to write.", required=True
    )
    flags.DEFINE_list(
        "keep", [], "Columns of the log beside the score; else the domain's."
    )
    output_file.define_flag()
    define_import_flag()


def main() -> None:
    """Scores what the flags say."""
    from data_prep import progress
    from data_prep import table_like
    from data_prep import table_unknown
    from data_prep.table_files import Log
    from data_prep.table_unlabelled import encoded
    from mlora_tf.predictor import Predictor
    from mlora_tf.schema import Schema

    began = time.monotonic()
    values = flags.FLAGS.flag_values_dict()
    run, output = pathlib.Path(values["run"]), pathlib.Path(values["output"])
    output_file.check("output", output, SUFFIXES, values["overwrite"])
    check_keep(values["keep"])
    finished_run.check(run, values["import"])
    like = table_like.read(values["like"])
    schema = Schema.load(run / "schema.json")
    finished_run.check_schema(
        Schema.load(like.folder / "schema.json"),
        schema,
        values["like"],
        run,
        "Name as --like",
    )
    log = Log(values["input"], like.fill)
    check_input(log, output)
    # Of scores alone, a line without one would be empty in csv.
    rows = encoded(log, like, values["keep"] or [like.columns.domain])
    with progress.waiting("Reading the model"):
        try:
            predictor = Predictor(finished_run.loaded(run / "model.keras"))
        except (OSError, ValueError) as error:
            raise RunError(f"{run} scores nothing: {error}") from None
    unknown = table_unknown.Unknown(like)
    domains = table_unknown.UnknownDomains()
    count = scored = 0
    with writing(output) as write:
        for part in rows:
            write({**part.log, SCORE: scores(part, predictor, schema, output)})
            unknown.add(part.columns)
            domains.add(*part.unknown)
            count += len(part.known)
            scored += int(part.known.sum())
    left = count - scored
    print(
        f"{output} has {count:,} rows"
        + (
            f", {left:,} of them without a score: {like.folder} doesn't have "
            "their domain"
            if left
            else ""
        )
        + f" ({time.monotonic() - began:.1f} s)."
    )
    if left:
        print(f"Without a score, by {like.columns.domain}: {domains}.")
    rows_called = "scored rows" if left else "rows"
    for name, share in unknown.shares(rows_called).items():
        print(f"{name}: {share}")


def check_keep(keep: list[str]) -> None:
    """Raises unless the scores' file can have such columns.

    Raises:
        RunError: It would have one twice.
    """
    if SCORE in keep or len(set(keep)) < len(keep) or "" in keep:
        raise RunError(
            f"--keep={','.join(keep)}: name columns of the log, each once, "
            f"and none {SCORE!r}, which the scores are."
        )


def check_input(log: Any, output: pathlib.Path) -> None:
    """Raises if the scores would replace a file of the log.

    Raises:
        RunError: They would.
    """
    if output.resolve() in {file.path.resolve() for file in log.files}:
        raise RunError(f"--output={output} is the log: name another file.")


def scores(
    rows: "Rows",
    predictor: "Predictor",
    schema: "Schema",
    output: pathlib.Path,
) -> "pa.Array":
    """A probability for each row; none where the domain isn't known."""
    import numpy as np
    import pyarrow as pa

    found = np.full(rows.known.size, np.nan, np.float32)
    if rows.known.any():
        found[rows.known] = predictor(model_inputs(rows, schema, output))
    return pa.array(found, mask=~rows.known)


def model_inputs(
    rows: "Rows", schema: "Schema", place: pathlib.Path
) -> dict[str, "np.ndarray"]:
    """The encoded rows as the model takes them, checked as a folder's are."""
    import numpy as np
    import pyarrow as pa

    from mlora_tf.columns import to_columns

    size = int(rows.known.sum())
    columns = {**rows.columns, schema.label: np.zeros(size, np.int8)}
    inputs, _, _ = to_columns(place, pa.table(columns), schema)
    return inputs


@contextlib.contextmanager
def writing(
    path: pathlib.Path,
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Writes columns, part by part, to a file that is whole or not there."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    from mlora_tf import durable

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    make = pq.ParquetWriter if path.suffix == ".parquet" else pa_csv.CSVWriter
    writer = None

    def write(columns: dict[str, Any]) -> None:
        nonlocal writer
        table = pa.table(columns)
        try:
            if writer is None:
                writer = make(aside, table.schema)
            writer.write_table(table)
        except pa.ArrowException as error:
            reason = " ".join(str(error).split())
            raise RunError(
                f"{path} can't hold the columns of --keep ({reason}): leave "
                "the column out"
                + (", or write .parquet." if path.suffix == ".csv" else ".")
            ) from None

    try:
        try:
            yield write
        finally:
            if writer is not None:
                writer.close()
        durable.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
