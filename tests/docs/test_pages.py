"""Every page's code runs, in its order, and prints what the page says."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

import mlora_tf
from data_prep import table
from mlora_tf import doctor
from tests import worker_processes
from tests.docs import pages

STAR = (
    *("star_table2", "star_table3", "star_figure6", "star_figure7"),
    "star_section44",
)

MORE = {
    "experiments.train": (
        "--hidden_units=8",
        "--max_epochs=1",
        "--batch_size=64",
        "--noexport",
    ),
    # Their runs take hours: they say which they are, a search trains one.
    **{
        f"experiments.{name}": ("--dry_run", "--output=results")
        for name in ("mlora_table2", *STAR)
    },
    "experiments.search": (
        "--towers=shared",
        "--levers=dropout",
        '--values={"dropout": [0]}',
        '--start={"max_epochs": 1}',
        "--output=results",
        "--jobs=1",
    ),
    "experiments.report": ("--output=results",),
}
"""Added to a page's commands, where the page doesn't say otherwise."""

RUNS = {
    "own_log.md": {
        "data_prep.table",
        "experiments.evaluate",
        "experiments.score",
        "experiments.train",
    },
    "add_a_domain.md": {"data_prep.table", "experiments.add_domain"},
    "pretrained_embeddings.md": {"data_prep.table"},
    "reproduce_star.md": {
        "data_prep.movielens",
        "data_prep.synthetic",
        *(f"experiments.{name}" for name in STAR),
    },
    "reproduce_table_2.md": {
        "data_prep.movielens",
        "experiments.mlora_table2",
        "experiments.report",
        "experiments.search",
    },
    "streaming_and_drift.md": {
        "data_prep.synthetic",
        "data_prep.table",
        "experiments.train",
    },
    "tensorflow_serving.md": {
        "experiments.export",
        "experiments.verify_export",
    },
    "thousand_domains.md": {
        "experiments.describe",
        "experiments.export",
        "experiments.train",
    },
    "two_gpus.md": {"experiments.train"},
    "which_tower.md": {"experiments.describe", "experiments.train"},
}
"""Which commands of a page are run; of all others the flags are checked."""

OTHER_PROGRAMS = (
    "curl",
    "export TF_CONFIG=",
    "mkdocs build",
    "mkdocs serve",
    "pip install",
    "python -m mlora_tf.doctor",
    "python -m venv",
    "python3 -m venv",
    "tensorboard --logdir=",
    "tensorflow_model_server",
)
"""What bash blocks may have besides: it isn't run here."""


def write_log(folder, rows=400):
    """A click log with the columns of the page about one's own."""
    rng = np.random.default_rng(0)
    items = ["pen", "ink", "nib", "cap"]
    folder.mkdir(parents=True)
    with (folder / "clicks.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["click", "shop", "user", "item", "brand", "price", "history"]
        )
        for row in range(rows):
            history = rng.choice(items, rng.integers(0, 4))
            writer.writerow(
                [
                    int(row % 3 == 0),
                    ("corner", "mall", "market")[row % 7 % 3],
                    rng.integers(20),
                    rng.choice(items),
                    rng.choice(["nib & co", "blot"]),
                    round(float(rng.uniform(1, 9)), 2),
                    "|".join(history),
                ]
            )


@pytest.fixture(autouse=True)
def registered():
    """Takes back what a page registers, which other tests don't expect."""
    registries = mlora_tf.BACKBONES, mlora_tf.TOWERS
    before = [dict(registry) for registry in registries]
    yield
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture(scope="module")
def own_log(tmp_path_factory):
    """The folder where the page about one's own log has been followed."""
    folder = tmp_path_factory.mktemp("own_log")
    write_log(folder / "logs")
    lines = (folder / "logs" / "clicks.csv").read_text().splitlines()
    tomorrow = "\n".join([lines[0], *lines[:0:-2]]) + "\n"
    (folder / "logs" / "tomorrow.csv").write_text(tomorrow)
    for block in pages.blocks(pages.DOCS / "cookbook" / "own_log.md"):
        if block.kind == "json":
            (folder / "columns.json").write_text(block.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        follow("own_log.md")
    return folder


def run(command):
    pages.run(command, MORE.get(command.module, ()))


AFTER_OWN_LOG = {
    "a_runs_folder.md",
    "add_a_domain.md",
    "tensorflow_serving.md",
    "two_gpus.md",
    "which_tower.md",
}
"""Pages that go on with what is there after that one."""


def follow(name):
    """Does what a page says, in its order, in the current folder."""
    path, names, printed = pages.DOCS / "cookbook" / name, {}, None
    keras.utils.set_random_seed(0)
    for block in pages.blocks(path):
        if block.kind == "python":
            printed = pages.run_python(block, path, names)
            continue
        if block.kind == "text" and printed is not None:
            assert printed == block.text, f"{path}:{block.line}"
        if block.kind == "bash":
            for line in pages.lines(block):
                for command in pages.commands(line):
                    if command.module in RUNS.get(name, ()):
                        run(command)
        printed = None
    return names


def with_vectors(folder):
    write_log(folder / "logs")
    files = {"json": "vectors.json", "csv": "item_vectors.csv"}
    page = pages.DOCS / "cookbook" / "pretrained_embeddings.md"
    for block in pages.blocks(page):
        if block.kind in files:
            (folder / files[block.kind]).write_text(block.text)


def with_new_shop(folder):
    write_log(folder / "tomorrow")
    text = (folder / "tomorrow" / "clicks.csv").read_text()
    # Its third shop is one that the run doesn't know.
    tomorrow = folder / "logs" / "tomorrow.csv"
    tomorrow.write_text(text.replace(",market,", ",kiosk,"))


def with_times(folder):
    write_log(folder / "logs")
    log = pa_csv.read_csv(folder / "logs" / "clicks.csv")
    times = pa.array(range(1_700_000_000, 1_700_000_000 + len(log)))
    pq.write_table(
        log.append_column("ts", times), folder / "logs" / "clicks.parquet"
    )


def with_movielens(folder):
    """GroupLens's archive, as far as it is read, of fifty users."""
    rng = np.random.default_rng(0)
    users = [
        f"{user}::{'FM'[user % 2]}::25::{user % 3}::98765"
        for user in range(1, 51)
    ]
    ratings = [
        f"{user}::{film}::{rng.integers(1, 6)}::{978300000 + film}"
        for user in range(1, 51)
        for film in range(1, 21)
    ]
    with zipfile.ZipFile(folder / "ml-1m.zip", "w") as archive:
        for name, lines in (("users", users), ("ratings", ratings)):
            archive.writestr(f"ml-1m/{name}.dat", "\n".join(lines) + "\n")


def with_many_shops(folder):
    lines = [f"{row % 3 % 2},shop{row % 20},{row % 7}" for row in range(2000)]
    log = folder / "many.csv"
    log.write_text("\n".join(["click,shop,item", *lines]) + "\n")
    table.prepare(
        *(log, folder / "data" / "large"),
        label="click",
        domain="shop",
        categorical=["item"],
    )


BEFOREHAND = {
    "add_a_domain.md": with_new_shop,
    "pretrained_embeddings.md": with_vectors,
    "reproduce_star.md": with_movielens,
    "reproduce_table_2.md": with_movielens,
    "thousand_domains.md": with_many_shops,
    "streaming_and_drift.md": with_times,
}
"""What a page's reader has before it."""


def adapted(names, folder):
    kinds = {type(layer) for layer in names["served"].layers}
    assert kinds == {keras.layers.InputLayer, keras.layers.Dense}
    ones = np.ones_like(names["domains"])
    expected = names["model"]({"x": names["rows"], "domain": ones})
    np.testing.assert_allclose(
        names["served"]({"x": names["rows"]}), expected, atol=1e-6
    )
    assert np.abs(expected - names["plain"](names["rows"])).max() > 1e-4


def added(names, folder):
    assert names["schema"].features[0].vocabulary == (
        "pen",
        "ink",
        "nib",
        "cap",
    )
    assert (folder / "pt.npz").is_file()


def exported(names, folder):
    signatures = tf.saved_model.load(folder / "served/large/1").signatures
    own = {one for one in signatures if one.startswith("domain_shop")}
    assert own == {"domain_shop7", "domain_shop12"}


def reported(names, folder):
    assert (folder / "results" / "search.md").is_file()
    assert (folder / "results" / "report.html").is_file()


AFTERWARDS = {
    "add_a_domain.md": added,
    "my_keras_model.md": adapted,
    "reproduce_table_2.md": reported,
    "thousand_domains.md": exported,
}
"""What must hold after a page, beside what it prints."""


def test_the_page_about_ones_own_log_does_what_it_says(own_log):
    schema = mlora_tf.Schema.load(own_log / "data/mine_din/schema.json")
    assert schema.feature("history").target == "item"
    assert (own_log / "runs/mine/metrics.json").is_file()
    first = pages.blocks(pages.DOCS / "cookbook" / "own_log.md")[0]
    header, *_ = (own_log / "logs/clicks.csv").read_text().splitlines()
    assert first.text.splitlines()[0] == header


SLOW = {
    "reproduce_star.md",
    "reproduce_table_2.md",
    "streaming_and_drift.md",
    "tensorflow_serving.md",
    "thousand_domains.md",
    "two_gpus.md",
    "which_tower.md",
}
"""Pages that train, and take more seconds than all others."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in sorted({*pages.COOKBOOK} - {"own_log.md"})
    ],
)
def test_a_page_does_what_it_says(name, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if name in AFTER_OWN_LOG:
        done = request.getfixturevalue("own_log")
        shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    BEFOREHAND.get(name, lambda folder: None)(tmp_path)
    names = follow(name)
    AFTERWARDS.get(name, lambda names, folder: None)(names, tmp_path)


@pytest.fixture
def after_own_log(own_log, tmp_path, monkeypatch):
    """A copy of the folder after that page, as the current one."""
    shutil.copytree(own_log, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines_of(name):
    """All command lines of a page."""
    return [
        line
        for block in pages.blocks(pages.DOCS / "cookbook" / name)
        if block.kind == "bash"
        for line in pages.lines(block)
    ]


@pytest.mark.slow
def test_base_and_adapters_are_compared_on_ones_own_log(after_own_log):
    (line,) = (
        one for one in lines_of("own_log.md") if "experiments.mlora_" in one
    )
    (command,) = pages.commands(line)
    pages.run(command, ("--jobs=1",))
    table = (after_own_log / "results/mine/mlora_table2.md").read_text()
    (row, *_) = re.findall(r"^\| mine \| mlp \| 3 \|.*", table, re.M)
    assert row.count("±") == 5


@pytest.mark.slow
def test_two_machines_do_what_their_page_says(after_own_log):
    """As two processes of one machine; else by the page's own lines."""
    lines = lines_of("two_machines.md")
    assert len(lines) == 4
    ports = worker_processes.free_ports(2)
    started = []
    for export, train in (lines[:2], lines[2:]):
        for number, port in enumerate(ports, start=1):
            old = f"10.0.0.{number}:2222"
            assert old in export
            export = export.replace(old, f"127.0.0.1:{port}")
        (command,) = pages.commands(train)
        more = MORE[command.module]
        script = f"{export}\n{train} {' '.join(more)}"
        script = script.replace("python ", f"{sys.executable} ")
        started.append(
            subprocess.Popen(
                ["bash", "-ec", script],
                env={**os.environ, "PYTHONPATH": str(pages.ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    config = json.loads(
        (after_own_log / "runs/two_machines/config.json").read_text()
    )
    assert config["workers"] == 2
    assert (after_own_log / "runs/two_machines/metrics.json").is_file()


def test_the_doctor_looks_at_what_the_page_names(after_own_log, capsys):
    (line,) = (one for one in lines_of("troubleshooting.md") if "doctor" in one)
    assert doctor.main(shlex.split(line)[3:]) == 0
    said = capsys.readouterr().out
    assert "data/mine has" in said
    assert "0 problem(s)" in said


ALL_PAGES = sorted(
    [
        *pages.DOCS.rglob("*.md"),
        *(
            pages.ROOT / name
            for name in ("README.md", "BUILD.md", "CONTRIBUTING.md")
        ),
    ]
)


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.name)
def test_every_command_has_the_flags_that_a_page_gives_it(path):
    for block in pages.blocks(path):
        if block.kind != "bash":
            continue
        for line in pages.lines(block):
            found = pages.commands(line)
            known = line.startswith(OTHER_PROGRAMS)
            assert found or known, f"{path.name}: what is {line!r}?"
            for command in found:
                if "..." not in command.arguments:
                    pages.check(command)


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.name)
def test_a_quoted_table_is_the_committed_one(path):
    for name, rows in pages.tables(path.read_text("utf-8")).items():
        committed = (pages.ROOT / "experiments" / "results" / name).read_text()
        assert rows, name
        for row in rows:
            assert row in committed.splitlines(), (name, row)


def test_a_flag_that_is_not_there_is_seen():
    (command,) = pages.commands(
        "python -m experiments.train --data=a --output=b --tempo=3"
    )
    with pytest.raises(Exception, match="tempo"):
        pages.check(command)


def test_json_blocks_are_json():
    for path in ALL_PAGES:
        for block in pages.blocks(path):
            if block.kind == "json":
                json.loads(block.text)
