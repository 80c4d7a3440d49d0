"""Exports a model as a SavedModel that needs neither Keras nor mlora_tf."""

import os
import pathlib
import re
import shutil
import tempfile

import keras
import tensorflow as tf

from mlora_tf.schema import Schema

_ASIDE = ".export-"


def versions(folder: str | pathlib.Path) -> list[int]:
    """The versions of a served model, in rising order."""
    folder = pathlib.Path(folder)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    # A reader of TensorFlow Serving's layout sees whole decimal names alone.
    return sorted(int(name) for name in names if re.fullmatch("[0-9]+", name))


def export(
    model: keras.Model, schema: Schema, folder: str | pathlib.Path
) -> pathlib.Path:
    """Writes the next version of a served model.

    The layout is TensorFlow Serving's: `folder/1`, `folder/2` and so on. A
    version is written aside and renamed, so that a reader never sees half of
    one. The signature `serving_default` takes each feature in its `shape` and
    `dtype` (ids are `int32` of shape `(batch,)`, numbers `float32`, sequences
    `int32` of shape `(batch, max_length)` with -1 after the last id) and the
    rows' domains, any mix of them, and returns `ctr` of shape `(batch, 1)`.
    `assets.extra/schema.json` says what the ids and domains mean.

    Args:
        model: A model from `build_model`.
        schema: Its schema.
        folder: The model's folder; made if it isn't there.

    Returns:
        The new version's folder.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left_behind in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(left_behind)
    version = folder / str(max(versions(folder), default=0) + 1)
    aside = pathlib.Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder))
    try:
        archive = keras.export.ExportArchive()
        archive.track(model)
        signature = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
            for name, tensor in model.input.items()
        }
        archive.add_endpoint(
            "serving_default",
            lambda inputs: model(inputs, training=False),
            input_signature=[signature],
        )
        archive.write_out(aside, verbose=False)
        extra = aside / "assets.extra"
        extra.mkdir()
        (extra / "schema.json").write_text(schema.to_json(), "utf-8")
        aside.chmod(0o755)
        os.replace(aside, version)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return version
