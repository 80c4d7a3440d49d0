"""Trains one domain of a model, and leaves all others as they are."""

import keras

from mlora_tf.domain_slices import is_domain_table
from mlora_tf.domain_slices import sliced_layers
from mlora_tf.domain_slices import slices
from mlora_tf.layers import EmbeddingTable
from mlora_tf.transform import OneSlice
from mlora_tf.transform import domain_index
from mlora_tf.transform import domain_layers
from mlora_tf.transform import freeze_all_but
from mlora_tf.transform import unfreeze


def train_only(
    model: keras.Model, name: str, *, vocabulary: bool = True
) -> None:
    """Leaves what is one domain's own as the only thing that trains.

    That are its slices of the per-domain weights, its row of the tables that
    embed the domain, its statistics and scale in a partitioned
    normalization, and the rows that `grow_vocabulary` added. Trained on rows
    of that domain alone, all other domains' outputs stay what they were, bit
    for bit, for ids that the model had before: penalties count nothing else,
    and any other normalization is frozen whole.

    Compile the model after it with a new optimizer, in the strategy's scope:
    one that was used before would move other domains by what is left of its
    momentum. So would weight decay (`AdamW`) and averaging (`use_ema`).

    It lasts as long as the model is in memory: a `.keras` file keeps which
    rows train, but not which weights of a layer with adapters are frozen.
    Save it without its optimizer, as `keras.Model(model.input, model.output)`,
    and call this again to train on. `unfreeze` lets all train again, old rows
    too.

    Args:
        model: A model that says what its domains are.
        name: The domain's.
        vocabulary: Whether the rows that `grow_vocabulary` added last train
            too. They move the outputs of every domain that uses their ids, so
            leave them out where another has learned them since.

    Raises:
        ValueError: There is no such domain, or nothing is its own. Nothing
            has changed then.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> model = build_model(schema, tower="mlora", hidden_units=[8])
    >>> train_only(model, "it")
    >>> sorted({weight.name for weight in model.trainable_weights})
    ['embeddings', 'lora_bias', 'lora_kernel_a', 'lora_kernel_b']
    """
    index = domain_index(model, name)
    rows: dict[int, tuple[int, int]] = {}
    own: set[int] = set()
    for layer in sliced_layers(model):
        if is_domain_table(layer):
            rows[id(layer)] = (index, index + 1)
        own |= {id(variable) for variable in slices(layer)}
    if not own:
        raise ValueError(
            f"{model.name!r} has nothing that is a domain's own: frozen, "
            'nothing of it would train. Build it with a tower such as "mlora", '
            "or give a model of your own adapters by mlora_tf.adapt."
        )
    layers = list(model._flatten_layers(include_self=False))
    for layer in layers:
        table = isinstance(layer, EmbeddingTable) and id(layer) not in rows
        if table and layer.trainable_rows is not None:
            # Left out, they are the new ones still, for whoever comes next.
            rows[id(layer)] = layer.trainable_rows
            if vocabulary:
                own.add(id(layer.embeddings))
    unfreeze(model)
    for layer in layers:
        if id(layer) in rows:
            layer.trainable_rows = rows[id(layer)]
    freeze_all_but(model, own)
    for layer in domain_layers(model):
        for variable in layer.domain_variables:
            if variable.regularizer is not None:
                variable.regularizer = OneSlice(variable.regularizer, index)
