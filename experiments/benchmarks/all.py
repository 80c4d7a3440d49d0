r"""Every benchmark of speed, each in a process of its own, and their table.

    python -m experiments.benchmarks.all

Writes `experiments/results/speed.{json,md}`, the table of work, ratios and
goals, and `growth.{json,png}`, how a step's time grows with domains, batch,
vocabulary and replicas. Each benchmark's own result is in `--runs`
(`runs/speed`): a killed command goes on with those that are missing for the
commit and the flags. The epoch's line is from `epoch.json`, which
`experiments.benchmarks.epoch` writes. It takes 25 minutes on two idle cores.
"""

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import binary
from experiments.benchmarks import suite
from experiments.errors import RunError

BENCHMARKS = (
    "mlora",
    "mlora_pure",
    "mlora_frozen",
    "star",
    "floor",
    "partitioned_norm",
    "experts",
    "vocabulary",
    "evaluate",
    "start",
    "memory",
    "batch_size",
    "replicas",
)
"""In the table's order."""

FOLDERS = {"start": "movielens", "memory": "amazon"}
"""The flag that says which data a benchmark measures."""

EPOCH_GOAL = 3.5


def define_flags() -> None:
    """Defines the flags."""
    suite.define_flags()
    flags.DEFINE_list("only", [], "Run these alone, name,name.")
    flags.register_validator(
        "only",
        lambda names: set(names) <= set(BENCHMARKS),
        f"must be among {','.join(BENCHMARKS)}.",
    )
    flags.DEFINE_string(
        "movielens", "data/ml1m-gender", "MovieLens-1M, for a run's start."
    )
    flags.DEFINE_string(
        "amazon", "data/amazon-6", "Amazon, for a run's memory."
    )
    flags.DEFINE_string("runs", suite.RUNS, "Folder of each one's result.")
    flags.DEFINE_string("output", None, "Folder of the table and the picture.")


def main() -> None:
    """Runs what is missing and writes the table."""
    from experiments.benchmarks.harness import RESULTS

    values = flags.FLAGS.flag_values_dict()
    runs = pathlib.Path(values["runs"]).resolve()
    commands = {
        name: given
        for name in BENCHMARKS
        if (given := arguments(name, values)) is not None
    }
    chosen = values["only"] or BENCHMARKS
    run({name: commands[name] for name in commands if name in chosen}, runs)
    output = pathlib.Path(values["output"] or RESULTS)
    given = suite.arguments((*suite.FLAGS, *FOLDERS.values()))
    write(runs, output, " ".join([f"python -m {suite.PACKAGE}.all", *given]))


def arguments(name: str, values: Mapping[str, Any]) -> list[str] | None:
    """A benchmark's own flags; None if its data isn't there."""
    given = suite.arguments()
    if name not in FOLDERS:
        return given
    folder = values[FOLDERS[name]]
    if not pathlib.Path(folder, "manifest.json").is_file():
        print(
            f"{name} is left out: no prepared data in {folder} "
            f"(--{FOLDERS[name]}).",
            file=sys.stderr,
        )
        return None
    return [*given, f"--data={folder}"]


def run(commands: Mapping[str, Sequence[str]], runs: pathlib.Path) -> None:
    """Runs the benchmarks that have no result yet.

    Args:
        commands: By name, a benchmark's flags.
        runs: Where the results are.

    Raises:
        RunError: One failed. What it wrote to stderr says why.
    """
    began = time.monotonic()
    for done, (name, given) in enumerate(commands.items(), start=1):
        if is_finished(name, given, runs):
            _say(f"{done}/{len(commands)} {name}: there already")
            continue
        _say(f"{done}/{len(commands)} {name}")
        finished = subprocess.run(
            [
                sys.executable,
                "-m",
                f"{suite.PACKAGE}.{name}",
                *given,
                f"--output={runs}",
            ]
        )
        if finished.returncode:
            raise RunError(f"{name} failed: see above.")
        _say(f"  {time.monotonic() - began:.0f} s in all")


def is_finished(name: str, given: Sequence[str], runs: pathlib.Path) -> bool:
    """Whether there is a result of this very code and command."""
    from experiments.provenance import provenance

    result = _read(runs / f"{name}.json")
    commit = provenance()["commit"]
    # Nothing tells one set of changes from another.
    clean = commit is not None and "+" not in commit
    return (
        clean
        and result.get("provenance", {}).get("commit") == commit
        and result["command"] == suite.command(name, given)
    )


def write(runs: pathlib.Path, output: pathlib.Path, command: str) -> None:
    """Writes the table and the picture of the results of this commit."""
    from experiments.benchmarks import growth
    from experiments.benchmarks.harness import RESULTS
    from experiments.benchmarks.harness import write_result
    from experiments.provenance import provenance

    commit = provenance()["commit"]
    results = {name: _read(runs / f"{name}.json") for name in BENCHMARKS}
    results = {
        name: result
        for name, result in results.items()
        if result and result["provenance"]["commit"] == commit
    }
    epoch = _read(RESULTS / "epoch.json")
    write_result(
        "speed",
        command,
        {
            "benchmarks": results,
            "epoch": {
                "file": "epoch.json",
                "commit": epoch.get("provenance", {}).get("commit"),
                "lines": epoch_lines(epoch),
            },
        },
        output,
    )
    text = markdown(results, epoch, command)
    (output / "speed.md").write_text(text, "utf-8")
    panels = {
        name: result["growth"]
        for name, result in results.items()
        if "growth" in result
    }
    if panels:
        write_result(
            "growth", command, {"unit": "ms", "panels": panels}, output
        )
        growth.draw(panels, output / "growth.png")


def markdown(
    results: Mapping[str, Any], epoch: Mapping[str, Any], command: str
) -> str:
    """The table, and how to read it."""
    from experiments.benchmarks.report import from_dict
    from experiments.benchmarks.report import table

    lines = [line for result in results.values() for line in result["lines"]]
    lines += epoch_lines(epoch)
    missing = [name for name in BENCHMARKS if name not in results]
    notes = [
        note for result in results.values() for note in result.get("notes", ())
    ]
    if missing:
        notes.append(f"Not measured: {', '.join(missing)}.")
    return (
        "# Speed\n\nRatios are of a training step's time in `fit`, timed in "
        "turns in one process: batch 1,024, three fields, hidden layers of "
        "256, 128 and 64, rows in memory, medians over rounds. Goals are the "
        f"most it may be. Written by `{command}`; `speed.json` has all "
        "numbers, `growth.png` shows how a step grows.\n\n"
        + "\n\n".join([table(map(from_dict, lines)), *notes])
        + "\n"
    )


def epoch_lines(epoch: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table's line on an epoch, of the result that `epoch` wrote."""
    from experiments.benchmarks.report import Line

    rows = [row for row in epoch.get("rows", ()) if row["tower"] == "shared"]
    if not rows:
        return []
    line = Line(
        "epoch of MovieLens-1M and its exact evaluation, shared: dropout "
        f"{', '.join(str(row['dropout']) for row in rows)}",
        [row["epoch_seconds"] for row in rows],
        [EPOCH_GOAL],
        unit="s",
    )
    return [line.to_dict()]


def _read(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    define_flags()
    binary.run(main)
