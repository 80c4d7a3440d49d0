import io
import pathlib
import re
import subprocess
import sys

import pytest
from rich.console import Console

from experiments import binary
from experiments import describe
from experiments.errors import RunError
from mlora_tf.backbones import BACKBONES
from mlora_tf.presets import PRESETS
from mlora_tf.presets import preset
from mlora_tf.recipes import Recipe
from mlora_tf.schema import Schema
from mlora_tf.schema import SchemaError
from mlora_tf.schema import SparseFeature
from mlora_tf.towers import TOWERS
from tests import clicks

ROOT = pathlib.Path(__file__).parents[2]
WIDTH = 80


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return clicks.prepare(tmp_path_factory.mktemp("data") / "clicks")


def run(*options):
    return subprocess.run(
        [sys.executable, "-m", "experiments.describe", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def described(recipe, schema=None, **options):
    """What is printed, on a console that is no terminal."""
    if schema is None:
        schema = describe.make_schema(None, 3, 50)
    file = io.StringIO()
    console = Console(file=file, width=WIDTH)
    describe.describe(recipe, schema, console, **options)
    return file.getvalue()


def row(text, name):
    """The cells behind a name, with two spaces or more between."""
    found = re.search(rf"^ {re.escape(name)}  +(\S.*?) *$", text, re.M)
    assert found, text
    return re.split(" {2,}", found[1])


def readable(text):
    """Whether text fits into the width and has no control codes."""
    return all(
        len(line) <= WIDTH and line.isprintable() for line in text.split("\n")
    )


@pytest.mark.slow
def test_the_docstrings_command_prints_what_it_promises():
    command = re.search(
        r"python -m experiments\.describe (.*)", describe.__doc__
    )
    finished = run(*command[1].split())
    assert (finished.returncode, finished.stderr) == (0, "")
    text = finished.stdout
    assert readable(text)
    # 3 fields of 8 numbers; temperature 16; a row of each domain's tables.
    adapters = (
        (24 * 16 + 16 * 256 + 256)
        + (256 * 8 + 8 * 128 + 128)
        + (128 * 4 + 4 * 64 + 64)
    )
    own = adapters + 8 + 1
    assert row(text, "one domain's own") == [f"{own:,}", "9"]
    assert row(text, "all 10 domains' own") == [f"{10 * own:,}", "90"]
    dense = 47_552 + 65
    assert row(text, "shared by all domains") == [f"{dense:,}"] * 2
    assert row(text, "embedding tables") == ["180,000"] * 2
    share = row(text, "one domain's own, % of shared")[0]
    assert share == f"{100 * own / dense:.2f} %"
    ratio = row(text, "FLOPs per row")[-1]
    assert ratio == "1.18"
    assert row(text, "hidden.1") == [
        "MLoRADense",
        "32,896",
        "3,200",
        "8",
        "72,064",
    ]
    words = " ".join(describe.__doc__.split())
    assert f"expect {own:,} numbers" in words
    assert f"{100 * own / dense:.1f} % of what all share" in words
    assert f"{ratio} times the shared tower's work" in words


def test_a_mistake_takes_one_line():
    finished = run("--tower=mlora")
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("error: --domains must be at least 1")
    assert len(finished.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_help_lists_a_recipes_flags_as_its_own():
    text = run("--help").stdout
    for name in ("domains", "max_adapter_params", "tower_options", "preset"):
        assert f"--{name}:" in text


def test_a_folders_schema_is_described(prepared):
    schema = describe.make_schema(str(prepared), None, None)
    assert schema == Schema.load(prepared / "schema.json")
    assert describe.make_schema(str(prepared), 3, None) == schema
    text = described(Recipe(tower="shared"), schema)
    assert "3 domains; features: user, item" in text
    # 31 and 41 ids; a table of three domains is their own.
    assert row(text, "embedding tables") == ["576", "576"]
    assert row(text, "one domain's own") == ["8", "8"]


def test_pretrained_vectors_need_no_file():
    schema = Schema(
        features=(SparseFeature("item", ("pen", "ink"), vectors=6),),
        domain_name="country",
        domains=("fr", "it"),
    )
    text = described(Recipe(tower="star"), schema)
    assert row(text, "pretrained vectors") == ["18", "18"]
    assert "pretrained vectors" not in described(Recipe(tower="star"))


@pytest.mark.parametrize(
    ("folder", "domains", "ids", "message"),
    [
        (None, None, None, "--domains must be at least 1"),
        (None, 0, None, "--domains must be at least 1"),
        (None, 3, 1, "--ids must be at least 2"),
        ("prepared", 4, None, "has 3 domains: leave out --domains"),
        ("prepared", None, 9, "leave out --ids"),
        ("nowhere", None, None, "no prepared folder: it has no schema.json"),
    ],
)
def test_arguments_that_do_not_go_together(
    prepared, folder, domains, ids, message
):
    folder = str(prepared) if folder == "prepared" else folder
    with pytest.raises(RunError, match=message):
        describe.make_schema(folder, domains, ids)


def test_a_damaged_schema_is_said(tmp_path):
    (tmp_path / "schema.json").write_text("{")
    with (
        pytest.raises(SystemExit, match=r"^error: .*schema\.json: not JSON"),
        binary.errors_in_one_line(),
    ):
        describe.make_schema(str(tmp_path), None, None)
    with pytest.raises(SchemaError):
        describe.make_schema(str(tmp_path), None, None)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(max_adapter_params=10), "raise max_adapter_params"),
        (
            Recipe(backbone="dcn", backbone_options={"num_layers": 0}),
            "num_layers must be an integer of at least 1",
        ),
        (Recipe(tower_options={"lora_alpha": "x"}), "not supported between"),
    ],
)
def test_a_recipe_that_makes_no_model_takes_one_line(recipe, message):
    with pytest.raises(RunError, match=message) as error:
        described(recipe)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("tower", TOWERS)
def test_every_model_is_described(tower):
    for backbone in BACKBONES:
        text = described(preset("tuned", backbone, tower))
        assert text.startswith(f"{backbone} with the tower {tower}; 3 domains")
        assert readable(text)
        *_, ratio = row(text, "FLOPs per row")
        # A network for each domain, or one of them alone.
        if tower in ("shared", "star", "shared_bottom", "mulann"):
            assert ratio == "1.00"
        else:
            assert float(ratio) > 1


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_described(name):
    text = described(preset(name, "mlp", "star"))
    said = "partitioned norm, auxiliary network" in text
    assert said == (name == "star")


def test_ranks_are_said_layer_by_layer():
    recipe = Recipe(hidden_units=(256, 128), max_adapter_params=1024)
    text = described(recipe)
    assert row(text, "hidden.0")[-2] == "3"
    assert row(text, "hidden.1")[-2] == "2"
    bias_only = described(Recipe(control="bias_only"))
    assert row(bias_only, "hidden.0")[-2] == "0"
    # No adapter, no rank: class, shared, FLOPs.
    assert len(row(text, "logit.deep")) == 3


def test_nothing_to_relate_to_is_a_dash():
    text = described(Recipe(tower="shared_bottom"))
    assert row(text, "shared by all domains")[0] == "0"
    assert row(text, "one domain's own, % of shared")[0] == "-"


def test_keras_summary_is_printed_when_asked():
    recipe = Recipe(tower="shared", hidden_units=(4,))
    assert "Total params" not in described(recipe)
    text = described(recipe, summary=True)
    assert "Total params" in text
    assert readable(text)
    # Its box is as wide as the console: no line of it is broken.
    rows = [line for line in text.split("\n") if line.startswith("┃")]
    assert rows
    assert all(line.rstrip().endswith("┃") for line in rows)
