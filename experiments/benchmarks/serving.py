r"""How fast an export answers, and how large it is on disk.

    python -m experiments.benchmarks.serving

One request is of 100 or of 1,000 candidates for one user in one domain. In
turns, call by call in one process, it goes to

- `plain`: the plain model, exported and asked the same way as the next one:
  by the signature of that domain, of which it makes nothing;
- `domain`: the MLoRA model's signature of that domain, which is folded;
- `domain_bfloat16`: the same, its weights stored in half the bytes;
- `mixed`: `serving_default`, which takes any mix of domains;
- `mixed_all`: the same with candidates of all domains in turns;
- `raw`: raw values, which it looks up first;
- `unmerged`: the Keras model as it is trained, in a graph.

It writes `experiments/results/serving.{json,md}`. Run it on an idle machine;
it takes two minutes on two idle cores.
"""

import dataclasses
import gc
import pathlib
import tempfile
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments import binary
from experiments.benchmarks import suite
from experiments.threads import define_threads_flag


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        domains: The numbers of domains.
        candidates: The rows of a request.
        calls: How many requests each alternative is timed with.
        num_ids: How many users there are, and how many items.
        hidden_units: Widths of the hidden layers.
        most_signatures: Up to so many domains each has a signature of its
            own; of more, the one that is asked.
    """

    domains: Sequence[int] = (10, 1000)
    candidates: Sequence[int] = (100, 1000)
    calls: int = 1000
    num_ids: int = 100_000
    hidden_units: tuple[int, ...] = (256, 128, 64)
    most_signatures: int = 10


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_integer(
        "calls", Settings.calls, "Requests to each.", lower_bound=1
    )
    define_threads_flag()
    flags.DEFINE_string("output", None, "Folder of the results.")


def main() -> None:
    """Measures, and writes the results."""
    from experiments import runs
    from experiments.benchmarks import harness
    from experiments.benchmarks.serving_report import markdown

    values = flags.FLAGS.flag_values_dict()
    harness.quiet_tracing()
    runs.start_tensorflow(threads=values["threads"])
    command = suite.command("serving", suite.arguments(("calls", "threads")))
    folder = pathlib.Path(values["output"] or harness.RESULTS)
    content = measure(Settings(calls=values["calls"]))
    harness.write_result("serving", command, content, folder)
    text = markdown(content, command)
    (folder / "serving.md").write_text(text, "utf-8")
    print(text)


def measure(settings: Settings) -> dict[str, Any]:
    """Exports and asks models of each number of domains."""
    from experiments.benchmarks.serving_report import lines

    rows, sizes = [], []
    for domains in settings.domains:
        with tempfile.TemporaryDirectory() as folder:
            latencies, size = measure_domains(
                domains, settings, pathlib.Path(folder)
            )
        rows += latencies
        sizes.append(size)
    return {
        "settings": dataclasses.asdict(settings),
        "lines": [line.to_dict() for line in lines(rows)],
        "rows": rows,
        "sizes": sizes,
    }


def measure_domains(
    domains: int, settings: Settings, folder: pathlib.Path
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The latencies and the sizes of one number of domains."""
    import tensorflow as tf

    from experiments.benchmarks import serving_requests
    from experiments.benchmarks.serving_requests import PLAIN
    from mlora_tf import serving
    from mlora_tf.serving_signatures import legal_names

    models = serving_requests.models(
        domains, settings.num_ids, settings.hidden_units
    )
    schema, mlora = models.schema, models.mlora
    asked = schema.domains[:1]
    own = schema.domains if domains <= settings.most_signatures else asked
    exports = {
        PLAIN: (models.plain, "float32", asked),
        "mlora": (mlora, "float32", own),
        "mlora_bfloat16": (mlora, "bfloat16", own),
        "mlora_without_signatures": (mlora, "float32", ()),
    }
    paths = {
        name: serving.export(
            model, schema, folder / name, weights=weights, domains=chosen
        )
        for name, (model, weights, chosen) in exports.items()
    }
    served = {
        name: tf.saved_model.load(str(path)).signatures
        for name, path in paths.items()
    }
    name = legal_names(schema.domains)[asked[0]]
    found = []
    for candidates in settings.candidates:
        alternatives = serving_requests.alternatives(
            served,
            name,
            models,
            serving_requests.request(candidates, domains, settings.num_ids),
        )
        seconds = times(alternatives, settings.calls)
        for alternative, taken in seconds.items():
            found.append(
                {
                    "domains": domains,
                    "candidates": candidates,
                    "alternative": alternative,
                    **summary(taken, seconds[PLAIN], candidates),
                }
            )
    sizes = {key: _size(path) for key, path in paths.items()}
    return found, {
        "domains": domains,
        "signatures_of_domains": len(own),
        "bytes": sizes,
        "bytes_of_separate_models": domains * sizes[PLAIN],
    }


def times(
    alternatives: Mapping[str, Callable[[], Any]], calls: int
) -> dict[str, list[float]]:
    """The seconds of every call, taken in turns.

    Each turn has an order of its own: no alternative finds more often than
    another the caches as a certain one leaves them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for name in [*alternatives] * min(calls, 20):
        alternatives[name]()
    rng = np.random.default_rng(0)
    # Models are many objects, which no call's collection shall go through.
    gc.collect()
    gc.freeze()
    try:
        for _ in range(calls):
            for name in map(str, rng.permutation(list(alternatives))):
                began = time.perf_counter()
                alternatives[name]()
                seconds[name].append(time.perf_counter() - began)
    finally:
        gc.unfreeze()
    return seconds


def summary(
    seconds: list[float], plain: list[float], candidates: int
) -> dict[str, float]:
    """Percentiles, speed, and the median ratio to the plain model's turns."""
    from experiments.benchmarks.harness import ratio

    p50, p99 = np.percentile(seconds, [50, 99])
    return {
        "p50_ms": 1000 * float(p50),
        "p99_ms": 1000 * float(p99),
        "rows_per_second": candidates / float(p50),
        "ratio": ratio(seconds, plain),
    }


def _size(folder: pathlib.Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


if __name__ == "__main__":
    define_flags()
    # No bar: what moves takes time of what is measured.
    binary.run(main, "Measures exports: about two minutes ...")
