import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_prep import features
from data_prep.layout import SPLITS
from data_prep.layout import Description
from data_prep.writer import Writer
from experiments import table1
from experiments import table1_counts
from experiments import table1_markdown
from experiments.provenance import ROOT
from experiments.table1_counts import Occurrences
from mlora_tf.data import DataError

# user, item, domain, label, split.
ROWS = np.array(
    [
        (1, 1, 0, 1, 0),
        (1, 2, 0, 0, 0),
        (2, 1, 0, 0, 0),
        (2, 1, 1, 1, 0),
        (0, 3, 0, 0, 0),
        (0, 3, 1, 0, 1),
        (3, 2, 1, 1, 1),
        (1, 1, 1, 1, 2),
    ]
)


def prepare(output, shard_rows=2, **changes):
    """Ids 1 and 2 of users have both domains, of items 1 and 2; 0 is unknown.

    Of four users three occur, and of six items three.
    """
    content = {
        "dataset": "ml-1m",
        "options": {"domain": "gender", "positive_rating": 5},
        "seed": 0,
        "sources": {},
        "features": [
            features.sparse("user", range(4)),
            features.sparse("item", list("uvwxyz")),
        ],
        "domain_name": "gender",
        "domains": ["F", "M|m"],
    }
    content |= changes
    description = Description(**content)
    with Writer(output, description, shard_rows=shard_rows) as writer:
        names = [one["name"] for one in content["features"]]
        columns = {
            name: ROWS[:, index] if index < 2 else np.zeros(8)
            for index, name in enumerate(names)
        }
        columns |= {"domain": ROWS[:, 2], "label": ROWS[:, 3]}
        writer.add(columns, ROWS[:, 4])
        writer.finish()
    return output


def without(one, *names):
    return {name: value for name, value in one.items() if name not in names}


@pytest.mark.parametrize("shard_rows", [None, 2])
def test_statistics_by_hand(shard_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(table1_counts, "ROWS", 3)
    made = prepare(tmp_path / "made", shard_rows)
    manifest = json.loads((made / "manifest.json").read_text())
    assert table1.describe(made) == {
        "folder": str(made),
        "fingerprint": manifest["fingerprint"],
        "dataset": "ml-1m",
        "options": {"domain": "gender", "positive_rating": 5},
        "name": "Movielens-gen",
        "paper": "Movielens-gen",
        "note": None,
        "domains": 2,
        "users": 3,
        "user_vocabulary": 4,
        "users_in_several_domains": 2,
        "items": 3,
        "item_vocabulary": 6,
        "items_in_several_domains": 3,
        "train": 5,
        "valid": 2,
        "test": 1,
        "ctr": {"train": 0.4, "valid": 0.5, "test": 1.0},
        "by_domain": [
            {"name": "F", "share": 0.8, "ctr": 0.25},
            {"name": "M|m", "share": 0.2, "ctr": 1.0},
        ],
    }


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=40),
    size=st.integers(1, 40),
)
def test_occurrences_are_those_of_sets(rows, size):
    seen = Occurrences(7)
    for start in range(0, len(rows), size):
        ids, domains = np.array(rows[start : start + size]).T
        seen.add(ids, domains)
    pairs = {(one, domain) for one, domain in rows if one}
    ids = [one for one, _ in pairs]
    assert seen.distinct == len(set(ids))
    assert seen.in_several == sum(ids.count(one) > 1 for one in set(ids))


def test_features_of_other_names_and_kinds_are_not_counted(tmp_path):
    made = prepare(
        tmp_path / "made",
        dataset="table",
        features=[
            features.sparse("visitor", range(4)),
            features.sparse("item", range(6)),
            features.dense("user"),
        ],
    )
    one = table1.describe(made)
    assert (one["users"], one["user_vocabulary"]) == (None, None)
    assert one["users_in_several_domains"] is None
    assert one["items"] == 3
    assert (one["name"], one["paper"]) == ("table, 2 domains", None)


@pytest.mark.parametrize(
    ("dataset", "options", "name", "paper"),
    [
        (
            "ml-1m",
            {"domain": "age", "positive_rating": 5},
            "MovieLens-1M by age",
            None,
        ),
        (
            "ml-1m",
            {"domain": "gender", "positive_rating": 4},
            "MovieLens-1M by gender",
            None,
        ),
        (
            "amazon",
            {"categories": ["Beauty", "Toys"]},
            "Amazon-2 (substitute)",
            None,
        ),
        ("taobao", {}, "Taobao-2", None),
        ("synthetic", {}, "synthetic, 2 domains", None),
    ],
)
def test_other_data_sets_have_no_row_of_the_paper(
    dataset, options, name, paper, tmp_path
):
    made = prepare(tmp_path / "made", dataset=dataset, options=options)
    one = table1.describe(made)
    assert (one["name"], one["paper"]) == (name, paper)


def named(dataset, options, domains, rows=(3, 1, 1)):
    counts = {"train": dict.fromkeys(range(domains))}
    content = {"dataset": dataset, "options": options, "counts": counts}
    splits = dict(zip(SPLITS, rows, strict=True))
    return table1._named(content, splits)


def test_six_other_categories_are_a_substitute():
    categories = ["Beauty", *sorted(table1.PAPER_CATEGORIES)[1:]]
    name, paper, note = named("amazon", {"categories": categories}, 6)
    assert (name, paper) == ("Amazon-6 (substitute)", "Amazon-6")
    assert note.startswith("this is not the paper's Amazon-6")
    assert "Beauty" in note
    same = {"categories": sorted(table1.PAPER_CATEGORIES)}
    assert named("amazon", same, 6) == ("Amazon-6", "Amazon-6", None)


def test_the_papers_themes_and_its_very_rows_are_recognized():
    assert named("taobao", {}, 20)[:2] == ("Taobao-20", "Taobao-20")
    rows = table1.PAPER["Taobao-10"][3:]
    assert named("mamdr", {}, 10, rows)[:2] == (
        "Taobao-10 (mamdr)",
        "Taobao-10",
    )
    assert named("mamdr", {}, 11, rows)[1] is None


def test_the_tables(tmp_path):
    first = prepare(tmp_path / "first")
    names = [f"domain {i}" for i in range(40)]
    second = prepare(
        tmp_path / "second", dataset="table", options={}, domains=names
    )
    table1.write([str(first), str(second)], tmp_path / "out")
    content = json.loads((tmp_path / "out" / "table1.json").read_text())
    assert content["command"].endswith(f"--data={first},{second}")
    assert content["paper"]["Taobao-30"]["items"] == 29_945
    assert [one["domains"] for one in content["ours"]] == [2, 40]
    assert "commit" in content["provenance"]
    lines = (tmp_path / "out" / "table1.md").read_text().splitlines()
    paper = lines.index(
        "| Movielens-gen | paper | 2 | 6,041 | 3,953 "
        "| 600,125 | 200,042 | 200,042 |"
    )
    assert lines[paper + 1 : paper + 3] == [
        "| Movielens-gen | ours | 2 | 3 (4) | 3 (6) | 5 | 2 | 1 |",
        "| table, 40 domains | ours | 40 | 3 (4) | 3 (6) | 5 | 2 | 1 |",
    ]
    for line in (
        "Not run, and no folder of ours: Amazon-6, Taobao-10, Taobao-20, "
        "Taobao-30.",
        "| Movielens-gen | 40.00% | 50.00% | 100.00% | 2 (66.67%) "
        "| 3 (100.00%) |",
        "| #14 | 28.76% | 3.75% |",
        r"| M\|m | 20.00% | 100.00% |",
        "| table, 40 domains, the 30 largest of 40 domains | share | CTR |",
        "| domain 29 | 0.00% | 0.00% |",
    ):
        assert line in lines
    assert "| domain 30 | 0.00% | 0.00% |" not in lines


@pytest.mark.parametrize(
    ("count", "title", "last"),
    [(30, "shops", 29), (31, "shops, the 30 largest of 31 domains", 1)],
)
def test_the_largest_domains_are_listed_where_there_are_many(
    count, title, last
):
    # From the smallest to the largest: only of many are they sorted.
    domains = [
        {"name": f"#{i}", "share": i / 1000, "ctr": 0.5} for i in range(count)
    ]
    lines = table1_markdown._domains("shops", domains).splitlines()
    assert lines[0] == f"| {title} | share | CTR |"
    assert len(lines) == 2 + 30
    assert lines[-1].startswith(f"| #{last} |")


def test_the_papers_numbers_add_up():
    # STAR's percentages are rounded to hundredths.
    from experiments import table1_paper

    shares = [share for share, _ in table1_paper.STAR_DOMAINS]
    assert len(shares) == 19
    assert sum(shares) == pytest.approx(100, abs=0.1)
    movielens = table1.PAPER["Movielens-gen"]
    assert sum(movielens[3:]) == 1_000_209


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no prepared folder"):
        table1.describe(tmp_path)


@pytest.mark.slow
def test_the_command(tmp_path):
    made = prepare(tmp_path / "made")
    command = [sys.executable, "-m", "experiments.table1", f"--data={made}"]
    finished = subprocess.run(
        [*command, f"--output={tmp_path / 'out'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "table1.json",
        "table1.md",
    }
