r"""How fast rows on disk are prepared and read, and in how much memory.

    python -m experiments.benchmarks.streaming

Prepares a synthetic log of 50 million rows with three categorical features
in shards, reads one shuffled epoch of its training rows in batches, each in
a process of its own, and writes rows per second and peak memory to
`experiments/results/streaming.json`. What was written is read from the
system's cache. It takes one or two minutes on two cores and 0.7 GiB of disk;
expect over two million rows per second of reading in less than 1 GiB. Memory
is all of a process's, TensorFlow included.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import binary
from experiments.errors import RunError

FLAGS = ("rows", "domains", "users", "items")


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_integer(
        "rows", 50_000_000, "Rows, over all splits.", lower_bound=1
    )
    flags.DEFINE_integer("domains", 1000, "Domains.", lower_bound=1)
    flags.DEFINE_integer("users", 1_000_000, "Users.", lower_bound=1)
    flags.DEFINE_integer("items", 200_000, "Items.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 1024, "Rows of a batch.", lower_bound=1)
    flags.DEFINE_string(
        "output",
        None,
        "The folder to prepare, which stays; a temporary one unless given.",
    )


def main() -> None:
    """Prepares, reads and writes the result."""
    from experiments.benchmarks.harness import write_result

    values = flags.FLAGS.flag_values_dict()
    sizes = {name: values[name] for name in FLAGS}
    with tempfile.TemporaryDirectory() as temporary:
        output = pathlib.Path(values["output"] or f"{temporary}/data")
        content = benchmark(output.resolve(), sizes, values["batch_size"])
    print(json.dumps(content, indent=1))
    command = " ".join(
        [
            "python -m experiments.benchmarks.streaming",
            *(f"--{name}={size}" for name, size in sizes.items()),
            f"--batch_size={values['batch_size']}",
        ]
    )
    write_result("streaming", command, content)


def benchmark(
    output: pathlib.Path, sizes: dict[str, int], batch_size: int
) -> dict[str, Any]:
    """Prepares a synthetic log and reads an epoch of it.

    Args:
        output: The folder to prepare.
        sizes: The flags of `data_prep.synthetic`, by name.
        batch_size: Rows of a batch.
    """
    prepare, _ = measured(
        "data_prep.synthetic",
        f"--output={output}",
        *(f"--{name}={size}" for name, size in sizes.items()),
    )
    rate = sizes["rows"] / prepare["seconds"]
    prepare = {"rows": sizes["rows"], "rows_per_second": rate, **prepare}
    taken, printed = measured(
        "experiments.benchmarks.read_epoch",
        f"--data={output}",
        f"--batch_size={batch_size}",
    )
    read = json.loads(printed)
    rate = read["rows"] / read["read_seconds"]
    read = {"rows_per_second": rate, **read, **taken}
    manifest = json.loads((output / "manifest.json").read_text("utf-8"))
    shards = [name for name in manifest["files"] if name.endswith("parquet")]
    return {
        "data": manifest["fingerprint"],
        "options": manifest["options"],
        "features": 3,
        "shards": len(shards),
        "shard_bytes": sum((output / name).stat().st_size for name in shards),
        "prepare": prepare,
        "read": read,
    }


def measured(module: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """Runs a module; returns what it took and what it printed.

    Raises:
        RunError: It failed. What it wrote to stderr says why.
    """
    from experiments.provenance import ROOT

    command: Sequence[str] = [sys.executable, "-m", module, *arguments]
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        measure = [sys.executable, "-m", "experiments.benchmarks.measure"]
        finished = subprocess.run(
            [*measure, str(report), *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        if finished.returncode:
            raise RunError(
                f"{module} ended with exit status {finished.returncode}: see "
                "above."
            )
        return json.loads(report.read_text("utf-8")), finished.stdout


if __name__ == "__main__":
    define_flags()
    # No bar: what moves takes time of what is measured.
    binary.run(main, "Prepares and reads 50M rows: one or two minutes ...")
