r"""Which form of the low-rank product is fastest, by domains and rank.

    python -m experiments.benchmarks.routing

Times forward and backward of `domain_ops`'s forms at batch 1024 on a layer
from 256 to 128, on one thread, and writes `experiments/results/routing.json`.
The costs in `mlora_tf/layers/domain_ops.py` are read off it: `merged` stands
against the sum of `shared`, the product with `W`, and the fastest of the
others, and `padded` against `merged`: the same by one batched product, of rows
padded to those of the largest domain. It never pays. Rows are sorted by domain,
as `mlora_tf.batches` has them. It takes one or two minutes.
"""

from collections.abc import Callable
from typing import Any

from experiments import binary
from experiments.threads import limit_threads

BATCH, WIDTH, UNITS = 1024, 256, 128
ROUNDS = 15
SIZES = [
    (domains, rank)
    for rank in (2, 8)
    for domains in (2, 4, 10, 30, 64, 100, 300, 1000)
]


def main() -> None:
    """Times every size and writes the result."""
    from experiments.benchmarks.harness import quiet_tracing
    from experiments.benchmarks.harness import write_result

    quiet_tracing()
    limit_threads(1)
    rows: list[dict[str, Any]] = []
    for domains, rank in SIZES:
        row = time_forms(domains, rank)
        if not rows:
            print(" ".join(f"{name:>10}" for name in row))
        rows.append(row)
        print(
            " ".join(
                f"{value:>10.2f}"
                if isinstance(value, float)
                else f"{value!s:>10}"
                for value in row.values()
            ),
            flush=True,
        )
    write_result(
        "routing",
        "python -m experiments.benchmarks.routing",
        {
            "batch": BATCH,
            "width": WIDTH,
            "units": UNITS,
            "unit": "ms, forward and backward, median of 15",
            "rows": rows,
        },
    )


def time_forms(domains: int, rank: int) -> dict[str, Any]:
    """Milliseconds of each form; "chosen" is `low_rank` on a mixed batch.

    None stands for a form that is never taken at that many domains.
    """
    import numpy as np
    import tensorflow as tf

    from experiments.benchmarks.harness import interleaved
    from mlora_tf.layers import domain_ops
    from mlora_tf.layers import low_rank_forms

    rng = np.random.default_rng(0)

    def draw(*shape: int) -> tf.Tensor:
        return tf.constant(rng.normal(size=shape), tf.float32)

    inputs, a = draw(BATCH, WIDTH), draw(domains, WIDTH, rank)
    b, kernel = draw(domains, rank, UNITS), draw(WIDTH, UNITS)
    mixed = tf.constant(np.sort(rng.integers(0, domains, BATCH)), tf.int32)
    single = tf.fill([BATCH], tf.constant(domains - 1))

    sources = [inputs, a, b, kernel]

    def work(form: Callable[..., Any], domain: tf.Tensor) -> Callable[[], Any]:
        @tf.function
        def step() -> Any:
            with tf.GradientTape() as tape:
                tape.watch(sources)
                outputs = form(inputs, a, b, domain)
                loss = tf.reduce_sum(outputs**2)
            # As an optimizer of stacked weights needs them: dense.
            gradients = tape.gradient(loss, sources)
            return [
                tf.convert_to_tensor(value)
                for value in gradients
                if value is not None
            ]

        return lambda: [value.numpy() for value in step()]

    def low_rank(form: Callable[..., Any]) -> Callable[..., Any]:
        return lambda inputs, a, b, domain: form(inputs, a, b, domain, None)

    def shared(inputs: Any, a: Any, b: Any, domain: Any) -> Any:
        return tf.matmul(inputs, kernel)

    def merged(inputs: Any, a: Any, b: Any, domain: Any) -> Any:
        return domain_ops.merged(inputs, kernel, a, b, domain)

    def padded(inputs: Any, a: Any, b: Any, domain: Any) -> Any:
        counts = tf.math.bincount(domain, minlength=domains, maxlength=domains)
        most = tf.reduce_max(counts)
        first = tf.gather(tf.cumsum(counts, exclusive=True), domain)
        slot = tf.range(BATCH) - first + domain * most
        rows = tf.scatter_nd(slot[:, None], inputs, [domains * most, WIDTH])
        products = tf.matmul(
            tf.reshape(rows, [domains, most, WIDTH]), kernel + tf.matmul(a, b)
        )
        return tf.gather(tf.reshape(products, [-1, UNITS]), slot)

    forms = {
        "masked": work(low_rank(low_rank_forms.masked), mixed),
        "gathered": work(low_rank(low_rank_forms.gathered), mixed),
        "blocked": work(low_rank(low_rank_forms.blocked), mixed),
        "parted": work(low_rank(domain_ops._parted), mixed),
        "pure": work(low_rank(low_rank_forms.pure), single),
        "chosen": work(domain_ops.low_rank, mixed),
        "chosen_pure": work(domain_ops.low_rank, single),
        "shared": work(shared, mixed),
        "merged": work(merged, mixed),
        "padded": work(padded, mixed),
    }
    names = list(forms)
    if domains > domain_ops.PARTED_DOMAINS:
        del forms["parted"], forms["merged"], forms["padded"]
    seconds = interleaved(forms, ROUNDS)
    return {
        "domains": domains,
        "rank": rank,
        "columns": domains * rank,
        **{
            name: 1000 * seconds[name] if name in seconds else None
            for name in names
        },
    }


if __name__ == "__main__":
    # No bar: what moves takes time of what is measured.
    binary.run(
        main,
        "Measures forms of the low-rank product: one or two minutes ...",
    )
