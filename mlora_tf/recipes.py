"""What a run is: one frozen dataclass, and the presets that fill it."""

import dataclasses
from typing import Any

from mlora_tf.data import BATCH_MODES

SCHEDULES = ("joint", "two_phase")
PRESETS = ("paper", "release", "tuned")
MONITORS = ("val_wauc", "val_macro_auc", "val_auc")
CONTROLS = ("none", "shared_adapter", "bias_only", "train_on")


class RecipeError(ValueError):
    """A recipe that can't be trained: says which value, and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's numbers, but for data and machine.

    Args:
        backbone: How features interact.
        tower: How domains share weights.
        schedule: "joint" trains everything at once; "two_phase" (MLoRA,
            section 3.4) trains the shared model, freezes it and then trains
            the tower's per-domain weights alone.
        control: What an adapter's gain is held against, by name. The
            "shared_adapter" is one for all domains; "bias_only" has no
            low-rank part; "train_on" spends phase two on the base itself.
        hidden_units: Widths of the hidden layers.
        dropout: Their rate of dropout.
        dropout_placement: "shared" or "output"; see `towers.Hidden`.
        temperature: Divides a layer's width to give its adapters' rank.
        lora_bias: Whether adapters have a bias per domain.
        embedding_dim: Width of each field's embedding.
        embedding_stddev: Tables start at N(0, this); 0 draws Keras's
            U(-.05, .05).
        embedding_l2: L2 penalty on each whole table.
        learning_rate: Adam's, in both phases.
        adam_epsilon: Adam's.
        batch_size: Rows per step, over all replicas.
        batches: "mixed" or "per_domain"; see `data.Batches`.
        monitor: The log that early stopping maximises.
        patience: Epochs without a new best before a phase stops.
        rollback: See `callbacks.EarlyStopping`.
        max_epochs: The most epochs of a phase.
        fresh_fraction: The share of the training rows that phase one doesn't
            see and phase two trains on; 0 trains both phases on all rows.
        seed: Of weights, order and dropout.

    Raises:
        RecipeError: A value isn't allowed, or two don't go together.
    """

    backbone: str = "mlp"
    tower: str = "mlora"
    schedule: str = "joint"
    control: str = "none"
    hidden_units: tuple[int, ...] = (256, 128, 64)
    dropout: float = 0.0
    dropout_placement: str = "shared"
    temperature: int = 16
    lora_bias: bool = True
    embedding_dim: int = 8
    embedding_stddev: float = 1e-4
    embedding_l2: float = 1e-5
    learning_rate: float = 1e-3
    adam_epsilon: float = 1e-7
    batch_size: int = 1024
    batches: str = "mixed"
    monitor: str = "val_wauc"
    patience: int = 5
    rollback: bool = False
    max_epochs: int = 100
    fresh_fraction: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("schedule", self.schedule, SCHEDULES),
            ("control", self.control, CONTROLS),
            ("batches", self.batches, BATCH_MODES),
            ("monitor", self.monitor, MONITORS),
        ):
            if value not in allowed:
                raise RecipeError(
                    f"{name} must be one of {allowed}. Received: {value!r}"
                )
        for name in (
            "batch_size",
            "max_epochs",
            "patience",
            "embedding_dim",
            "temperature",
        ):
            if getattr(self, name) < 1:
                raise RecipeError(
                    f"{name} must be at least 1. "
                    f"Received: {getattr(self, name)}"
                )
        for name in ("learning_rate", "adam_epsilon"):
            if not getattr(self, name) > 0:
                raise RecipeError(
                    f"{name} must be positive. Received: {getattr(self, name)}"
                )
        for name in ("embedding_stddev", "embedding_l2"):
            if not getattr(self, name) >= 0:
                raise RecipeError(
                    f"{name} must not be negative. "
                    f"Received: {getattr(self, name)}"
                )
        if not 0 <= self.seed < 2**32:
            raise RecipeError(
                f"seed must be in [0, 2**32). Received: {self.seed}"
            )
        if not self.hidden_units or min(self.hidden_units) < 1:
            raise RecipeError(
                "hidden_units must be one width or more, each at least 1. "
                f"Received: {self.hidden_units}"
            )
        if not 0 <= self.dropout < 1:
            raise RecipeError(
                f"dropout must be in [0, 1). Received: {self.dropout}"
            )
        if not 0 <= self.fresh_fraction < 1:
            raise RecipeError(
                "fresh_fraction must be in [0, 1). "
                f"Received: {self.fresh_fraction}"
            )
        self._check_combination()

    def _check_combination(self) -> None:
        adapters = self.tower == "mlora"
        if self.control in ("shared_adapter", "bias_only") and not adapters:
            raise RecipeError(
                f"control={self.control!r} changes adapters and needs "
                f"tower='mlora'. Received: tower={self.tower!r}"
            )
        train_on = self.control == "train_on"
        two_phase = self.schedule == "two_phase"
        if train_on and not (two_phase and self.tower == "shared"):
            raise RecipeError(
                "control='train_on' trains the base in phase two: it needs "
                "schedule='two_phase' and tower='shared'. Received: "
                f"schedule={self.schedule!r}, tower={self.tower!r}"
            )
        if two_phase and self.tower == "shared" and not train_on:
            raise RecipeError(
                "tower='shared' has no adapters for a second phase: use "
                "schedule='joint', or control='train_on'."
            )
        if self.fresh_fraction and not two_phase:
            raise RecipeError(
                "fresh_fraction keeps rows for a second phase and needs "
                f"schedule='two_phase'. Received: {self.schedule!r}"
            )

    @property
    def tower_options(self) -> dict[str, Any]:
        """The tower's own arguments for `build_model`."""
        if self.tower != "mlora":
            return {}
        options: dict[str, Any] = {
            "temperature": self.temperature,
            "use_lora_bias": self.lora_bias,
        }
        if self.control == "shared_adapter":
            options["shared_adapter"] = True
        if self.control == "bias_only":
            options |= {"rank": 0, "use_lora_bias": True}
        return options

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        content = dataclasses.asdict(self)
        return {**content, "hidden_units": list(self.hidden_units)}


RELEASE_TEMPERATURES = {"mlp": 16, "deepfm": 32}
"""The published code's temperatures on MovieLens, by backbone."""


def preset(name: str, backbone: str, tower: str) -> Recipe:
    """A recipe by name, for a backbone and a tower.

    - "paper" is what the text says (section 4.3): dropout .5, temperature 32,
      two phases, adapters of A and B alone. Initialization isn't stated:
      Keras's defaults, without L2.
    - "release" is what the published code does on MovieLens: joint training
      in single-domain batches, one domain after the other, its temperatures,
      dropout .5 on the shared path, early stopping on the unweighted mean of
      the domains' AUC with patience 3 and rollback. Both arms have the base
      arm's initialization, which in that code they don't.
    - "tuned" is ours: joint training in mixed batches, temperature 16.

    Raises:
        RecipeError: There is no such preset.
    """
    shared = tower == "shared"
    recipes = {
        "paper": Recipe(
            dropout=0.5,
            dropout_placement="output",
            temperature=32,
            lora_bias=False,
            schedule="joint" if shared else "two_phase",
            embedding_stddev=0.0,
            embedding_l2=0.0,
        ),
        "release": Recipe(
            dropout=0.5,
            temperature=RELEASE_TEMPERATURES.get(backbone, 16),
            batches="per_domain",
            adam_epsilon=1e-8,
            monitor="val_macro_auc",
            patience=3,
            rollback=True,
        ),
        "tuned": Recipe(),
    }
    if name not in recipes:
        raise RecipeError(
            f"preset must be one of {sorted(recipes)}. Received: {name!r}"
        )
    return dataclasses.replace(recipes[name], backbone=backbone, tower=tower)
