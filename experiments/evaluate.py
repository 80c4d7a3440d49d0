r"""Evaluates a run's model on another log: tomorrow's, for instance.

    python -m data_prep.table --input=tomorrow.parquet --like=data/mine \
        --output=data/tomorrow
    python -m experiments.evaluate --run=runs/mine --data=data/tomorrow

The run is a folder of `experiments.train`; the data a prepared folder with the
run's own features, vocabularies and domains, which is what `--like` is for. It
prints what `experiments.train` prints of its test, with 95% bootstrap
intervals, of the rows of `--splits`: by default of all, or of test alone if the
run was trained on that very folder. Then the numbers are those of
`metrics.json`. A folder that was prepared from a file of the run's own, but
parted otherwise, is refused: the model has learned some of its rows.

`--output` names a JSON for the numbers, and `--scores` a Parquet file of each
row's `split`, `domain`, `label` and `score`, in the order of the log within a
split; files that are there are kept unless `--overwrite` is given.
"""

import pathlib
from typing import Any

from absl import flags

from experiments import command_line
from experiments import finished_run
from experiments import output_file
from experiments.errors import RunError
from experiments.import_flag import define_import_flag

SPLITS = ("train", "valid", "test")


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("run", None, "A finished run's folder.", required=True)
    flags.DEFINE_string("data", None, "A prepared folder.", required=True)
    flags.DEFINE_list(
        "splits",
        None,
        "The rows: any of train,valid,test; by default all, or test alone of "
        "the data that the run was trained on.",
    )
    flags.DEFINE_string("output", None, "A JSON file for the numbers.")
    flags.DEFINE_string("scores", None, "A Parquet file for all rows' scores.")
    output_file.define_flag()
    define_import_flag()


def main() -> None:
    """Evaluates what the flags say."""
    from data_prep import progress
    from experiments.runs import intervals
    from experiments.runs import user_feature
    from experiments.summary import summary
    from mlora_tf import data
    from mlora_tf.predictor import Predictor
    from mlora_tf.predictor import Scored
    from mlora_tf.predictor import score_split
    from mlora_tf.schema import Schema

    values = flags.FLAGS.flag_values_dict()
    run, splits = pathlib.Path(values["run"]), values["splits"]
    known = sorted({*(splits or ())} & {*SPLITS})
    if splits is not None and (not splits or known != sorted(splits)):
        raise RunError(
            f"--splits={','.join(splits)}: name some of {','.join(SPLITS)}, "
            "each once."
        )
    for name, suffix in (("output", ".json"), ("scores", ".parquet")):
        if values[name] is not None:
            path = pathlib.Path(values[name])
            output_file.check(name, path, (suffix,), values["overwrite"])
    finished_run.check(run, values["import"])
    schema = Schema.load(run / "schema.json")
    with progress.waiting(f"Reading {values['data']}"):
        log = data.load(values["data"])
    finished_run.check_schema(
        log.schema,
        schema,
        values["data"],
        run,
        "Prepare it with data_prep.table --like=..., naming",
    )
    own = finished_run.config(run).get("data") == log.fingerprint
    if not own:
        named = splits is not None
        finished_run.check_unseen(run, values["data"], named=named)
    try:
        model = finished_run.loaded(run / "model.keras")
    except (OSError, ValueError) as error:
        raise RunError(f"{run} isn't evaluated: {error}") from None
    if splits is None:
        splits = ["test"] if own else list(SPLITS)
    user = user_feature(schema)
    with progress.waiting("Scoring"):
        predictor = Predictor(model)
        parts = [
            score_split(predictor, getattr(log, name), user_feature=user)
            for name in splits
        ]
        scored = Scored.joined(parts)
        result = scored.evaluate(schema).to_dict()
    with progress.waiting("Drawing rows anew, for the intervals"):
        result["intervals"] = intervals(scored, schema)
    print(summary(result, ",".join(splits)))
    for name, words in (("wauc", "WAUC"), ("macro_auc", "macro AUC")):
        if ends := result["intervals"][name]:
            low, high = (f"{100 * end:.3f}" for end in ends)
            print(f"95% interval of {words}: {low} to {high}")
    if values["scores"]:
        sizes = [len(part.label) for part in parts]
        of_splits = dict(zip(splits, sizes, strict=True))
        write_scores(scored, schema, of_splits, pathlib.Path(values["scores"]))
    if values["output"]:
        origin = {"fingerprint": log.fingerprint, "splits": splits}
        write_result({**origin, **result}, values)


def write_scores(
    scored: Any, schema: Any, splits: dict[str, int], path: pathlib.Path
) -> None:
    """Writes each row's split, domain, label and score, as Parquet.

    Args:
        scored: A `Scored`.
        schema: Names the domains.
        splits: How many rows are of each split, in their order.
        path: The file.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlora_tf import durable

    domain = pa.DictionaryArray.from_arrays(scored.domain, schema.domains)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    pq.write_table(
        pa.table(
            {
                "split": np.repeat([*splits], [*splits.values()]),
                "domain": domain,
                "label": scored.label,
                "score": scored.score,
            }
        ),
        aside,
    )
    durable.replace(aside, path)


def write_result(result: dict[str, Any], values: dict[str, Any]) -> None:
    """Writes the numbers, and where they come from, as JSON."""
    from experiments.provenance import provenance
    from experiments.run_folder import write_json

    content = {
        "run": values["run"],
        "data": values["data"],
        "provenance": provenance(),
        **result,
    }
    path = pathlib.Path(values["output"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
