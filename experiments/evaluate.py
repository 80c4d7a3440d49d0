r"""Evaluates a run's model on another log: tomorrow's, for instance.

    python -m data_prep.table --input=tomorrow.parquet --like=data/mine \
        --output=data/tomorrow
    python -m experiments.evaluate --run=runs/mine --data=data/tomorrow \
        --splits=train,valid,test

The run is a folder of `experiments.train`; the data a prepared folder with the
run's own features, vocabularies and domains, which is what `--like` is for. It
prints what `experiments.train` prints of its test, of all rows of `--splits`,
with 95% bootstrap intervals; a model that was just trained has the same numbers
on its own test as `metrics.json`. `--output` names a JSON for them, and
`--scores` a Parquet file of each row's `domain`, `label` and `score`. It takes
about a second for 200,000 rows, beside the start.
"""

import json
import pathlib
from typing import Any

from absl import flags

from experiments import command_line
from experiments import finished_run
from experiments.import_flag import define_import_flag

SPLITS = ("train", "valid", "test")


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("run", None, "A finished run's folder.", required=True)
    flags.DEFINE_string("data", None, "A prepared folder.", required=True)
    flags.DEFINE_list("splits", ["test"], "The rows: any of train,valid,test.")
    flags.DEFINE_string("output", None, "A JSON file for the numbers.")
    flags.DEFINE_string("scores", None, "A Parquet file for all rows' scores.")
    define_import_flag()


def main() -> None:
    """Evaluates what the flags say."""
    from data_prep import progress
    from experiments.runs import USER_FEATURE
    from experiments.runs import RunError
    from experiments.runs import intervals
    from experiments.train import summary
    from mlora_tf import data
    from mlora_tf.predictor import Predictor
    from mlora_tf.predictor import Scored
    from mlora_tf.predictor import score_split
    from mlora_tf.schema import Schema

    values = flags.FLAGS.flag_values_dict()
    run, splits = pathlib.Path(values["run"]), values["splits"]
    if not splits or sorted({*splits} & {*SPLITS}) != sorted(splits):
        raise RunError(
            f"--splits={','.join(splits)}: name some of {','.join(SPLITS)}, "
            "each once."
        )
    finished_run.check(run, values["import"])
    schema = Schema.load(run / "schema.json")
    with progress.waiting(f"Reading {values['data']}"):
        log = data.load(values["data"])
    check_schema(log.schema, schema, values["data"], run)
    try:
        model = finished_run.loaded(run / "model.keras")
    except (OSError, ValueError) as error:
        raise RunError(f"{run} isn't evaluated: {error}") from None
    user = USER_FEATURE if USER_FEATURE in schema.num_ids else None
    with progress.waiting("Scoring"):
        predictor = Predictor(model)
        scored = Scored.joined(
            [
                score_split(predictor, getattr(log, name), user_feature=user)
                for name in splits
            ]
        )
        result = scored.evaluate(schema).to_dict()
    with progress.waiting("Drawing rows anew, for the intervals"):
        result["intervals"] = intervals(scored, schema)
    if values["scores"]:
        write_scores(scored, schema, pathlib.Path(values["scores"]))
    if values["output"]:
        write_result(result, log, values)
    print(summary({"test": result}))
    for name, words in (("wauc", "WAUC"), ("macro_auc", "macro AUC")):
        if ends := result["intervals"][name]:
            low, high = (f"{100 * end:.3f}" for end in ends)
            print(f"95% interval of {words}: {low} to {high}")


def check_schema(found: Any, needed: Any, data: str, run: pathlib.Path) -> None:
    """Raises unless a folder's ids mean what the run's do.

    Args:
        found: The prepared folder's `Schema`.
        needed: The run's.
        data: The prepared folder.
        run: The run's folder.

    Raises:
        RunError: They don't; it says where they differ first.
    """
    from experiments.runs import RunError

    if found == needed:
        return
    names = [feature.name for feature in needed.features]
    if [feature.name for feature in found.features] != names:
        what = f"its features aren't {', '.join(names)}"
    elif found.domains != needed.domains:
        what = "its domains are others, or in another order"
    else:
        (name, *_) = [
            mine.name
            for mine, other in zip(needed.features, found.features, strict=True)
            if mine != other
        ] or ["the label"]
        what = f"{name!r} is another (its vocabulary, or its scale)"
    raise RunError(
        f"{data} wasn't prepared for {run}: {what}. Prepare it with "
        "data_prep.table --like, and the folder that the run was trained on."
    )


def write_scores(scored: Any, schema: Any, path: pathlib.Path) -> None:
    """Writes each row's domain, label and score, as Parquet.

    Args:
        scored: A `Scored`.
        schema: Names the domains.
        path: The file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlora_tf import durable

    domain = pa.DictionaryArray.from_arrays(scored.domain, schema.domains)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    pq.write_table(
        pa.table(
            {"domain": domain, "label": scored.label, "score": scored.score}
        ),
        aside,
    )
    durable.replace(aside, path)


def write_result(
    result: dict[str, Any], log: Any, values: dict[str, Any]
) -> None:
    """Writes the numbers, and where they come from, as JSON."""
    from experiments.provenance import provenance
    from experiments.run_folder import write

    content = {
        "run": values["run"],
        "data": values["data"],
        "fingerprint": log.fingerprint,
        "splits": values["splits"],
        "provenance": provenance(),
        **result,
    }
    path = pathlib.Path(values["output"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(content, indent=2))


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
