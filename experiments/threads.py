"""How many threads TensorFlow has: the flag, and what it does."""

from absl import flags

# The flag counts in --help as one of the binary that has it defined.
flags.disclaim_key_flags()


def define_threads_flag() -> None:
    """Defines --threads."""
    flags.DEFINE_integer(
        "threads", None, "TensorFlow's; one a core by default.", lower_bound=1
    )


def limit_threads(count: int) -> None:
    """Sets the most threads, before TensorFlow does anything else."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
