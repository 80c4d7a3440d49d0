"""What a click log holds: its features, its vocabularies and its domains.

A `Schema` is data, not code: it is written beside the prepared Parquet files,
it tells `build_model` which inputs to make, and it travels with an exported
model. Everything read from a file is checked here, once.
"""

import dataclasses
import json
import pathlib
from typing import Any

from mlora_tf import strict_json
from mlora_tf.features import DOMAIN
from mlora_tf.features import OOV_ID
from mlora_tf.features import PADDING
from mlora_tf.features import DenseFeature
from mlora_tf.features import Feature
from mlora_tf.features import SequenceFeature
from mlora_tf.features import SparseFeature
from mlora_tf.features import from_dict
from mlora_tf.schema_checks import SchemaError
from mlora_tf.schema_checks import check_name
from mlora_tf.schema_checks import check_values
from mlora_tf.schema_checks import get
from mlora_tf.schema_checks import short

__all__ = [
    "DOMAIN",
    "FORMAT",
    "OOV_ID",
    "PADDING",
    "DenseFeature",
    "Feature",
    "Schema",
    "SchemaError",
    "SequenceFeature",
    "SparseFeature",
]

FORMAT = "mlora_tf.schema/1"


@dataclasses.dataclass(frozen=True)
class Schema:
    """The features, the domains and the label of a prepared click log.

    Args:
        features: The model's inputs, in order, of any kinds.
        domain_name: What a domain is, for people: `"gender"`.
        domains: The domains' names; a row's `domain` is an index into them.
        label: Name of the column that holds the click, 0 or 1.

    Raises:
        SchemaError: There is no feature or no domain, a name is there twice,
            or features that share a table don't agree on it.

    Example:
    >>> schema = Schema(
    ...     features=(SparseFeature("item", ("pen", "ink")),),
    ...     domain_name="country",
    ...     domains=("fr", "it"),
    ... )
    >>> schema.input_names
    ('item', 'domain')
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    features: tuple[Feature, ...]
    domain_name: str
    domains: tuple[str, ...]
    label: str = "label"

    def __post_init__(self) -> None:
        if not isinstance(self.features, tuple):
            raise SchemaError(
                "features must be a tuple, of one as in (feature,). "
                f"Received: {short(self.features)}"
            )
        if not self.features:
            raise SchemaError("a schema needs at least one feature.")
        names = [feature.name for feature in self.features]
        # Signatures of exported models don't tell capitals from small letters.
        if len({name.casefold() for name in names}) < len(names):
            raise SchemaError(
                "feature names must differ, and not in capitals alone. "
                f"Received: {names}"
            )
        self._check_tables()
        self._check_targets()
        check_name(self.domain_name, "the domain's name")
        check_name(self.label, "the label's name")
        if self.label in {*names, DOMAIN}:
            raise SchemaError(
                "the label needs a column of its own. Received: "
                f"label={self.label!r}, features={names}"
            )
        check_values(self.domains, "the list of domains")
        if not all(isinstance(name, str) for name in self.domains):
            raise SchemaError(
                f"domain names must be strings. Received: {self.domains}"
            )

    def _check_tables(self) -> None:
        """Checks that features which share a table agree on it."""
        numbers = {
            feature.name
            for feature in self.features
            if isinstance(feature, DenseFeature)
        }
        owners: dict[str, SparseFeature | SequenceFeature] = {}
        for feature in self.features:
            if isinstance(feature, DenseFeature):
                continue
            if feature.table_name in numbers:
                raise SchemaError(
                    f"the table of {feature.name!r} can't be named as a dense "
                    f"feature. Received: {feature.table_name!r}"
                )
            owner = owners.setdefault(feature.table_name, feature)
            shared = (
                f"{owner.name!r} and {feature.name!r} share the table "
                f"{feature.table_name!r}"
            )
            if owner.vocabulary != feature.vocabulary:
                raise SchemaError(f"{shared}, but not its vocabulary.")
            if owner.vectors != feature.vectors:
                raise SchemaError(
                    f"{shared}, but not its vectors' dimension. Received: "
                    f"{owner.vectors} and {feature.vectors}"
                )

    def _check_targets(self) -> None:
        """Checks that a sequence's target is a sparse feature of its table."""
        for feature in self.features:
            if not isinstance(feature, SequenceFeature) or not feature.target:
                continue
            targets = [
                other.name
                for other in self.features
                if isinstance(other, SparseFeature)
                and other.table_name == feature.table_name
            ]
            if feature.target not in targets:
                raise SchemaError(
                    f"the target of {feature.name!r} must be a sparse feature "
                    f"of the table {feature.table_name!r}, one of {targets}. "
                    f"Received: {feature.target!r}"
                )

    @property
    def num_domains(self) -> int:
        """How many domains there are."""
        return len(self.domains)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of all model inputs in order: features, then domain."""
        return (*(feature.name for feature in self.features), DOMAIN)

    @property
    def num_ids(self) -> dict[str, int]:
        """The number of ids of each sparse feature, and of the domain."""
        sizes = {
            feature.name: feature.num_ids
            for feature in self.features
            if isinstance(feature, SparseFeature)
        }
        return {**sizes, DOMAIN: self.num_domains}

    @property
    def tables(self) -> dict[str, int]:
        """The number of ids of each embedding table, shared ones once."""
        return {
            feature.table_name: feature.num_ids
            for feature in self.features
            if not isinstance(feature, DenseFeature)
        }

    @property
    def vectors(self) -> dict[str, int]:
        """The dimension of each table of pretrained vectors."""
        return {
            feature.table_name: feature.vectors
            for feature in self.features
            if not isinstance(feature, DenseFeature)
            and feature.vectors is not None
        }

    def feature(self, name: str) -> Feature:
        """The feature of that name."""
        for feature in self.features:
            if feature.name == name:
                return feature
        names = [feature.name for feature in self.features]
        raise SchemaError(
            f"a feature's name must be one of {names}. Received: {short(name)}"
        )

    def to_json(self) -> str:
        """The schema as JSON text."""
        return json.dumps(
            {
                "format": FORMAT,
                "features": [feature.to_dict() for feature in self.features],
                "domain": {
                    "name": self.domain_name,
                    "values": list(self.domains),
                },
                "label": self.label,
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """Reads a schema.

        Raises:
            SchemaError: The text is no schema; the message says what is
                wrong.
        """
        try:
            content = strict_json.loads(text)
        except ValueError as error:
            raise SchemaError(f"not JSON: {error}") from None
        form = get(content, "format", str)
        if form != FORMAT:
            raise SchemaError(
                f"this version reads the format {FORMAT!r}. Received: "
                f"{short(form)}"
            )
        domain = get(content, "domain", dict)
        return cls(
            features=_read_features(content),
            domain_name=get(domain, "name", str),
            domains=tuple(get(domain, "values", list)),
            label=get(content, "label", str),
        )

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "Schema":
        """Reads a schema's file; an error names the file."""
        try:
            return cls.from_json(pathlib.Path(path).read_text("utf-8"))
        except (SchemaError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path}: {error}") from None


def _read_features(content: dict[str, Any]) -> tuple[Feature, ...]:
    """Reads the features; an error names the one that it is about."""
    features = []
    for index, one in enumerate(get(content, "features", list)):
        try:
            features.append(from_dict(one))
        except SchemaError as error:
            raise SchemaError(f"features[{index}]: {error}") from None
    return tuple(features)
