r"""How long an epoch of training and its exact evaluation take, in `fit`.

    python -m experiments.benchmarks.epoch --data=data/ml1m-gender

Trains MLP with the shared and the mlora tower, with dropout 0 and .5, for a
few epochs each with all callbacks on, and writes the medians to
`experiments/results/epoch.json`. It takes about two minutes on two cores. The
original TF 1.12 code takes 7.3 to 8.8 s of training (68,000 to 82,000 rows/s)
for an epoch of MovieLens-1M, at dropout .5, and about 4 s for two evaluations.
"""

import pathlib
import statistics
import tempfile

from absl import flags

from experiments import binary
from experiments.benchmarks import suite


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("data", None, "The prepared folder.", required=True)
    flags.DEFINE_integer(
        "epochs", 6, "Epochs; the first isn't counted.", lower_bound=2
    )


def main() -> None:
    """Trains each arm and writes the medians."""
    from experiments import runs
    from experiments.benchmarks import harness
    from mlora_tf import data
    from mlora_tf import training
    from mlora_tf.recipes import Recipe

    harness.quiet_tracing()
    strategy = runs.start_tensorflow()
    log = data.load(flags.FLAGS.data)
    rows = []
    for tower in ("shared", "mlora"):
        for dropout in (0.0, 0.5):
            recipe = Recipe(
                tower=tower, dropout=dropout, max_epochs=flags.FLAGS.epochs
            )
            with tempfile.TemporaryDirectory() as folder:
                (phase,) = training.train(
                    log,
                    recipe,
                    strategy,
                    state_folder=pathlib.Path(folder),
                    phase_callbacks=runs.standard_callbacks(
                        pathlib.Path(folder)
                    ),
                )
            train, evaluate = (
                statistics.median(logs[name] for logs in phase.history[1:])
                for name in ("train_seconds", "val_seconds")
            )
            rows.append(
                {
                    "tower": tower,
                    "dropout": dropout,
                    "train_seconds": train,
                    "train_rows_per_second": len(log.train) / train,
                    "evaluation_seconds": evaluate,
                    "evaluation_rows": len(log.valid),
                    "epoch_seconds": train + evaluate,
                }
            )
            print(rows[-1])
    harness.write_result(
        "epoch",
        suite.command("epoch", suite.arguments(("data", "epochs"))),
        {"data": log.fingerprint, "train_rows": len(log.train), "rows": rows},
    )


if __name__ == "__main__":
    define_flags()
    # No bar: what moves takes time of what is measured.
    binary.run(
        main, "Measures an epoch and its evaluation: about two minutes ..."
    )
