"""What a click log holds: its features, its vocabularies and its domains.

A `Schema` is data, not code: it is written beside the prepared Parquet files,
it tells `build_model` which inputs to make, and it travels with an exported
model. Everything read from a file is checked here, once.
"""

import dataclasses
import json
import pathlib
from typing import Any

FORMAT = "mlora_tf.schema/1"

DOMAIN = "domain"
"""The name of the domain column and of the domain input of every model."""

OOV_ID = 0
"""The id of the out-of-vocabulary bucket of every sparse feature."""


class SchemaError(ValueError):
    """A schema that can't be used: says which part is wrong, and how."""


@dataclasses.dataclass(frozen=True)
class SparseFeature:
    """A categorical feature: one id a row.

    Prepared columns hold `int32` ids: 0 is the out-of-vocabulary bucket, and
    `i + 1` is the vocabulary's i-th entry.

    Args:
        name: Name of the column and of the model's input.
        vocabulary: The raw values, all integers or all strings, each once.
    """

    name: str
    vocabulary: tuple[int, ...] | tuple[str, ...]

    def __post_init__(self) -> None:
        _check_name(self.name, "a feature's name")
        if self.name == DOMAIN:
            raise SchemaError(
                f'a feature can\'t be named "{DOMAIN}": that is the name of '
                "the domain column."
            )
        _check_values(self.vocabulary, f"the vocabulary of {self.name!r}")

    @property
    def num_ids(self) -> int:
        """How many ids there are, the out-of-vocabulary bucket included."""
        return len(self.vocabulary) + 1

    def to_dict(self) -> dict[str, Any]:
        """The feature as JSON-ready values."""
        return {
            "kind": "sparse",
            "name": self.name,
            "vocabulary": list(self.vocabulary),
        }


@dataclasses.dataclass(frozen=True)
class Schema:
    """The features, the domains and the label of a prepared click log.

    Args:
        features: The model's inputs, in order.
        domain_name: What a domain is, for people: `"gender"`.
        domains: The domains' names; a row's `domain` is an index into them.
        label: Name of the column that holds the click, 0 or 1.
    """

    features: tuple[SparseFeature, ...]
    domain_name: str
    domains: tuple[str, ...]
    label: str = "label"

    def __post_init__(self) -> None:
        if not self.features:
            raise SchemaError("a schema needs at least one feature.")
        names = [feature.name for feature in self.features]
        if len(set(names)) < len(names):
            raise SchemaError(f"feature names must differ. Received: {names}")
        _check_name(self.domain_name, "the domain's name")
        _check_name(self.label, "the label's name")
        if self.label in {*names, DOMAIN}:
            raise SchemaError(
                "the label needs a column of its own. Received: "
                f"label={self.label!r}, features={names}"
            )
        _check_values(self.domains, "the list of domains")
        if not all(isinstance(name, str) for name in self.domains):
            raise SchemaError(
                f"domain names must be strings. Received: {self.domains}"
            )

    @property
    def num_domains(self) -> int:
        """How many domains there are."""
        return len(self.domains)

    @property
    def num_ids(self) -> dict[str, int]:
        """The number of ids of each model input, the domain's included."""
        sizes = {feature.name: feature.num_ids for feature in self.features}
        return {**sizes, DOMAIN: self.num_domains}

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
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """Reads a schema.

        Raises:
            SchemaError: The text is no schema; the message says what is
                wrong.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SchemaError(f"not JSON: {error}") from None
        form = _get(content, "format", str)
        if form != FORMAT:
            raise SchemaError(
                f"this version reads the format {FORMAT!r}. Received: {form!r}"
            )
        domain = _get(content, "domain", dict)
        return cls(
            features=tuple(map(_feature, _get(content, "features", list))),
            domain_name=_get(domain, "name", str),
            domains=tuple(_get(domain, "values", list)),
            label=_get(content, "label", str),
        )

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "Schema":
        """Reads a schema's file; an error names the file."""
        try:
            return cls.from_json(pathlib.Path(path).read_text("utf-8"))
        except (SchemaError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path}: {error}") from None


def _feature(content: Any) -> SparseFeature:
    kind = _get(content, "kind", str)
    if kind != "sparse":
        raise SchemaError(f'a feature\'s kind is "sparse". Received: {kind!r}')
    return SparseFeature(
        name=_get(content, "name", str),
        vocabulary=tuple(_get(content, "vocabulary", list)),
    )


def _get(content: Any, key: str, kind: type) -> Any:
    """Returns `content[key]`, which must be there and of that kind."""
    if not isinstance(content, dict) or key not in content:
        raise SchemaError(f"{key!r} is missing. Received: {_short(content)}")
    value = content[key]
    if not isinstance(value, kind):
        raise SchemaError(
            f"{key!r} must be a {kind.__name__}. Received: {_short(value)}"
        )
    return value


def _check_name(name: Any, what: str) -> None:
    # Names become layer names, Parquet columns and SavedModel inputs.
    if not isinstance(name, str) or not name.isidentifier():
        raise SchemaError(
            f"{what} must be an identifier (letters, digits, underscores). "
            f"Received: {_short(name)}"
        )


def _check_values(values: tuple[Any, ...], what: str) -> None:
    """Checks that all are integers or all strings, and each is there once."""
    if not values:
        raise SchemaError(f"{what} is empty.")
    kinds = {type(value) for value in values}
    if kinds not in ({int}, {str}):
        names = sorted(kind.__name__ for kind in kinds)
        raise SchemaError(
            f"{what} must be all integers or all strings. Received: {names}"
        )
    if len(set(values)) < len(values):
        raise SchemaError(f"{what} has a value twice.")


def _short(value: Any, length: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."
