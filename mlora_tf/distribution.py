"""Where a model trains: MirroredStrategy over GPUs or logical CPU devices."""

import tensorflow as tf


def mirrored_strategy(replicas: int | None = None) -> tf.distribute.Strategy:
    """A `MirroredStrategy` over this machine's GPUs, or over its CPU.

    Call it before TensorFlow runs anything else: the CPU is split into
    logical devices only once, when TensorFlow starts. One device alone has
    nothing to mirror and gets TensorFlow's default strategy.

    Args:
        replicas: How many devices to train on. None takes every GPU, or one
            CPU device where there is no GPU.

    Raises:
        ValueError: There are fewer devices than that.
        RuntimeError: TensorFlow has started with fewer logical CPU devices.
    """
    if replicas is not None and replicas < 1:
        raise ValueError(
            f"replicas must be a positive integer. Received: {replicas!r}"
        )
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and replicas and replicas > len(gpus):
        raise ValueError(
            f"this machine has {len(gpus)} GPUs. Received: replicas={replicas}"
        )
    count = replicas or max(len(gpus), 1)
    if count == 1:
        return tf.distribute.get_strategy()
    # Keras 3.15 can't run several steps per execution with the default
    # collectives over two replicas or more; with either of these it can.
    if gpus:
        reduce = tf.distribute.HierarchicalCopyAllReduce()
    else:
        _split_cpu(count)
        reduce = tf.distribute.ReductionToOneDevice()
    kind = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy(
        [f"{kind}:{i}" for i in range(count)], cross_device_ops=reduce
    )


def _split_cpu(count: int) -> None:
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    if count > 1:
        devices = [tf.config.LogicalDeviceConfiguration()] * count
        try:
            if not tf.config.get_logical_device_configuration(cpu):
                tf.config.set_logical_device_configuration(cpu, devices)
        except RuntimeError:
            pass  # TensorFlow has started; what it has is counted below.
    available = len(tf.config.list_logical_devices("CPU"))
    if available < count:
        raise RuntimeError(
            f"TensorFlow has started with {available} logical CPU device(s), "
            f"and {count} are needed: call mirrored_strategy() before any "
            "other TensorFlow work."
        )
