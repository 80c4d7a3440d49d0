"""Keeps TensorFlow's notes at its start from who asked for something else."""

import os
import tempfile


def import_tensorflow() -> None:
    """Imports TensorFlow without its notes about missing GPUs.

    It writes them to the process's stderr before any log level counts. If the
    import fails, they are shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 -- closed below
    except OSError:
        return  # Nowhere to keep them: they are shown, and so is the reason.
    stderr = os.dup(2)
    with file as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
