"""What a run is: one frozen dataclass."""

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import Any

from mlora_tf import recipe_checks
from mlora_tf.backbones import BACKBONES
from mlora_tf.recipe_checks import RecipeError
from mlora_tf.towers import TOWERS

__all__ = ["Recipe", "RecipeError"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's numbers, but for data and machine.

    Args:
        backbone: How features interact.
        tower: How domains share weights.
        schedule: "joint" trains everything at once; "two_phase" (MLoRA,
            section 3.4) trains the shared model, freezes it and then trains
            the tower's per-domain weights alone. Adapters beside STAR's
            weights, `tower_options={"mlora": "parallel"}`, have a trained
            STAR for their shared model.
        control: What an adapter's gain is held against, by name. The
            "shared_adapter" is one for all domains; "bias_only" has no
            low-rank part; "train_on" spends phase two on the base itself.
        norm: What normalizes the tower's input: "none", "batch", "layer" or
            "partitioned".
        auxiliary: Whether STAR's auxiliary network is added.
        hidden_units: Widths of the hidden layers.
        dropout: Their rate of dropout.
        dropout_placement: "shared" or "output"; see `towers.Hidden`.
        temperature: Divides a layer's width to give its adapters' rank.
        max_adapter_params: The most numbers of one domain's adapter in one
            layer, for which its rank falls (MLoRA, section 4.6: 1024).
        rank_power: Above 0, small domains have smaller ranks: a domain with
            n of the training rows has the share (n / most)**rank_power of
            each layer's rank, where `most` is the largest domain's n.
        lora_bias: Whether adapters have a bias per domain.
        backbone_options: More arguments for the backbone, by name.
        tower_options: More arguments for the tower, by name.
        domain_field: Whether the domain is one of the embedded fields; see
            `build_model` for `norm="partitioned"`.
        embedding_dim: Width of each field's embedding.
        embedding_stddev: Tables start at N(0, this); 0 draws Keras's
            U(-.05, .05).
        embedding_l2: L2 penalty on each table.
        embedding_l2_rows: Of the penalty: "all" is on whole tables, "batch"
            on the rows that a batch looks up; see `layers.EmbeddingTable`.
        optimizer: "adam", or "lazy_adam", which leaves alone the domains
            that a batch doesn't have and, without L2 on all rows, the ids.
        learning_rate: The optimizer's, in both phases.
        adam_epsilon: The optimizer's.
        batch_size: Rows per step, over all replicas.
        batches: "mixed", "per_domain" or "sliding_window"; see
            `batches.Batches`.
        domain_sampling: Of batches="per_domain", which domain's comes next:
            "sequential", "proportional" or "uniform".
        window_rows: Of batches="sliding_window", the rows of its buffer.
        epoch_steps: Batches of an epoch, after which there is an evaluation,
            early stopping and a saved state; None takes a whole pass over
            the rows. Epochs may be parts of a pass, or more than one.
        monitor: The log that early stopping maximises.
        patience: Epochs without a new best before a phase stops.
        rollback: See `callbacks.EarlyStopping`.
        stop_by_domain: Whether in phase two each domain keeps the adapters of
            its own best epoch, its base's where none is better; see
            `domain_stopping.DomainEarlyStopping`.
        max_epochs: The most epochs of a phase.
        fresh_fraction: The share of the training rows that phase one doesn't
            see and phase two trains on; 0 trains both phases on all rows.
        seed: Of weights, order and dropout.

    Raises:
        RecipeError: A value isn't allowed, or two don't go together.

    Example:
    >>> recipe = Recipe(tower="mlora", schedule="two_phase", dropout=0.5)
    >>> recipe.changes()
    {'schedule': 'two_phase', 'dropout': 0.5}
    >>> recipe.to_dict()["hidden_units"]
    [256, 128, 64]
    """

    backbone: str = "mlp"
    tower: str = "mlora"
    schedule: str = "joint"
    control: str = "none"
    norm: str = "none"
    auxiliary: bool = False
    hidden_units: tuple[int, ...] = (256, 128, 64)
    dropout: float = 0.0
    dropout_placement: str = "shared"
    temperature: int = 16
    max_adapter_params: int | None = None
    rank_power: float = 0.0
    lora_bias: bool = True
    backbone_options: Mapping[str, Any] = dataclasses.field(
        default_factory=dict
    )
    tower_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    domain_field: bool = True
    embedding_dim: int = 8
    embedding_stddev: float = 1e-4
    embedding_l2: float = 1e-5
    embedding_l2_rows: str = "all"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    adam_epsilon: float = 1e-7
    batch_size: int = 1024
    batches: str = "mixed"
    domain_sampling: str = "sequential"
    window_rows: int | None = None
    epoch_steps: int | None = None
    monitor: str = "val_wauc"
    patience: int = 5
    rollback: bool = False
    stop_by_domain: bool = False
    max_epochs: int = 100
    fresh_fraction: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        recipe_checks.check_values(self)
        recipe_checks.check_options(
            "backbone", BACKBONES[self.backbone], self.backbone_options
        )
        recipe_checks.check_options(
            "tower", TOWERS[self.tower], self.tower_options
        )
        recipe_checks.check_combination(self)

    @property
    def base_tower(self) -> str:
        """The tower of two phases' first one.

        It is the shared one, but for adapters beside STAR's own weights: that
        is MLoRA on a trained STAR.
        """
        beside = self.tower_options.get("mlora") == "parallel"
        star = self.tower == "star" and beside
        return "star" if star and self.schedule == "two_phase" else "shared"

    @property
    def tower_arguments(self) -> dict[str, Any]:
        """The tower's own arguments for `build_model`."""
        accepted = inspect.signature(TOWERS[self.tower]).parameters
        values = {
            "temperature": self.temperature,
            "max_adapter_params": self.max_adapter_params,
            "use_lora_bias": self.lora_bias,
        }
        options = {
            name: value for name, value in values.items() if name in accepted
        }
        control = recipe_checks.CONTROL_OPTIONS.get(self.control, {})
        return {**options, **control, **self.tower_options}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, as a file of JSON gives them back."""
        content: dict[str, Any] = json.loads(
            json.dumps(dataclasses.asdict(self))
        )
        return content

    def changes(self) -> dict[str, Any]:
        """The values that aren't the defaults, JSON-ready."""
        return changes(self.to_dict())


def changes(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a recipe that aren't the defaults.

    A field that is new, and by default does nothing, isn't among those of
    older recipes: they stay what they are.

    Args:
        recipe: What `Recipe.to_dict` gave, of this version or an older one.
    """
    return {
        name: value
        for name, value in recipe.items()
        if name not in DEFAULTS or value != DEFAULTS[name]
    }


DEFAULTS = Recipe().to_dict()
"""A recipe's values where nothing else is said, JSON-ready."""
