"""What a figure shows, read from the figure itself."""

import dataclasses
import pathlib

import pytest

from experiments.study import figures
from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.result import Result
from mlora_tf.recipes import Recipe

SETS = [DataSet(f"/data/{name}", name * 64, ("a", "b")) for name in "xy"]


def result(data, group, name, *wauc):
    arm = Arm(data, group, name, Recipe(), rival={"one": "base"}.get(name))
    phases = tuple({"test": {"wauc": one}} for one in wauc)
    keys = tuple(f"{group}{name}{seed}" for seed in range(len(wauc)))
    return Result(arm, phases, keys, (1.0,) * len(wauc), frozenset())


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws the gains of results; the axes."""

    def draw(found):
        kept = []
        monkeypatch.setattr(figures, "_save", lambda one, _: kept.append(one))
        figures.gains(found, tmp_path / "gains.png")
        (figure,) = kept
        return figure.axes[0]

    return draw


def test_each_backbone_has_a_line_and_its_base(monkeypatch):
    one, other = SETS

    def of(data, group, *temperatures):
        base = result(data, group, "base", 0.80)
        adapted = [
            dataclasses.replace(
                (some := result(data, group, "one", 0.80 + 0.01 * place)),
                arm=dataclasses.replace(
                    some.arm, recipe=Recipe(temperature=temperature)
                ),
            )
            for place, temperature in enumerate(temperatures)
        ]
        return [base, *adapted]

    def panels(found):
        kept = []
        monkeypatch.setattr(figures, "_save", lambda one, _: kept.append(one))
        figures.temperatures(found, pathlib.Path("temperatures.png"))
        (figure,) = kept
        return {
            axes.get_title(): [
                text.get_text() for text in axes.get_legend().get_texts()
            ]
            for axes in figure.axes
        }

    shown = panels([*of(one, "mlp", 1, 2, 4), *of(other, "dcn", 1, 4)])
    assert shown == {
        "x": ["mlp, base", "mlp + MLoRA"],
        "y": ["dcn, base", "dcn + MLoRA"],
    }


def test_without_a_rival_no_domain_has_a_bar(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(figures, "_save", lambda one, _: kept.append(one))
    alone = result(SETS[0], "mlp", "base", 0.80)
    figures.domain_gains([alone], tmp_path / "gains.png")
    (axes,) = kept[0].axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]
    assert not axes.patches


def test_a_line_of_gains_for_each_model_below_its_data_set(drawn):
    one, other = SETS
    axes = drawn(
        [
            result(one, "mlp", "base", 0.80, 0.81, 0.82),
            result(one, "mlp", "one", 0.803, 0.815),
            result(one, "dcn", "base", 0.80),
            result(one, "dcn", "one", 0.70),
            result(other, "mlp", "base", 0.80),
            result(other, "mlp", "one", 0.802),
        ]
    )
    labels = {
        text.get_text(): place
        for text, place in zip(
            axes.get_yticklabels(), axes.get_yticks(), strict=True
        )
    }
    assert sorted(axes.get_yticks()) == [0, 1, 2, 3, 4]
    assert (labels["x"], labels["dcn"], labels["y"]) == (0, 2, 3)
    # Paired: one point and two, though the base has a third seed.
    (mean, spread), (low, _), (alone, _) = [
        (
            bar.lines[0].get_xdata()[0],
            [part.get_segments()[0] for part in bar.lines[2]],
        )
        for bar in axes.containers
    ]
    assert mean == pytest.approx(0.4)
    left, right = spread[0][:, 0]
    assert right - left == pytest.approx(0.2 * 2**0.5)
    assert alone == pytest.approx(0.2)
    # What is far below is at the edge, and says what it is.
    assert low == figures.LEAST_GAIN
    assert [text.get_text() for text in axes.texts] == ["-10.00"]


def test_what_is_far_above_is_at_the_edge_too(drawn):
    (one, _) = SETS
    axes = drawn(
        [result(one, "mlp", "base", 0.70), result(one, "mlp", "one", 0.80)]
    )
    (bar,) = axes.containers
    assert bar.lines[0].get_xdata()[0] == figures.MOST_GAIN
    assert [text.get_text() for text in axes.texts] == ["+10.00"]
