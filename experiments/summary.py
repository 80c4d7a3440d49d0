"""An evaluation in a few lines, for a terminal."""

from typing import Any

from rich.cells import cell_len
from rich.cells import set_cell_size


def summary(overall: dict[str, Any], title: str = "test") -> str:
    """A few lines of an evaluation.

    Args:
        overall: What `Evaluation.to_dict` gave.
        title: Whose rows they are.
    """
    domains = overall["domains"]
    # Cells of a terminal, of which a letter of Japanese takes two.
    names = [domain["name"] for domain in domains]
    width = max([12, *(cell_len(name) + 1 for name in [title, *names])])
    lines = [f"{title:<{width}}{'rows':>9}{'CTR':>8}{'AUC':>8}{'PCOC':>7}"]
    for domain in domains:
        lines.append(
            f"{set_cell_size(domain['name'], width)}"
            f"{domain['rows']:>9,}{_share(domain['ctr']):>8}"
            f"{_percent(domain['auc']):>8}{_number(domain['pcoc']):>7}"
        )
    lines.append(
        f"WAUC {_percent(overall['wauc'])}, macro AUC "
        f"{_percent(overall['macro_auc'])}, AUC {_percent(overall['auc'])}, "
        f"logloss {overall['logloss']:.4f}"
    )
    lines.append(
        "AUCs in percent; WAUC weighs each domain's by its rows, macro AUC "
        "doesn't. PCOC is predicted over observed clicks: 1 is calibrated."
    )
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
