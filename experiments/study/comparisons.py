"""Which results compare, and how well."""

from collections.abc import Sequence

from experiments.study.result import Result
from experiments.study.result import rival_of


def comparable(found: Sequence[Result]) -> list[Result]:
    """The results that have a rival, or are one; all, if none ever has."""
    if not any(one.arm.rival for one in found):
        return list(found)
    pairs = [(one, rival_of(one, found)) for one in found]
    rivals = [rival for _, rival in pairs if rival is not None]
    return [one for one, rival in pairs if rival is not None or one in rivals]


def run_keys(found: Sequence[Result]) -> set[str]:
    """The keys of all runs that results are of."""
    return {key for one in found for key in one.keys}


def rounding_note(found: Sequence[Result]) -> str:
    """Which gains have the machines' rounding in them, if any."""
    apart = [
        f"{one.arm.data.name} {one.arm.group} {one.arm.name}"
        for one in _rounded_differently(found)
    ]
    if not apart:
        return ""
    return (
        " Not all runs of these and of what they are held against are from "
        "machines with the same arithmetic, so that a part of the gain is "
        f"rounding's, which is like another seed's: {'; '.join(apart)}."
    )


def _rounded_differently(found: Sequence[Result]) -> list[Result]:
    """Those from machines whose arithmetic isn't their rival's."""
    pairs = [(one, rival_of(one, found)) for one in found]
    return [
        one
        for one, rival in pairs
        if rival and len(one.arithmetic | rival.arithmetic) > 1
    ]
