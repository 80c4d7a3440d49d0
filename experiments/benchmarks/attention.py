r"""By pair or by row: which form of `FieldAttention` is faster, by fields.

    python -m experiments.benchmarks.attention

Times forward and backward of three layers of the published sizes, without what
is the same in both forms, at batch 1024 and 4096 on one thread, and writes
`experiments/results/attention.json`. `FieldAttention.FEW_FIELDS` is read off
it. It takes about a minute.
"""

from collections.abc import Callable
from typing import Any

from experiments import binary
from experiments.threads import limit_threads

LAYERS, DIM = 3, 8
ROUNDS = 15
SIZES = [
    (batch, fields) for batch in (1024, 4096) for fields in (2, 3, 4, 5, 6, 8)
]


def main() -> None:
    """Times every size and writes the result."""
    from experiments.benchmarks.harness import quiet_tracing
    from experiments.benchmarks.harness import write_result

    quiet_tracing()
    limit_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"{'batch':>6} {'fields':>6} {'by pair':>8} {'by row':>8} ms")
    for batch, fields in SIZES:
        row = time_forms(batch, fields)
        rows.append(row)
        by_pair, by_row = row["by_pair"], row["by_row"]
        print(
            f"{batch:>6} {fields:>6} {by_pair:>8.2f} {by_row:>8.2f}", flush=True
        )
    write_result(
        "attention",
        "python -m experiments.benchmarks.attention",
        {
            "layers": LAYERS,
            "dim": DIM,
            "unit": f"ms, forward and backward, median of {ROUNDS}",
            "rows": rows,
        },
    )


def time_forms(batch: int, fields: int) -> dict[str, Any]:
    """Milliseconds of each form."""
    import keras
    import numpy as np
    import tensorflow as tf

    from experiments.benchmarks.harness import interleaved
    from mlora_tf.layers import FieldAttention

    keras.utils.set_random_seed(0)
    layers = [FieldAttention(use_residual=False) for _ in range(LAYERS)]
    draw = np.random.default_rng(0).normal
    inputs = tf.constant(draw(size=(batch, fields, DIM)), tf.float32)
    keras.Sequential(layers).build(inputs.shape)
    sources = [inputs, *(w.value for layer in layers for w in layer.weights)]

    def work(form: Callable[..., Any]) -> Callable[[], Any]:
        @tf.function
        def step() -> Any:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = inputs
                for layer in layers:
                    outputs = form(layer, outputs)
                loss = tf.reduce_sum(outputs**2)
            return tape.gradient(loss, sources)

        return lambda: [gradient.numpy() for gradient in step()]

    forms = {
        "by_pair": work(FieldAttention.by_pair),
        "by_row": work(FieldAttention.by_row),
    }
    seconds = interleaved(forms, ROUNDS)
    return {
        "batch": batch,
        "fields": fields,
        **{name: 1000 * value for name, value in seconds.items()},
    }


if __name__ == "__main__":
    # No bar: what moves takes time of what is measured.
    binary.run(main, "Measures forms of field attention: about a minute ...")
