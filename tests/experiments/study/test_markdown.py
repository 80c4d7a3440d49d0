"""Tables of results whose numbers are known."""

import pytest

from experiments.study.arm import Arm
from experiments.study.data_set import DataSet
from experiments.study.markdown import arm_table
from experiments.study.markdown import domain_table
from experiments.study.markdown import gain_table
from experiments.study.markdown import mean_table
from experiments.study.result import Result
from mlora_tf.recipes import Recipe

DATA = DataSet("/data/some", "f" * 64, ("a", "b"))


def result(group, name, *wauc, paper=None, macro=0.5, rival="base"):
    """An arm whose runs have those WAUCs; each run's macro AUC is the same."""
    phases = tuple(
        {
            "test": {
                "wauc": one,
                "macro_auc": macro,
                "intervals": {"wauc": [one - 0.01, one + 0.01]},
            }
        }
        for one in wauc
    )
    arm = Arm(
        *(DATA, group, name, Recipe()),
        rival=None if name == rival else rival,
        paper=paper,
    )
    keys = tuple(f"{group}{name}{seed}" for seed in range(len(wauc)))
    return Result(arm, phases, keys, (1.0,) * len(wauc), frozenset())


def lines(found):
    heading, rule, *rows = gain_table(found).splitlines()
    assert rule.count("|") == heading.count("|")
    assert {row.count("|") for row in rows} <= {heading.count("|")}
    return [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in (heading, *rows)
    ]


def test_a_line_for_each_model_with_each_arms_gain():
    found = [
        result("mlp", "base", 0.80, 0.81, 0.80, paper=80.0),
        result("mlp", "+ MLoRA, two phases", 0.80, 0.81, 0.80, paper=80.5),
        result("mlp", "one", 0.81, 0.8201, 0.8099, paper=80.5, macro=0.51),
        result("dcn", "base", 0.70, paper=71.0),
        result("dcn", "one", 0.69, paper=70.5, macro=0.49),
    ]
    heading, mlp, dcn = lines(found)
    assert heading == [
        *("data", "model", "seeds", "WAUC of the base", "paper's"),
        *("gain, two phases", "gain, one", "paper's gain"),
        "macro AUC gain, one",
    ]
    assert mlp == [
        *("some", "mlp", "3", "80.33 ± 0.58", "80.00"),
        *("+0.00 ± 0.00", "**+1.00 ± 0.01** (p <.001)", "+0.50"),
        "+1.00 ± 0.00",  # without a spread there is no test
    ]
    # An arm that isn't there leaves its cell empty; one seed has no p.
    assert dcn == [
        *("some", "dcn", "1", "70.00 [69.00, 71.00]", "71.00"),
        *("", "-1.00", "-0.50", "-1.00"),
    ]


def test_a_gain_of_fewer_seeds_than_its_line_says_so():
    found = [
        result("mlp", "base", 0.80, 0.81, 0.82, 0.83),
        result("mlp", "one", 0.81),
        result("mlp", "two", 0.81, 0.8201, 0.8299),
    ]
    _, mlp = lines(found)
    assert mlp[2:4] == ["4", "81.50 ± 1.29"]
    assert mlp[4:6] == ["+1.00 (1 seed)", "**+1.00 ± 0.01** (p <.001, 3 seeds)"]


def test_means_are_over_the_models_that_there_are():
    found = [
        result("mlp", "base", 0.80, 0.82, paper=70.0),
        result("mlp", "one", 0.82, 0.84, paper=70.5),
        result("mlp", "two", 0.81, paper=70.5),
        result("dcn", "base", 0.79, paper=71.0),
        result("dcn", "one", 0.78, paper=71.25),
        result("nfm", "base", 0.74),
    ]
    heading, _, row = mean_table(found).splitlines()
    assert heading == (
        "| data | WAUC of the base | paper's | gain, one | gain, two "
        "| paper's gain |"
    )
    assert row == (
        "| some | 78.00 (of 3) | 70.50 (of 2) | +0.50 (of 2) | +1.00 (of 1) "
        "| +0.38 (of 2) |"
    )


def test_of_other_data_the_papers_gain_compares_and_not_its_level():
    found = [
        result("mlp", "base", 0.80, paper=63.64),
        result("mlp", "one", 0.81, paper=65.06),
        result("mlp", "two", 0.81),
    ]
    heading, _, *rows = arm_table(found, ["wauc"], same_data=False).splitlines()
    assert heading.endswith("| p | paper | paper's gain |")
    assert [row.split("|")[-3:-1] for row in rows] == [
        [" 63.64 ", "  "],
        [" 65.06 ", " +1.42 "],
        ["  ", "  "],
    ]


def test_domains_gain_over_the_same_seeds():
    def of(name, *aucs):
        arm = Arm(DATA, "mlp", name, Recipe(), rival={"one": "base"}.get(name))
        cells = [
            {"test": {"wauc": 0.5, "domains": [{"auc": one}, {"auc": one / 2}]}}
            for one in aucs
        ]
        keys = tuple(f"{name}{seed}" for seed in range(len(aucs)))
        return Result(arm, tuple(cells), keys, (1.0,) * len(aucs), frozenset())

    found = [of("base", 0.5, 0.9), of("one", 0.52)]
    heading, _, *_, one, gains = domain_table(
        found, overall="wauc"
    ).splitlines()
    assert heading == "| data | model | arm |  | WAUC | a | b |"
    assert one == "| some | mlp | one | AUC | 50.00 | 52.00 | 26.00 |"
    assert gains == "| some | mlp | one | gain | +0.00 | +2.00 | +1.00 |"
    heading, _, *_, one, gains = domain_table(found).splitlines()
    assert heading == "| data | model | arm |  | a | b |"
    assert one == "| some | mlp | one | AUC | 52.00 | 26.00 |"
    assert gains == "| some | mlp | one | gain | +2.00 | +1.00 |"


def test_data_without_users_leave_the_cells_empty():
    found = [result("mlp", "base", 0.8), result("mlp", "one", 0.81)]
    for one in found:
        one.phases[0]["test"]["user_auc"] = None
    _, _, *lines = arm_table(found, ("user_auc", "wauc")).splitlines()
    assert [line.split("|")[5:8] for line in lines] == [["  "] * 3] * 2
    assert "| 81.00 [80.00, 82.00] | +1.00 |" in lines[1]


def test_data_without_a_paper_has_no_such_columns():
    found = [result("mlp", "base", 0.8), result("mlp", "one", 0.8)]
    heading, row = lines(found)
    assert not any("paper" in cell for cell in heading)
    assert row[-2:] == ["+0.00", "+0.00"]


@pytest.mark.parametrize("papers", [(None, 80.5), (80.0, None)])
def test_half_a_papers_gain_is_none(papers):
    base, other = papers
    found = [
        result("mlp", "base", 0.8, paper=base),
        result("mlp", "one", 0.8, paper=other),
    ]
    heading, row = lines(found)
    assert row[heading.index("paper's gain")] == ""


def test_what_no_other_gains_over_has_no_line():
    assert len(lines([result("mlp", "base", 0.8)])) == 1
