"""A study's figures, as PNG."""

import math
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.study.markdown import HEADINGS
from experiments.study.result import Result
from experiments.study.result import rival_of
from experiments.study.statistics import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_GAIN, MOST_GAIN = -0.3, 1.0
"""The gains that a figure of gains has room for, in points."""

GREY = "#5b6770"
COLORS = ("#0b5fa5", "#d1495b", "#2e8b57", "#8a5fb5", "#d98c1f", GREY)


def temperatures(found: Sequence[Result], path: pathlib.Path) -> None:
    """WAUC against temperature, a line for each backbone, a panel a set."""
    figure, panels = _panels(found)
    for axes, results in panels:
        groups = dict.fromkeys(one.arm.group for one in results)
        for color, group in zip(COLORS, groups, strict=False):
            mine = [one for one in results if one.arm.group == group]
            adapted = [one for one in mine if one.arm.rival]
            if not adapted:
                continue
            means = [Summary.of(one.test("wauc")) for one in adapted]
            axes.errorbar(
                [one.arm.recipe.temperature for one in adapted],
                [one.mean for one in means],
                [0 if math.isnan(one.std) else one.std for one in means],
                color=color,
                marker="o",
                markersize=4,
                capsize=2,
                label=f"{group} + MLoRA",
            )
            for one in mine:
                if not one.arm.rival:
                    axes.axhline(
                        Summary.of(one.test("wauc")).mean,
                        color=color,
                        linestyle=":",
                        label=f"{group}, base",
                    )
        axes.set_xscale("log", base=2)
        axes.set_xlabel("temperature")
        axes.set_ylabel("test WAUC, %")
        axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def with_and_without(
    found: Sequence[Result], path: pathlib.Path, metric: str = "wauc"
) -> None:
    """Two bars for each model: the second and the first of its arms.

    A panel is of WAUC where the metric is undefined, as it is without users.
    """
    figure, panels = _panels(found)
    for axes, results in panels:
        values = [value for one in results for value in one.test(metric)]
        shown = "wauc" if any(map(math.isnan, values)) else metric
        groups = list(dict.fromkeys(one.arm.group for one in results))
        names = list(dict.fromkeys(one.arm.name for one in results))
        for shift, (name, color) in enumerate(zip(names, COLORS, strict=False)):
            mine = [one for one in results if one.arm.name == name]
            axes.bar(
                [groups.index(one.arm.group) + 0.4 * shift for one in mine],
                [Summary.of(one.test(shown)).mean for one in mine],
                width=0.38,
                color=color,
                label=name,
            )
        lowest = min(min(one.test(shown)) for one in results)
        axes.set_ylim(bottom=lowest - 0.5)
        axes.set_xticks(
            [place + 0.2 for place in range(len(groups))],
            groups,
            rotation=30,
            ha="right",
        )
        axes.set_ylabel(f"test {HEADINGS[shown]}, %")
        axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def pcoc(found: Sequence[Result], path: pathlib.Path) -> None:
    """A dot for each domain: how far predictions are from clicks."""
    figure, panels = _panels(found)
    for axes, results in panels:
        for place, (one, color) in enumerate(
            zip(results, COLORS, strict=False)
        ):
            domains = range(len(one.arm.data.domains))
            values = [Summary.of(one.domain(i, "pcoc")).mean for i in domains]
            axes.scatter(
                values,
                [place] * len(values),
                s=60,
                facecolors="none",
                edgecolors=color,
            )
        axes.axvline(1, color=GREY, linewidth=0.8)
        axes.set_yticks(range(len(results)), [one.arm.name for one in results])
        axes.set_ylim(-0.5, len(results) - 0.5)
        axes.set_xlabel("predicted over true click rate")
    _save(figure, path)


def domain_gains(found: Sequence[Result], path: pathlib.Path) -> None:
    """A bar for each domain: what an arm gains over its rival there."""
    figure, panels = _panels(found)
    for axes, results in panels:
        pairs = [
            (one, rival)
            for one in results
            if (rival := rival_of(one, results)) is not None
        ]
        names = results[0].arm.data.domains
        domains = range(len(names))
        width = 0.8 / max(len(pairs), 1)
        for shift, ((one, rival), color) in enumerate(
            zip(pairs, COLORS, strict=False)
        ):
            gains = [one.domain_over(rival, i).gain.mean for i in domains]
            axes.bar(
                [place + shift * width for place in domains],
                gains,
                width=width,
                color=color,
                label=f"{one.arm.group} {one.arm.name}",
            )
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_xticks(
            [place + 0.4 - width / 2 for place in domains],
            [name[:18] for name in names],
            rotation=30,
            ha="right",
        )
        axes.set_ylabel("gain in test AUC, points")
        if pairs:
            axes.legend(frameon=False, fontsize=7)
    _save(figure, path)


def gains(found: Sequence[Result], path: pathlib.Path) -> None:
    """What each arm gains over its rival in WAUC, a line for each model.

    A dot is the mean over the seeds, its bar their standard deviation. One
    beyond `LEAST_GAIN` or `MOST_GAIN` is an arrow there, with its number.
    """
    from matplotlib.figure import Figure

    pairs = [
        (one, one.over(rival).gain)
        for one in found
        if (rival := rival_of(one, found)) is not None
    ]
    names = list(dict.fromkeys(one.arm.name for one, _ in pairs))
    models = dict.fromkeys((one.arm.data, one.arm.group) for one, _ in pairs)
    sets = list(dict.fromkeys(data for data, _ in models))
    # A line for each model, and one for the name of each data set.
    places = {
        model: line + sets.index(model[0])
        for line, model in enumerate(models, start=1)
    }
    lines = len(models) + len(sets)
    figure = Figure(figsize=(6.4, 0.24 * lines + 0.9), layout="constrained")
    axes = figure.subplots()
    for one, gain in pairs:
        index = names.index(one.arm.name)
        shift = 0.22 * (index - (len(names) - 1) / 2)
        place = places[one.arm.data, one.arm.group] + shift
        if math.isnan(gain.mean):
            continue
        shown = min(max(gain.mean, LEAST_GAIN), MOST_GAIN)
        inside = shown == gain.mean
        axes.errorbar(
            shown,
            place,
            xerr=gain.std if inside and not math.isnan(gain.std) else None,
            color=COLORS[index % len(COLORS)],
            marker="o" if inside else "<" if gain.mean < 0 else ">",
            markersize=4.5,
            capsize=2,
        )
        if not inside:
            axes.annotate(
                f"{gain.mean:+.2f}",
                (shown, place),
                xytext=(6 if gain.mean < 0 else -6, -3),
                textcoords="offset points",
                horizontalalignment="left" if gain.mean < 0 else "right",
                fontsize=8,
            )
    for index, name in enumerate(names):
        color = COLORS[index % len(COLORS)]
        axes.plot([], [], color=color, marker="o", markersize=4.5, label=name)
    titles = {
        data: min(place for model, place in places.items() if model[0] == data)
        for data in sets
    }
    labels = {
        **{place: group for (_, group), place in places.items()},
        **{place - 1: data.name for data, place in titles.items()},
    }
    axes.set_yticks(list(labels), list(labels.values()), fontsize=8)
    for tick in axes.get_yticklabels()[len(places) :]:
        tick.set_fontweight("bold")
    axes.tick_params("y", length=0)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.invert_yaxis()
    axes.set_xlabel("gain in test WAUC, points")
    # Not within the axes, where some gain may lie beneath it.
    figure.legend(
        *axes.get_legend_handles_labels(),
        frameon=False,
        fontsize=8,
        ncols=len(COLORS),
        loc="outside upper center",
    )
    _save(figure, path)


def _panels(
    found: Sequence[Result],
) -> "tuple[Figure, list[tuple[Axes, list[Result]]]]":
    """A panel for each data set, with its results."""
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(one.arm.data for one in found))
    figure = Figure(figsize=(5.2 * len(sets) + 0.6, 3.6), layout="constrained")
    grid = figure.subplots(1, len(sets), squeeze=False)[0]
    panels = []
    for axes, data in zip(grid, sets, strict=True):
        axes.set_title(data.name, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        panels.append((axes, [one for one in found if one.arm.data == data]))
    return figure, panels


def _save(figure: "Figure", path: pathlib.Path) -> None:
    # Without the date and the version of what drew it: alike, byte by byte.
    figure.savefig(path, dpi=130, metadata={"Software": None})


def growth(
    series: Mapping[str, Sequence[float]],
    domains: Sequence[int],
    path: pathlib.Path,
) -> None:
    """Parameters against the number of domains, a line for each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.8, 3.8), layout="constrained")
    axes = figure.subplots()
    for color, (name, counts) in zip(COLORS, series.items(), strict=False):
        axes.plot(
            domains, counts, color=color, marker="o", markersize=4, label=name
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("domains")
    axes.set_ylabel("dense parameters, all domains'")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)
