"""Where a model trains: on one device, on several, or on several machines."""

import importlib.metadata
import platform

import numpy as np
import tensorflow as tf

from mlora_tf.batches import Batches
from mlora_tf.cluster import VARIABLE
from mlora_tf.cluster import Cluster
from mlora_tf.cluster import ClusterError
from mlora_tf.rendezvous import meet
from mlora_tf.version import __version__

MEETING_SECONDS = 600.0
"""How long workers wait for one another at the start."""

ALIKE = ("keras", "numpy", "tensorflow")
"""Packages whose versions must be the same on all workers."""


def training_strategy(
    replicas: int | None = None, *, meeting_seconds: float = MEETING_SECONDS
) -> tf.distribute.Strategy:
    """The workers that TF_CONFIG states, or else this machine's devices.

    Call it before TensorFlow runs anything else.

    Args:
        replicas: See `mirrored_strategy`. A worker trains on all its GPUs.
        meeting_seconds: How long workers wait for one another.

    Returns:
        A `MultiWorkerMirroredStrategy` where TF_CONFIG states two workers or
        more, and else what `mirrored_strategy` returns.

    Raises:
        ClusterError: TF_CONFIG states no cluster of workers, or some of them
            don't come, have other versions or other numbers of GPUs; or
            `replicas` is given with several workers.
        ValueError: See `mirrored_strategy`.
        RuntimeError: See `mirrored_strategy`.

    Example:
    >>> strategy = training_strategy(replicas=1)
    >>> strategy.num_replicas_in_sync
    1
    """
    cluster = Cluster.from_environment()
    if cluster is None or len(cluster.addresses) == 1:
        return mirrored_strategy(replicas)
    if replicas is not None:
        raise ClusterError(
            f"{VARIABLE} states {len(cluster.addresses)} workers, each of "
            "which trains on all its GPUs, or on its CPU: leave replicas out "
            f"(CUDA_VISIBLE_DEVICES hides GPUs). Received: replicas={replicas}"
        )
    return multi_worker_strategy(cluster, meeting_seconds=meeting_seconds)


def multi_worker_strategy(
    cluster: Cluster | None = None, *, meeting_seconds: float = MEETING_SECONDS
) -> tf.distribute.MultiWorkerMirroredStrategy:
    """A strategy over several machines, once all of them are there.

    Every worker runs the same program, each with its own TF_CONFIG. Call it
    before TensorFlow runs anything else. Keras 3.15's `fit` needs
    `mended_fit(strategy)` around it then, one step per execution, and
    `distributed(batches, strategy)` for the rows.

    Args:
        cluster: The workers; by default what TF_CONFIG states.
        meeting_seconds: How long to wait for the others.

    Raises:
        ClusterError: TF_CONFIG states no workers, some of them don't come, or
            they have other versions or other numbers of GPUs.
    """
    cluster = cluster or Cluster.from_environment()
    if cluster is None:
        raise ClusterError(
            f"there is no {VARIABLE}, which states the workers: set it, or "
            "use mirrored_strategy() for one machine."
        )
    gpus = tf.config.list_physical_devices("GPU")
    facts = {
        "GPUs": str(len(gpus)),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "mlora_tf": __version__,
        **{name: importlib.metadata.version(name) for name in ALIKE},
    }
    meet(cluster, facts, timeout=meeting_seconds)
    return tf.distribute.MultiWorkerMirroredStrategy()


def distributed(
    batches: Batches, strategy: tf.distribute.Strategy, done: int = 0
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """What `fit` takes under a strategy: each replica's part of each batch.

    `fit` wants `shuffle=False` with it: these batches are shuffled, and Keras
    warns that it can't do so again.

    Args:
        batches: The batches, made with this worker's `shard`.
        strategy: Where to train.
        done: How many batches of the epoch are left out, the first ones.

    Returns:
        The dataset of `batches`, which Keras parts among this machine's
        replicas. With several workers, one whose batches are parted already:
        each replica's inputs and labels have `batch_size / replicas` rows.

    Example:
    >>> from mlora_tf.data import Split
    >>> rows = Split({"domain": np.array([0, 1, 1, 0])}, np.ones(4, "float32"))
    >>> batches = Batches(rows, 2, seed=0)
    >>> for _, targets in distributed(batches, tf.distribute.get_strategy()):
    ...     print(targets["ctr"].shape)
    (2, 1)
    (2, 1)
    """
    rest = batches.rest(done) if done else batches.dataset
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return rest  # Keras parts it among the replicas.
    rows = batches.batch_size // strategy.num_replicas_in_sync
    return parted(rest, strategy, rows, batches.steps - done)


def parted(
    dataset: tf.data.Dataset,
    strategy: tf.distribute.Strategy,
    rows: int,
    steps: int,
) -> tf.distribute.DistributedDataset:
    """Gives each replica of this worker its part of this worker's batches.

    Args:
        dataset: This worker's batches.
        strategy: Where to train.
        rows: Rows of a part.
        steps: How many batches there are.
    """
    parts = dataset.rebatch(rows, drop_remainder=True)
    found = strategy.distribute_datasets_from_function(lambda context: parts)
    # Keras asks for the steps, where TensorFlow has the number of parts.
    found._cardinality = np.int64(steps)
    return found


def mirrored_strategy(replicas: int | None = None) -> tf.distribute.Strategy:
    """A `MirroredStrategy` over this machine's GPUs, or over its CPU.

    Call it before TensorFlow runs anything else: the CPU is split into
    logical devices only once, when TensorFlow starts. One device alone has
    nothing to mirror and gets TensorFlow's default strategy.

    Args:
        replicas: How many devices to train on. None takes every GPU, or one
            CPU device where there is no GPU.

    Returns:
        The strategy; make the model and compile it in its `scope()`.

    Raises:
        ValueError: There are fewer devices than that.
        RuntimeError: TensorFlow has started with fewer logical CPU devices.

    Example:
    >>> strategy = mirrored_strategy(replicas=1)
    >>> with strategy.scope():
    ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> strategy.num_replicas_in_sync
    1
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
