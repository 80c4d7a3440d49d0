"""A domain that comes later: the rows, the ways to train it, the table."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import mlora_new_domain
from experiments.errors import RunError
from experiments.study import held_out
from experiments.study import new_domain
from experiments.study import recipes
from mlora_tf import data
from mlora_tf.features import DenseFeature
from mlora_tf.recipes import Recipe
from mlora_tf.schema import Schema
from mlora_tf.schema import SparseFeature
from tests import clicks
from tests import own_flags

SCHEMA = Schema(
    features=(
        SparseFeature("user", ("ann", "bob", "cat", "dan")),
        SparseFeature("item", (10, 20, 30)),
    ),
    domain_name="shop",
    domains=("a", "b", "c"),
)


def split(rows):
    """Rows of user, item, domain and label."""
    user, item, domain, label = np.array(rows).T
    return data.Split(
        {
            "user": user.astype(np.int32),
            "item": item.astype(np.int32),
            "domain": domain.astype(np.int32),
        },
        label.astype(np.float32),
    )


@pytest.fixture
def log():
    """Of shop b, dan and item 20 are new; nobody but test has cat and 30."""
    train = split(
        [
            (1, 1, 0, 1),
            (2, 1, 2, 0),
            (4, 2, 1, 1),
            (1, 2, 1, 0),
            (0, 1, 0, 0),
        ]
    )
    test = split(
        [
            (4, 3, 1, 1),
            (1, 1, 1, 0),
            (3, 2, 0, 1),
            (2, 1, 2, 0),
            (1, 1, 0, 0),
        ]
    )
    return data.ClickLog(SCHEMA, "f" * 64, train, train, test)


def test_what_only_the_new_domain_has_is_unknown_before(log):
    parts = held_out.hold_out(log, "b")
    assert parts.before.schema.domains == ("a", "c")
    user, item = parts.before.schema.features
    assert (user.vocabulary, item.vocabulary) == (("ann", "bob"), (10,))
    train = parts.before.train
    assert train.inputs["user"].tolist() == [1, 2, 0]
    assert train.inputs["item"].tolist() == [1, 1, 1]
    assert train.inputs["domain"].tolist() == [0, 1, 0]
    assert train.label.tolist() == [1, 0, 0]
    # cat and item 20 are nobody's before, so test's rows have 0 for them.
    test = parts.before.test
    assert test.inputs["user"].tolist() == [0, 2, 1]
    assert test.inputs["item"].tolist() == [0, 1, 1]


def test_new_values_come_behind_the_old_ones(log):
    parts = held_out.hold_out(log, "b")
    assert parts.known.schema.domains == ("a", "c", "b")
    user, item = parts.known.schema.features
    assert user.vocabulary == ("ann", "bob", "dan")
    assert item.vocabulary == (10, 20)
    assert parts.new_values == {"user": 1, "item": 1}
    for part, users, items in (
        (parts.known, [3, 1], [2, 2]),
        (parts.unknown, [0, 1], [0, 0]),
    ):
        assert part.train.inputs["user"].tolist() == users
        assert part.train.inputs["item"].tolist() == items
        assert part.train.inputs["domain"].tolist() == [2, 2]
        assert part.train.label.tolist() == [1, 0]
    # Of two test rows one has values that the others never had.
    assert parts.unseen == 0.5
    # Item 30 is in no training row: nobody learns it.
    assert parts.known.test.inputs["item"].tolist() == [0, 1]


def test_one_new_value_makes_a_row_unseen(log):
    test = split([(4, 1, 1, 1), (1, 2, 1, 0), (1, 1, 1, 0), (1, 1, 1, 1)])
    parts = held_out.hold_out(dataclasses.replace(log, test=test), "b")
    assert parts.unseen == 0.5


def test_rows_keep_what_is_beside_their_inputs(log):
    times = dataclasses.replace(log.test, extra={"time": np.arange(5)})
    parts = held_out.hold_out(dataclasses.replace(log, test=times), "b")
    assert parts.before.test.extra["time"].tolist() == [2, 3, 4]
    assert parts.known.test.extra["time"].tolist() == [0, 1]


def test_parts_are_told_apart(log):
    prints = {
        part.fingerprint
        for name in "ab"
        for part in (
            held_out.hold_out(log, name).before,
            held_out.hold_out(log, name).unknown,
            held_out.hold_out(log, name).known,
        )
    }
    assert len(prints) == 6


def test_an_unknown_domain_and_other_features_are_errors(log):
    with pytest.raises(RunError, match="Received: 'z'"):
        held_out.hold_out(log, "z")
    age = DenseFeature("age", mean=0.0, stddev=1.0)
    schema = dataclasses.replace(SCHEMA, features=(*SCHEMA.features, age))
    with pytest.raises(RunError, match=r"sparse and learned.*'age'"):
        held_out.hold_out(dataclasses.replace(log, schema=schema), "b")
    given = SparseFeature("item", (10, 20, 30), vectors=4)
    schema = dataclasses.replace(SCHEMA, features=(given,))
    with pytest.raises(RunError, match=r"sparse and learned.*'item'"):
        held_out.hold_out(dataclasses.replace(log, schema=schema), "b")
    # Without it there must be a domain left.
    schema = dataclasses.replace(SCHEMA, domains=("b",))
    with pytest.raises(RunError, match="of which there must be two"):
        held_out.hold_out(dataclasses.replace(log, schema=schema), "b")


@pytest.mark.parametrize("what", ["valid", "test"])
def test_a_domain_without_both_classes_is_told_before_training(log, what):
    rows = getattr(log, what)
    label = np.where(rows.domain == 1, 1, rows.label).astype(np.float32)
    bad = dataclasses.replace(rows, label=label)
    name = {"valid": "validation", "test": "test"}[what]
    said = f"'b' can't be held out: of its 2 {name} rows 2 are clicks"
    with pytest.raises(RunError, match=said):
        held_out.hold_out(dataclasses.replace(log, **{what: bad}), "b")


def test_unknown_domains_are_told_before_training(tmp_path):
    prepared = clicks.prepare(tmp_path / "some-clicks", rows=300)
    given = f"--data={prepared}", "--domains=toys,typo"
    with (
        own_flags.given(
            mlora_new_domain.define_flags, *given, f"--output={tmp_path}"
        ),
        pytest.raises(RunError, match=r"among .*toys.*Received: typo$"),
    ):
        mlora_new_domain.main()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The command's folder, of one domain of a small log."""
    return write(tmp_path_factory.mktemp("new_domain"), own_users=True)


def write(folder, *, own_users):
    """Runs the command in a folder, twice, and gives that of its results."""
    prepared = clicks.prepare(
        folder / "some-clicks", rows=900, own_users=own_users
    )
    small = Recipe(
        hidden_units=(8,),
        embedding_dim=4,
        temperature=4,
        batch_size=32,
        max_epochs=2,
        # What a search may choose, and a model from scratch doesn't have.
        tower_options={"lora_dropout": 0.2},
        rank_power=0.5,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            mlora_new_domain,
            "recipe",
            lambda *_, seed: dataclasses.replace(small, seed=seed),
        )
        given = (
            f"--data={prepared}",
            f"--output={folder / 'results'}",
            f"--runs={folder / 'runs'}",
            "--domains=toys",
        )
        with own_flags.given(mlora_new_domain.define_flags, *given):
            mlora_new_domain.main()
            before = (folder / "results" / "new_domain.jsonl").read_bytes()
            # A second time there is nothing left to train.
            patch.setattr(mlora_new_domain, "held_out", None)
            mlora_new_domain.main()
    assert (folder / "results" / "new_domain.jsonl").read_bytes() == before
    assert not list((folder / "runs").iterdir())  # nothing is left to go on
    return folder / "results"


@pytest.mark.slow
def test_each_way_moves_what_it_says(written):
    (line,) = (written / "new_domain.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert list(found["arms"]) == list(new_domain.ARMS)
    arms = found["arms"]
    assert arms["zero-shot"]["trained"] == 0
    # What is the new domain's own leaves the others as they are; rounding may
    # differ, because products of another size may have another kernel.
    for arm in ("zero-shot", "adapters", "new ids", "adapters and new ids"):
        assert arms[arm]["change"] < 1e-6
    # Each part of it by itself, and nothing else.
    both = arms["adapters"]["trained"] + arms["new ids"]["trained"]
    assert arms["adapters and new ids"]["trained"] == both
    assert arms["new ids"]["trained"] > 0
    assert arms["new ids"]["auc"] != arms["zero-shot"]["auc"]
    assert arms["everything"]["change"] > 1e-6
    assert arms["from scratch"]["change"] is None
    assert all(0 < one["auc"] < 1 for one in arms.values())
    assert arms["adapters"]["auc"] != arms["zero-shot"]["auc"]


@pytest.mark.slow
def test_a_domain_without_new_ids_has_no_rows_to_train(tmp_path):
    path = write(tmp_path, own_users=False) / "new_domain.jsonl"
    arms = json.loads(path.read_text())["arms"]
    assert arms["new ids"] == arms["zero-shot"]
    assert arms["adapters and new ids"]["trained"] > 0


def test_the_table_has_a_line_for_each_domain(written):
    text = (written / "new_domain.md").read_text()
    (line,) = (
        one for one in text.splitlines() if one.startswith("| some-clicks ")
    )
    assert line.startswith("| some-clicks | toys | 1 | ")
    assert float(line.split("|")[-2]) < 1e-6


def test_a_line_is_the_last_recipes_with_all_of_its_seeds(written, tmp_path):
    path = tmp_path / "new_domain.jsonl"
    line = json.loads((written / "new_domain.jsonl").read_text())
    arms = line["arms"]

    def other(fingerprint=line["fingerprint"], **changes):
        aucs = {arm: {**one, "auc": 0.25} for arm, one in arms.items()}
        recipe = {**line["recipe"], **changes}
        content = {"fingerprint": fingerprint, "recipe": recipe, "arms": aucs}
        return {**line, **content}

    # Before a search, of data prepared otherwise, another seed, and the same
    # seed once more.
    before = other(dropout=0.5), other("0" * 64, seed=2)
    all_of_them = [*before, other(seed=1), line, other(seed=1)]

    def written_of(them):
        path.write_text("\n".join(map(json.dumps, them)) + "\n")
        return mlora_new_domain.write(path).read_text()

    text = written_of(all_of_them)
    assert "--data=data/some-clicks --seeds=2`" in text
    heading, _, row = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    )
    assert row[:3] == ["some-clicks", "toys", "2"]
    for arm in new_domain.ARMS:
        mean = (100 * arms[arm]["auc"] + 25.0) / 2
        assert row[heading.index(arm)].startswith(f"{mean:.2f} ± ")
    # A line of before there was a way leaves its cell empty.
    assert "|  |" not in written_of([line])
    assert written_of([older(line)]).count("|  |") == 1


def older(line):
    """A line of before the new ids' rows alone were one of the ways."""
    left = {arm: one for arm, one in line["arms"].items() if arm != "new ids"}
    return {**line, "arms": left}


def test_a_line_that_lacks_a_way_is_trained_anew(
    written, tmp_path, monkeypatch
):
    path = tmp_path / "new_domain.jsonl"
    line = json.loads((written / "new_domain.jsonl").read_text())
    path.write_text(json.dumps(older(line)) + "\n")
    prepared = clicks.prepare(
        tmp_path / "some-clicks", rows=900, own_users=True
    )

    def held_out(data, domain, chosen, strategy, folder):
        folder.mkdir(parents=True)
        return line

    monkeypatch.setattr(mlora_new_domain, "held_out", held_out)
    monkeypatch.setattr(
        mlora_new_domain, "recipe", lambda *_, seed: Recipe(**line["recipe"])
    )
    given = (
        f"--data={prepared}",
        f"--output={tmp_path}",
        f"--runs={tmp_path / 'runs'}",
        "--domains=toys",
    )
    with own_flags.given(mlora_new_domain.define_flags, *given):
        for _ in range(2):
            mlora_new_domain.main()
            assert len(path.read_text().splitlines()) == 2
    assert "|  |" not in path.with_suffix(".md").read_text()


def test_without_lines_nothing_is_written(tmp_path):
    assert mlora_new_domain.write(tmp_path / "new_domain.jsonl") is None
    assert not list(tmp_path.iterdir())


def test_its_recipe_is_the_tuned_one():
    assert mlora_new_domain.recipe is recipes.recipe
