"""Means, spreads and paired tests over seeds."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from scipy import stats

FEWEST = 3
"""Seeds from which on differences are tested."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """A number over several seeds.

    Attributes:
        values: One for each seed.
        mean: Their mean.
        std: Their sample standard deviation; NaN of one value, or with NaN.
    """

    values: tuple[float, ...]
    mean: float
    std: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Summarizes values, of which there is at least one."""
        spread = math.nan
        if len(values) > 1 and not any(map(math.isnan, values)):
            spread = statistics.stdev(values)
        return cls(tuple(values), statistics.mean(values), spread)

    def text(self, *, sign: bool = False, digits: int = 2) -> str:
        """As "80.93 ± 0.12"; "80.93" of one seed, "" of what is undefined."""
        if math.isnan(self.mean):
            return ""
        plus = "+" if sign else ""
        text = f"{self.mean:{plus}.{digits}f}"
        if math.isnan(self.std):
            return text
        return f"{text} ± {self.std:.{digits}f}"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One arm against another, seed by seed.

    Attributes:
        gain: The differences.
        p: Of the paired two-sided t-test; NaN with fewer than three seeds,
            of which two differences may be alike by chance, if there is no
            spread to test against, or where the differences aren't
            independent of one another.
    """

    gain: Summary
    p: float

    @classmethod
    def of(
        cls,
        values: Sequence[float],
        others: Sequence[float],
        *,
        independent: bool = True,
    ) -> "Comparison":
        """Compares values with others of the same seeds, in the same order.

        Args:
            values: One for each seed.
            others: What they are compared with.
            independent: Whether no two differences are of the same run, so
                that they can be tested.

        Raises:
            ValueError: There aren't as many.
        """
        gain = Summary.of(
            [mine - theirs for mine, theirs in zip(values, others, strict=True)]
        )
        return cls(gain, _paired_p(gain) if independent else math.nan)

    @property
    def significant(self) -> bool:
        """Whether p is below .05."""
        return self.p < 0.05

    @property
    def p_text(self) -> str:
        """As ".031" or "<.001"; "" if there is none."""
        if math.isnan(self.p):
            return ""
        return "<.001" if self.p < 0.001 else f"{self.p:.3f}".removeprefix("0")


def _paired_p(gain: Summary) -> float:
    if len(gain.values) < FEWEST or not gain.std > 0:
        return math.nan
    return float(stats.ttest_1samp(gain.values, 0.0).pvalue)
