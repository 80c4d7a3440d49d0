r"""Where the time of a training step goes, by kind of operation.

    python -m experiments.benchmarks.step_profile

Trains each workload for some steps under TensorFlow's profiler, on one thread,
where the times of operations add up to a step's, and writes
`experiments/results/step_profile.json` and `.md`. Beside the products' time
stands their number and their rate: the work that a row needs
(`mlora_tf.cost`; three times as much with the gradients) by the seconds of all
products. Where that falls with the number of domains, it is not work that
takes the time, but that there are many small products in place of a large one.
"""

import collections
import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from experiments import binary
from experiments.markdown_table import markdown_table
from experiments.markdown_table import row
from experiments.threads import limit_threads

STEPS = 64
DOMAINS = {"shared": (10,), "mlora": (2, 10, 30, 100, 1000), "star": (10, 100)}
PRODUCTS, UPDATE, ROWS, REST = "products", "update", "rows", "rest"

KINDS = {
    PRODUCTS: r".*(MatMul|Einsum).*",
    UPDATE: r"Resource(Sparse)?Apply.*",
    ROWS: r".*(Gather|Scatter|Segment|Concat|Split|Slice|Pack|Pad|Tile).*",
}
"""By kind, the types of its operations; all others are the rest."""

OPERATION = re.compile(r"[^:]+:(\w+)")
"""An operation's event: its name and its type."""


@dataclasses.dataclass(frozen=True)
class Spent:
    """What a kind of operations takes in a step.

    Attributes:
        ms: Milliseconds of a step.
        count: How many there are in a step.
    """

    ms: float
    count: float


def main() -> None:
    """Profiles every workload and writes the result."""
    from experiments.benchmarks import harness
    from experiments.benchmarks import steps

    harness.quiet_tracing()
    limit_threads(1)
    rows = []
    for tower, domains in DOMAINS.items():
        for each in domains:
            rows.append(profiled(steps.Workload(tower, each, execution=4)))
            print(row(*cells(rows[-1], rows[0])))
    command = "python -m experiments.benchmarks.step_profile"
    harness.write_result(
        "step_profile",
        command,
        {"unit": "ms per step", "steps": STEPS, "rows": rows},
    )
    (harness.RESULTS / "step_profile.md").write_text(
        markdown(rows, command), "utf-8"
    )


def profiled(workload: Any) -> dict[str, Any]:
    """A workload's step, by kind of operation.

    Args:
        workload: A `steps.Workload`.
    """
    import tensorflow as tf

    from experiments.benchmarks import steps
    from mlora_tf.cost import cost

    model = steps.compiled(workload)
    dataset = steps.batches_of(workload, STEPS).dataset
    model.fit(dataset, shuffle=False, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            model.fit(dataset, shuffle=False, verbose=0)
        spent = by_kind(operations(pathlib.Path(folder)), STEPS)
    work = 3 * cost(model).flops * workload.batch_size
    return {
        "tower": workload.tower,
        "domains": workload.num_domains,
        "ms": sum(one.ms for one in spent.values()),
        "kinds": {kind: dataclasses.asdict(one) for kind, one in spent.items()},
        "gflops_per_second": work / spent[PRODUCTS].ms / 1e6,
    }


def operations(folder: pathlib.Path) -> Iterator[tuple[str, float]]:
    """The type and seconds of each operation that the profiler saw.

    Those of data pipelines run on threads of their own, beside a step.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = folder.glob("plugins/profile/*/*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            if not line.name.startswith("tf_Compute"):
                continue
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if found := OPERATION.fullmatch(name):
                    yield found[1], event.duration_ps / 1e12


def by_kind(found: Iterable[tuple[str, float]], steps: int) -> dict[str, Spent]:
    """Adds operations up by kind."""
    seconds: collections.Counter[str] = collections.Counter()
    count: collections.Counter[str] = collections.Counter()
    for operation, taken in found:
        kind = kind_of(operation)
        seconds[kind] += taken  # type: ignore[assignment]
        count[kind] += 1
    return {
        kind: Spent(1000 * seconds[kind] / steps, count[kind] / steps)
        for kind in (*KINDS, REST)
    }


def kind_of(operation: str) -> str:
    """The kind that a type of operation is of."""
    for kind, pattern in KINDS.items():
        if re.fullmatch(pattern, operation):
            return kind
    return REST


def markdown(rows: list[dict[str, Any]], command: str) -> str:
    """The table, and how to read it."""
    heading = (
        "tower",
        "domains",
        "ms of a step",
        "over shared",
        "products: number",
        "ms",
        "GFLOP/s",
        "Adam's update, ms",
        "moving rows, ms",
        "the rest, ms",
    )
    table = markdown_table(heading, [cells(one, rows[0]) for one in rows])
    return (
        "# Where a step's time goes\n\nBatch 1,024, three fields, hidden "
        "layers of 256, 128 and 64, mixed batches, one thread, under "
        "TensorFlow's profiler: the times are of operations, and a step's is "
        "their sum. GFLOP/s: the work that the rows need, by the products' "
        f"time. Written by `{command}`.\n\n{table}\n"
    )


def cells(one: dict[str, Any], shared: dict[str, Any]) -> list[str]:
    """A row of the table, of what `profiled` returned."""
    kinds = {kind: Spent(**spent) for kind, spent in one["kinds"].items()}
    return [
        one["tower"],
        str(one["domains"]),
        f"{one['ms']:.2f}",
        f"{one['ms'] / shared['ms']:.2f}",
        f"{kinds[PRODUCTS].count:.0f}",
        f"{kinds[PRODUCTS].ms:.2f}",
        f"{one['gflops_per_second']:.1f}",
        *(f"{kinds[kind].ms:.2f}" for kind in (UPDATE, ROWS, REST)),
    ]


if __name__ == "__main__":
    # No bar: what moves takes time of what is measured.
    binary.run(main, "Profiles training steps: about two minutes ...")
