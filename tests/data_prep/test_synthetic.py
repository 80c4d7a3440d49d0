import functools
import json

import numpy as np
import pytest

from data_prep import planted
from data_prep import synthetic
from data_prep.layout import PreparationError
from mlora_tf import data
from mlora_tf.evaluation import evaluate
from mlora_tf.schema import Schema
from tests import programs

ROWS = 60_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic") / "out"
    synthetic.prepare(path, rows=ROWS)
    return path


@pytest.fixture(scope="module")
def log(made):
    return data.load(made)


def contents(path):
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def every_row(log, read):
    return np.concatenate(
        [read(split) for split in (log.train, log.valid, log.test)]
    )


command = functools.partial(programs.run, "data_prep.synthetic")


def test_same_seed_same_bytes_in_another_process(made, tmp_path):
    finished = command(f"--output={tmp_path / 'out'}", f"--rows={ROWS}")
    assert finished.returncode == 0, finished.stderr
    assert contents(tmp_path / "out") == contents(made)


def test_another_seed_other_effects(made, log, tmp_path):
    synthetic.prepare(tmp_path / "out", rows=ROWS, seed=124)
    other = data.load(tmp_path / "out")
    assert other.fingerprint != log.fingerprint
    assert other.schema == log.schema


def test_the_library_reads_it(made, log):
    schema = Schema.load(made / "schema.json")
    assert schema == log.schema
    assert schema.domains == synthetic.DOMAINS[:8]
    assert len(log.train) + len(log.valid) + len(log.test) == ROWS
    for split in (log.train, log.valid, log.test):
        assert split.extra["true_ctr"].dtype == np.float32
        assert set(np.unique(split.domain)) == set(range(8))
    for feature in schema.features:
        ids = every_row(log, lambda split: split.inputs[feature.name])  # noqa: B023
        # Every value is there, and none is out of the vocabulary.
        assert set(np.unique(ids)) == set(range(1, feature.num_ids))


def test_sizes_and_ctrs_are_those_asked_for(log):
    domain = every_row(log, lambda split: split.domain)
    label = every_row(log, lambda split: split.label)
    rows = np.bincount(domain)
    assert rows.sum() == ROWS
    assert rows[0] / rows[-1] == pytest.approx(planted.SIZE_RATIO, rel=0.01)
    assert (np.diff(rows) < 0).all()
    ctr = np.bincount(domain, label) / rows
    wanted = np.geomspace(0.04, 0.30, 8)
    assert (abs(ctr - wanted) < 4 * np.sqrt(wanted / rows)).all()
    true_ctr = every_row(log, lambda split: split.extra["true_ctr"])
    np.testing.assert_allclose(
        np.bincount(domain, true_ctr) / rows, wanted, rtol=1e-4
    )


def test_labels_follow_true_ctr_and_nothing_else_is_as_good(log):
    label = every_row(log, lambda split: split.label)
    domain = every_row(log, lambda split: split.domain)
    true_ctr = every_row(log, lambda split: split.extra["true_ctr"])
    # Calibrated in every tenth, not on average alone.
    for part in np.array_split(np.argsort(true_ctr), 10):
        spread = np.sqrt((true_ctr[part] * (1 - true_ctr[part])).sum())
        assert abs(label[part].sum() - true_ctr[part].sum()) < 4.5 * spread

    def wauc(scores):
        return evaluate(label, scores, domain, log.schema.domains).wauc

    best = wauc(true_ctr)
    assert 0.75 < best < 0.95
    for feature in log.schema.features:
        ids = every_row(log, lambda split: split.inputs[feature.name])  # noqa: B023
        group = domain * feature.num_ids + ids
        # Each id's own CTR in each domain, fitted on these very rows.
        ctr = np.bincount(group, label) / np.maximum(np.bincount(group), 1)
        assert wauc(ctr[group]) < best - 0.05


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_effects_have_the_planted_rank(rank):
    world = synthetic.plant(np.random.RandomState(5), 4, rank)
    for effect in world.effects:
        assert np.linalg.matrix_rank(effect, tol=1e-8) == rank
        assert np.linalg.norm(effect) == pytest.approx(planted.STRENGTH)
    assert np.linalg.matrix_rank(world.shared, tol=1e-8) == 6


@pytest.mark.parametrize("rank", [1, 2])
def test_two_domains_differ_by_twice_the_planted_rank(rank, tmp_path):
    # Measured on the rows alone: the logit of true_ctr is linear in the pairs
    # of ids' latents, so that a least-squares fit finds each domain's matrix.
    synthetic.prepare(tmp_path / "out", rows=40_000, domains=3, rank=rank)
    log = data.load(tmp_path / "out")
    world = synthetic.plant(np.random.RandomState(123), 3, rank)
    p = log.train.extra["true_ctr"].astype(np.float64)
    ids = {
        name: log.train.inputs[name] - 1
        for name in log.schema.num_ids
        if name != "domain"
    }

    def total(names):
        return sum(world.latents[name][ids[name]] for name in names) / 2**0.5

    user = total(["user_segment", "user_region"])
    item = total(["item_category", "item_brand"])
    main = 0.4 * np.tanh(user @ world.main[0] + item @ world.main[1])
    target = np.log(p / (1 - p)) - main
    pairs = np.einsum("nk,nl->nkl", user, item).reshape(len(p), -1)
    design = np.column_stack([pairs, np.ones(len(p))])
    matrices = []
    for domain in range(3):
        rows = log.train.domain == domain
        fit, *_ = np.linalg.lstsq(design[rows], target[rows])
        matrices.append(fit[:-1].reshape(6, 6))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        difference = matrices[one] - matrices[other]
        assert np.linalg.matrix_rank(difference, tol=1e-3) == 2 * rank


def test_one_domain(tmp_path, caplog):
    with caplog.at_level("INFO", "absl"):
        synthetic.prepare(tmp_path / "out", rows=500, domains=1)
    assert "train: 300 rows (books 300)" in caplog.messages
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [list(counts) for counts in manifest["counts"].values()] == [
        ["books"]
    ] * 3
    assert manifest["options"] == {"rows": 500, "domains": 1, "rank": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domains": 0}, "--domains must be 1 to 12, and is 0."),
        ({"domains": 13}, "--domains must be 1 to 12, and is 13."),
        ({"rank": 0}, "--rank must be 1 to 6, and is 0."),
        ({"rank": 7}, "--rank must be 1 to 6, and is 7."),
        ({"rows": 799}, "--rows must be 800 to 1000000000, and is 799."),
        *(
            (
                options,
                "--users and --items go together, and --drift needs both.",
            )
            for options in (
                {"users": 5},
                {"items": 5},
                {"drift": 0.5},
                {"drift": 0.5, "users": 5},
            )
        ),
    ],
)
def test_bad_numbers(options, message, tmp_path):
    with pytest.raises(PreparationError) as caught:
        synthetic.prepare(tmp_path / "out", **options)
    assert str(caught.value) == message
    assert not (tmp_path / "out").exists()


def test_the_command_reports_errors_in_one_line(made):
    before = contents(made)
    finished = command(f"--output={made}")
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith(f"error: {made} exists")
    finished = command(f"--output={made}", "--overwrite", "--rank=9")
    assert finished.returncode == 1
    assert finished.stderr == "error: --rank must be 1 to 6, and is 9.\n"
    assert contents(made) == before
