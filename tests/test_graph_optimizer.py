"""TensorFlow optimizes the graphs of every tower where oneDNN is on, too.

Version 2.21 gives up on a graph with `relu((product + bias) + sum)`, whole, and
says so in its log alone: the graph runs, slower.
"""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import keras
import numpy as np
import mlora_tf
from mlora_tf.predictor import Predictor
from mlora_tf.towers import TOWERS

rows = {
    "item": np.arange(12, dtype="int32") % 4,
    "domain": np.arange(12, dtype="int32") % 3,
}
item = mlora_tf.SparseFeature("item", ("pen", "ink", "nib"))
schema = mlora_tf.Schema((item,), "country", ("fr", "it", "pl"))

def try_out(name, model):
    print("model:", name, file=sys.stderr, flush=True)
    mine = {key: rows[key] for key in model.input}
    Predictor(model)(mine)
    model.compile("adam", {"ctr": "binary_crossentropy"})
    model.fit(mine, np.zeros((12, 1)), verbose=0)

x = keras.Input((4,), name="x")
hidden = keras.layers.Dense(4)
if sys.argv[1] == "bad":
    model = keras.Model(x, keras.layers.ReLU()(hidden(x) + x))
    model.predict(np.ones((3, 4)), verbose=0)
else:
    for tower in TOWERS:
        model = mlora_tf.build_model(
            schema, tower=tower, hidden_units=(8, 4), auxiliary=True
        )
        try_out(tower, model)
    clicks = keras.layers.Dense(1, "sigmoid", name="ctr")
    own = keras.Model(x, {"ctr": clicks(keras.layers.ReLU()(hidden(x)))})
    rows["x"] = np.ones((12, 4), "float32")
    try_out("adapted", mlora_tf.adapt(own, ("fr", "it", "pl")))
"""
GIVES_UP = "does not specify an operation"


def log_of(which):
    """What TensorFlow logs of the program, with oneDNN."""
    variables = {
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "KERAS_BACKEND": "tensorflow",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, which],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_no_tower_has_what_tensorflow_gives_up_on():
    said = log_of("towers")
    assert said.count("model: ") == 9
    assert GIVES_UP not in said, said


def test_such_a_graph_is_told_by_the_log():
    """Else the test above would pass whatever the towers do."""
    if GIVES_UP not in log_of("bad"):
        pytest.skip("this TensorFlow, or this processor, doesn't give up.")
