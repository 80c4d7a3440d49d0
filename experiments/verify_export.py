r"""Replays an export's golden requests, with TensorFlow alone.

    python -m experiments.verify_export --export=served/ml1m-gender/1

It imports neither Keras nor mlora_tf, as a server doesn't. It prints for each
signature the largest difference between an answer and the recorded one, and
its exit status is 1 if one is above `--tolerance`, or if something fails.
"""

import base64
import json
import os
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app
from absl import flags

TOLERANCE = 1e-5

FORMAT = "mlora_tf.export/1"
"""That of the golden requests, as `mlora_tf.serving` writes them."""


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "export",
        None,
        "A version's folder, or that of versions.",
        required=True,
    )
    flags.DEFINE_float(
        "tolerance",
        TOLERANCE,
        "The most by which a prediction may differ.",
        lower_bound=0,
    )


def main() -> None:
    """Replays the requests and says how far the answers are off."""
    folder = latest(pathlib.Path(flags.FLAGS.export))
    if sys.stderr.isatty():
        print(f"Replaying {folder} ...", file=sys.stderr, flush=True)
    try:
        differences = replay(folder)
    except FileNotFoundError as error:
        sys.exit(f"error: {folder} is no export: {error.filename} is missing.")
    except Exception as error:
        # Whatever the files of an export are damaged in.
        (first, *_) = str(error).splitlines() or [type(error).__name__]
        sys.exit(f"error: {folder} isn't readable: {first}")
    width = max(map(len, differences))
    for name, difference in differences.items():
        print(f"{name:<{width}}  {difference:.1e}")
    largest = max(differences.values())
    tolerance = flags.FLAGS.tolerance
    print(f"largest difference {largest:.1e}, tolerance {tolerance:g}")
    # NaN isn't below anything.
    if not all(one <= tolerance for one in differences.values()):
        sys.exit(f"error: {folder} doesn't answer as it was exported.")


def latest(folder: pathlib.Path) -> pathlib.Path:
    """The folder itself, or the newest version in it."""
    versions = [
        path
        for path in folder.glob("*")
        if path.is_dir() and re.fullmatch("[0-9]+", path.name)
    ]
    return max(versions, key=lambda path: int(path.name), default=folder)


def replay(folder: pathlib.Path) -> dict[str, float]:
    """The largest difference between answers and recorded ones.

    Args:
        folder: An export's folder, a version.

    Returns:
        By signature; NaN where an answer isn't a number, infinity where it
        has other outputs or another shape.

    Raises:
        FileNotFoundError: It is no export.
        ValueError: Its golden requests are none that this can replay.
    """
    golden = folder / "assets.extra" / "golden.json"
    content = json.loads(golden.read_text("utf-8"))
    if content["format"] != FORMAT or not content["requests"]:
        raise ValueError(
            f"golden.json must have requests, in the format {FORMAT!r}. "
            f"Received: {len(content['requests'])} in {content['format']!r}"
        )

    tf = _import_tensorflow()
    signatures = tf.saved_model.load(str(folder)).signatures
    # As they were recorded; by default GPUs round the factors of products.
    config = tf.config.experimental
    rounded = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        return {
            request["signature"]: _difference(
                _ask(signatures[request["signature"]], request["inputs"]),
                request["outputs"],
            )
            for request in content["requests"]
        }
    finally:
        config.enable_tensor_float_32_execution(rounded)


def _import_tensorflow() -> Any:
    """TensorFlow, without the notes that it writes to stderr at its start."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    return tf


def _ask(signature: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    import tensorflow as tf

    _, specs = signature.structured_input_signature
    return signature(
        **{
            name: tf.constant(_decoded(values), specs[name].dtype)
            for name, values in inputs.items()
        }
    )


def _decoded(values: Any) -> Any:
    """Lists as they are, with bytes for base64."""
    if isinstance(values, list):
        return [_decoded(value) for value in values]
    if isinstance(values, dict):
        return base64.b64decode(values["b64"])
    return values


def _difference(
    answer: Mapping[str, Any], recorded: Mapping[str, Any]
) -> float:
    import numpy as np

    if set(answer) != set(recorded):
        return np.inf
    differences = [0.0]
    for name, output in answer.items():
        expected = np.array(recorded[name])
        if expected.shape != tuple(output.shape):
            return np.inf
        if expected.size:
            differences.append(float(np.abs(output - expected).max()))
    # Of NaN and a number, max() takes either.
    return float(np.max(differences))


def _parse(argv: list[str]) -> list[str]:
    """The command line without its flags; a mistake ends in a line."""
    try:
        left: list[str] = flags.FLAGS(argv)
    except flags.Error as error:
        said = re.sub("^flag (--.*?)=None: .*", r"\1 is missing.", str(error))
        (said, *_) = said.split(" Did you mean")
        sys.exit(f"error: {said}\n--helpshort lists the flags.")
    return left


def _run(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"error: {argv[1]!r} is no flag; write --name=value.")
    main()


if __name__ == "__main__":
    define_flags()
    app.run(_run, flags_parser=_parse)
