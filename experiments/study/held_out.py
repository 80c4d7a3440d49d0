"""A click log as it would be before one of its domains existed."""

import dataclasses
import hashlib
import itertools

import numpy as np

from experiments.errors import RunError
from mlora_tf.data import ClickLog
from mlora_tf.data import Split
from mlora_tf.features import SparseFeature
from mlora_tf.schema import DOMAIN
from mlora_tf.schema import Schema
from mlora_tf.vocabulary import extend_vocabulary


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """A click log in two parts: all other domains, and the new one.

    Attributes:
        before: The rows of all other domains. Its vocabularies hold what
            their training rows have.
        unknown: The new domain's rows as a model of `before` reads them once
            it has the domain: values that are new are out of vocabulary.
        known: The same rows with the training rows' new values in the
            vocabularies, behind the old ones.
        new_values: How many values each feature has gained.
        unseen: The share of the new domain's test rows that have a value
            which `before` doesn't know.
    """

    before: ClickLog
    unknown: ClickLog
    known: ClickLog
    new_values: dict[str, int]
    unseen: float


def hold_out(log: ClickLog, name: str) -> HeldOut:
    """Parts a log as if a domain came later than all others.

    Args:
        log: The rows, in memory; its features are sparse and have no
            pretrained vectors.
        name: The domain.

    Raises:
        RunError: There is no such domain, a feature is of another kind, or
            the domain's rows to choose on or to test are all of one class.
    """
    schema = log.schema
    features = _features(schema)
    if name not in schema.domains or schema.num_domains < 2:
        raise RunError(
            f"the domain held out must be one of {list(schema.domains)}, of "
            f"which there must be two. Received: {name!r}"
        )
    new = schema.domains.index(name)
    train, valid, test = (
        _in_memory(split) for split in (log.train, log.valid, log.test)
    )
    for what, split in (("validation", valid), ("test", test)):
        clicks = split.label[split.domain == new]
        if not 0 < clicks.sum() < len(clicks):
            raise RunError(
                f"{name!r} can't be held out: of its {len(clicks)} {what} rows "
                f"{clicks.sum():.0f} are clicks, and an AUC needs both. Name "
                "other domains with --domains."
            )
    others = tuple(one for one in schema.domains if one != name)
    before = dataclasses.replace(
        schema,
        domains=others,
        features=tuple(
            dataclasses.replace(
                feature,
                vocabulary=_values(feature, train, train.domain != new),
            )
            for feature in features
        ),
    )
    known = before
    for feature in features:
        values = _values(feature, train, train.domain == new)
        known = extend_vocabulary(known, feature.name, values)
    unknown = dataclasses.replace(before, domains=(*others, name))
    known = dataclasses.replace(known, domains=(*others, name))

    def part(target: Schema, what: str, inside: bool) -> ClickLog:
        text = f"{log.fingerprint} {name} {what}"
        places = _places(schema, target)
        one, two, three = (
            _renumbered(
                split.take(np.flatnonzero((split.domain == new) == inside)),
                places,
            )
            for split in (train, valid, test)
        )
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        return ClickLog(target, fingerprint, one, two, three)

    parts = HeldOut(
        before=part(before, "before", inside=False),
        unknown=part(unknown, "unknown", inside=True),
        known=part(known, "known", inside=True),
        new_values={
            one.name: known.num_ids[one.name] - before.num_ids[one.name]
            for one in features
        },
        unseen=0.0,
    )
    ids = _in_memory(parts.unknown.test).inputs
    out = np.logical_or.reduce([ids[feature.name] == 0 for feature in features])
    share = float(out.mean()) if len(out) else 0.0
    return dataclasses.replace(parts, unseen=share)


def _features(schema: Schema) -> list[SparseFeature]:
    found = []
    for feature in schema.features:
        if not isinstance(feature, SparseFeature) or feature.vectors:
            raise RunError(
                "a domain can be held out where all features are sparse and "
                f"learned. Received: {feature.name!r}"
            )
        found.append(feature)
    return found


def _in_memory(split: object) -> Split:
    if not isinstance(split, Split):
        raise RunError("a domain can be held out of rows in memory alone.")
    return split


def _values(
    feature: SparseFeature, split: Split, rows: np.ndarray
) -> tuple[int, ...] | tuple[str, ...]:
    """The values that some rows have of a feature, in their ids' order."""
    ids = np.unique(split.inputs[feature.name][rows])
    return tuple(feature.vocabulary[i - 1] for i in ids if i > 0)


def _places(schema: Schema, target: Schema) -> dict[str, np.ndarray]:
    """By input and its id in a schema, the id in another; 0 if it has none."""
    places = {}
    for old, new in zip(_features(schema), _features(target), strict=True):
        there: dict[object, int] = dict(
            zip(new.vocabulary, itertools.count(1), strict=False)
        )
        ids = [0, *(there.get(value, 0) for value in old.vocabulary)]
        places[old.name] = np.array(ids, np.int32)
    domains = [
        target.domains.index(one) if one in target.domains else -1
        for one in schema.domains
    ]
    return {**places, DOMAIN: np.array(domains, np.int32)}


def _renumbered(split: Split, places: dict[str, np.ndarray]) -> Split:
    inputs = {
        name: places[name][column] for name, column in split.inputs.items()
    }
    return Split(inputs, split.label, split.extra)
