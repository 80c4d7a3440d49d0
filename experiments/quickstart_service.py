"""The quickstart's request to the model that it exported."""

import json
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from mlora_tf.data import ClickLog

REQUEST_ROWS = 4
TOLERANCE = 1e-6
"""The most by which a served probability may differ from Keras's."""

CLIENT = """
import json
import sys

import tensorflow as tf

request = json.load(sys.stdin)
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
inputs = {name: tf.constant(ids, tf.int32) for name, ids in request.items()}
ctr = serve(**inputs)["ctr"].numpy()[:, 0]
assert "mlora_tf" not in sys.modules
json.dump(ctr.tolist(), sys.stdout)
"""
"""All that a server needs: TensorFlow, and the exported folder."""


def serve(log: "ClickLog", run: pathlib.Path, console: "Console") -> None:
    """Scores a request in a process without mlora_tf and compares.

    Args:
        log: The data, whose test split has the request's rows.
        run: A finished run with an export.
        console: Shows the request and its answer.

    Raises:
        RuntimeError: The served model fails or differs from the Keras model.
    """
    import keras
    import numpy as np
    from rich import box
    from rich.table import Table

    from mlora_tf import serving
    from mlora_tf.predictor import Predictor
    from mlora_tf.schema import SparseFeature
    from mlora_tf.split import Split

    shops = np.linspace(0, log.schema.num_domains - 1, REQUEST_ROWS)
    chosen = [
        int(np.flatnonzero(log.test.domain == shop)[0])
        for shop in sorted(set(shops.astype(int)))
    ]
    assert isinstance(log.test, Split)  # main reads all into memory
    rows = log.test.take(np.array(chosen))
    request = {name: ids.tolist() for name, ids in rows.inputs.items()}
    exported = run / "serving" / str(serving.versions(run / "serving")[-1])
    console.print(f"Request to {exported}:", soft_wrap=True)
    console.print_json(json.dumps(request), indent=None)
    finished = subprocess.run(
        [sys.executable, "-c", CLIENT, str(exported)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        raise RuntimeError(f"{exported} isn't served:\n{finished.stderr}")
    served = np.array(json.loads(finished.stdout), np.float32)
    model = keras.models.load_model(run / "model.keras", safe_mode=True)
    expected = Predictor(model)(rows.inputs)

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("shop", "user and item"):
        grid.add_column(name, no_wrap=True)
    for name in ("served", "Keras", "truth"):
        grid.add_column(name, justify="right", no_wrap=True)
    for i in range(len(rows)):
        words = [
            feature.vocabulary[rows.inputs[feature.name][i] - 1]
            for feature in log.schema.features
            if isinstance(feature, SparseFeature)
        ]
        grid.add_row(
            log.schema.domains[rows.domain[i]],
            " ".join(map(str, words)),
            f"{served[i]:.4f}",
            f"{expected[i]:.4f}",
            f"{rows.extra['true_ctr'][i]:.4f}",
        )
    console.print(grid)
    difference = float(np.abs(served - expected).max())
    if difference > TOLERANCE:
        raise RuntimeError(
            f"{exported} and the Keras model differ by {difference:.1e}."
        )
    console.print(
        "Served by TensorFlow alone, mlora_tf not imported: "
        f"equal to the Keras model within {TOLERANCE:g}."
    )
