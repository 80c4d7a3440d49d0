"""The quickstart's result: what adapters gain, of all there is to gain."""

import math
import pathlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from rich.table import Table

    from mlora_tf.data import ClickLog
    from mlora_tf.evaluation import Evaluation

SCHEDULES = ("two_phase", "joint")
BLUE, ORANGE, GREY, INK = "#2f6db5", "#e8833a", "#e4e7eb", "#2b2f36"
MUTED = "#7a828c"


def compare(log: "ClickLog", metrics: dict[str, Any]) -> dict[str, Any]:
    """Sets the test AUCs of all models beside the best possible ones.

    Args:
        log: The data, with the rows' true probabilities.
        metrics: By schedule, the content of the run's `metrics.json`.

    Returns:
        `domains`, a list of a dictionary each, and `all`, another one. They
        hold `name`, `rows` (of all splits), `ctr`, and the AUCs (of `all`:
        WAUCs) `base`, `two_phase`, `joint` and `best`; None where a domain's
        test rows have one label alone.
    """
    base, two_phase = (
        phase["test"] for phase in metrics["two_phase"]["phases"]
    )
    scored = {
        "base": base,
        "two_phase": two_phase,
        "joint": metrics["joint"]["test"],
        "best": _best_possible(log).to_dict(),
    }
    splits = (log.train, log.valid, log.test)
    domains = []
    for index, name in enumerate(log.schema.domains):
        labels = [split.label[split.domain == index] for split in splits]
        rows = sum(map(len, labels))
        clicks = sum(float(label.sum()) for label in labels)
        domains.append(
            {
                "name": name,
                "rows": rows,
                "ctr": clicks / rows,
                **{
                    key: test["domains"][index]["auc"]
                    for key, test in scored.items()
                },
            }
        )
    rows = sum(domain["rows"] for domain in domains)
    clicks = sum(domain["ctr"] * domain["rows"] for domain in domains)
    return {
        "domains": domains,
        "all": {
            "name": "WAUC",
            "rows": rows,
            "ctr": clicks / rows,
            **{key: test["wauc"] for key, test in scored.items()},
        },
    }


def table(result: dict[str, Any]) -> "Table":
    """The comparison as a table, in percent."""
    from rich import box
    from rich.table import Table

    grid = Table(
        title="Test AUC in percent", box=box.SIMPLE_HEAD, title_justify="left"
    )
    grid.add_column("shop", no_wrap=True)
    for name in (
        "rows",
        "CTR",
        "base",
        "+MLoRA,\ntwo-phase",
        "+MLoRA,\njoint",
        "best\npossible",
    ):
        grid.add_column(name, justify="right", no_wrap=True)
    rows = [*result["domains"], result["all"]]
    for row in rows:
        last_domain = row is rows[-2]
        grid.add_row(
            row["name"],
            f"{row['rows']:,}",
            f"{row['ctr']:.1%}",
            *(
                _percent(row[key])
                for key in ("base", "two_phase", "joint", "best")
            ),
            end_section=last_domain,
            style="bold" if row is rows[-1] else None,
        )
    return grid


def draw(result: dict[str, Any], path: pathlib.Path) -> None:
    """Draws each domain's gains within the room that the base leaves."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = [*result["domains"], result["all"]]
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(9, 0.62 * len(rows) + 1.9), layout=layout)
    axes = figure.subplots()
    # The WAUC stands a little apart.
    places = [*range(len(rows) - 1), len(rows) - 0.6]
    room = [_gain(row, "best") for row in rows]
    axes.barh(places, room, height=0.74, color=GREY, label="best possible")
    for row, place, gain in zip(rows, places, room, strict=True):
        _label(axes, gain, place, _percent(row["best"]), MUTED)
    for key, offset, color, label in (
        ("two_phase", -0.17, ORANGE, "+MLoRA, two-phase"),
        ("joint", 0.17, BLUE, "+MLoRA, joint"),
    ):
        gains = [_gain(row, key) for row in rows]
        spots = [place + offset for place in places]
        axes.barh(spots, gains, height=0.3, color=color, label=label, zorder=2)
        for spot, gain in zip(spots, gains, strict=True):
            _label(axes, gain, spot, f"{gain:+.1f}", INK)
    axes.axvline(0, color=INK, linewidth=1, zorder=3)
    axes.axhline(len(rows) - 1.3, color=MUTED, linewidth=0.6)
    beside = axes.get_yaxis_transform()
    for row, place in zip(rows, places, strict=True):
        text: dict[str, Any] = {"x": -0.012, "transform": beside, "ha": "right"}
        axes.text(
            y=place - 0.06,
            s=row["name"],
            va="bottom",
            fontsize=10.5,
            fontweight="bold",
            color=INK,
            **text,
        )
        axes.text(
            y=place,
            s=f"base {_percent(row['base'])}\n{row['rows']:,} rows, "
            f"CTR {row['ctr']:.1%}",
            va="top",
            fontsize=7.5,
            color=MUTED,
            **text,
        )
    axes.set_yticks([])
    axes.tick_params(bottom=False, colors=INK)
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.01)
    losses = [min(_gain(row, key), 0) for row in rows for key in SCHEDULES]
    axes.set_xlim(left=np.nanmin(losses) - 0.05)
    axes.set_xlabel("points of test AUC above the base", color=INK)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.xaxis.grid(True, color="white", linewidth=1)
    axes.set_axisbelow("line")
    figure.suptitle(
        "What MLoRA gains in each shop, of all there is to gain",
        x=0.02,
        ha="left",
        fontsize=13,
        fontweight="bold",
        color=INK,
    )
    figure.legend(
        loc="outside lower center", ncols=3, frameon=False, fontsize=9.5
    )
    figure.savefig(path, dpi=160, facecolor="white")


def sentence(result: dict[str, Any]) -> str:
    """The gains in one line."""
    two_phase, joint, best = (
        _gain(result["all"], key) for key in ("two_phase", "joint", "best")
    )
    return (
        f"Points of WAUC above the base: {two_phase:+.2f} in two phases, "
        f"{joint:+.2f} jointly, of {best:+.2f} possible."
    )


def _best_possible(log: "ClickLog") -> "Evaluation":
    import numpy as np

    from mlora_tf.evaluation import evaluate

    test = log.test
    true_ctr = [block.extra["true_ctr"] for block in test.blocks(["true_ctr"])]
    return evaluate(
        test.label,
        np.concatenate(true_ctr),
        test.domain,
        log.schema.domains,
    )


def _gain(row: dict[str, Any], key: str) -> float:
    """Points of AUC above the base; nan where there is no AUC."""
    if row[key] is None or row["base"] is None:
        return float("nan")
    return 100 * (row[key] - row["base"])


def _label(axes: Any, x: float, y: float, text: str, color: str) -> None:
    """Writes a text beside the end of a bar."""
    if math.isfinite(x):
        axes.annotate(
            text,
            (max(x, 0.0), y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=color,
        )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
