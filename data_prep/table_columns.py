"""What the columns of a user's own click log are."""

import dataclasses

MISSING = ("error", "fill")
TARGET_POOLINGS = ("din", "dien")
POOLINGS = ("sum", "mean", "max", *TARGET_POOLINGS)
MAX_LENGTH = 50
"""The most ids of a sequence that states no length."""

LARGEST = 1 << 16
"""The most ids of a sequence at all, and the most buckets of a number."""


@dataclasses.dataclass(frozen=True)
class Categorical:
    """A column of one category a row: an integer or a text.

    `vectors` is a file of pretrained ones, which its whole table gets.
    """

    name: str
    table: str
    min_count: int
    missing: str
    vectors: str | None = None


@dataclasses.dataclass(frozen=True)
class Numeric:
    """A column of one number a row; `buckets` is 0 where it is scaled."""

    name: str
    buckets: int
    missing: str


@dataclasses.dataclass(frozen=True)
class History:
    """A column of a list of categories a row, the oldest first."""

    name: str
    table: str
    min_count: int
    missing: str
    max_length: int
    separator: str
    pooling: str | None
    target: str | None
    vectors: str | None = None


Feature = Categorical | Numeric | History


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a log that count, and what each is.

    Args:
        label: The column of the clicks.
        domain: The column of the domains.
        features: The features, in the schema's order.
        strings: Columns whose cells are text even if they look like integers.
        domain_values: The domains to keep, in order; None is all of them.
    """

    label: str
    domain: str
    features: tuple[Feature, ...]
    strings: frozenset[str] = frozenset()
    domain_values: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns to read for the features."""
        return tuple(feature.name for feature in self.features)

    @property
    def min_counts(self) -> dict[str, int]:
        """By table, how often a value must be there to have an id."""
        return {
            feature.table: feature.min_count
            for feature in self.features
            if not isinstance(feature, Numeric)
        }
