import numpy as np
import pytest
from absl import logging

from data_prep import binary
from data_prep import domains
from data_prep.layout import PreparationError

NAMES = ["books", "toys", "music"]


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *values: lines.append(text % values)
    )
    return lines


def kept(rows, clicks, drop=False, names=NAMES):
    return domains.kept(
        names, np.array(rows), np.array(clicks), drop_one_class=drop
    ).tolist()


def test_domains_of_both_classes_stay_without_a_word(warnings):
    assert kept([2, 3, 9], [1, 1, 8]) == [True] * 3
    assert kept([2, 3, 9], [1, 1, 8], drop=True) == [True] * 3
    assert warnings == []


def test_domains_of_one_class_stay_with_a_warning(warnings):
    assert kept([2, 3000, 9], [1, 3000, 0]) == [True] * 3
    assert warnings == [
        "domain 'toys' has no AUC: all of its 3,000 rows are clicks. "
        "--drop_one_class_domains drops it.",
        "domain 'music' has no AUC: none of its 9 rows is a click. "
        "--drop_one_class_domains drops it.",
    ]


def test_domains_of_one_class_are_dropped_on_demand(warnings):
    assert kept([2, 3, 9], [1, 3, 0], drop=True) == [True, False, False]
    assert len(warnings) == 2
    assert warnings[0].endswith("rows are clicks. It is dropped.")


def test_a_long_list_is_cut(warnings):
    names = [f"shop {number}" for number in range(1100)]
    assert kept([3] * 1100, [0] * 1099 + [1], names=names) == [True] * 1100
    assert len(warnings) == 21
    assert warnings[-1] == "1,079 more domains have no AUC either."


def test_a_domain_without_rows():
    message = "domain 'toys' has no rows; leave it out"
    with pytest.raises(PreparationError, match=message):
        kept([2, 0, 9], [1, 0, 1])


def test_no_domain_at_all():
    with pytest.raises(PreparationError, match="there is no domain"):
        kept([], [], names=[])


def test_not_all_domains_are_dropped(warnings):
    message = "would drop all; check the labels"
    with pytest.raises(PreparationError, match=message):
        kept([2, 3, 9], [2, 0, 0], drop=True)
    assert warnings == []


def test_a_split_says_which_domains_have_no_auc_in_it(warnings):
    def counts(*clicks):
        return {
            name: {"rows": 4, "clicks": click}
            for name, click in zip(NAMES, clicks, strict=True)
        }

    binary.log_counts(
        {
            "counts": {
                "train": counts(0, 4, 1),
                "valid": counts(1, 2, 3),
                "test": counts(0, 1, 4),
            }
        }
    )
    assert warnings == [
        "test: no AUC for 'books', 'music': there must be rows with a click "
        "and without."
    ]


def test_many_domains_without_an_auc_are_counted(warnings):
    names = [f"shop {i}" for i in range(40)]
    none = {name: {"rows": 0, "clicks": 0} for name in names}
    binary.log_counts({"counts": {"valid": none}})
    (line,) = warnings
    assert "'shop 29' and 10 more: there" in line
