"""What a command line says of presets, and of flags that it hasn't."""

import re
import subprocess
import sys

import pytest

from experiments import describe
from experiments import flag_synonyms
from experiments import search
from experiments import towers
from experiments import train
from experiments.preset_help import GIVEN
from experiments.preset_help import preset_help
from mlora_tf.presets import PRESETS
from mlora_tf.presets import preset
from tests import own_flags

TRAIN = ("--data=a", "--output=b")


def line_of(name):
    """What the help says of a preset."""
    (line,) = re.findall(rf"^- {name} \(.*$", preset_help(), re.M)
    return line


@pytest.mark.parametrize("name", PRESETS)
def test_the_help_has_every_value_that_a_preset_sets(name):
    values = preset(name, "mlp", "mlora").to_dict()
    base = preset("tuned", "mlp", "mlora").to_dict()
    shown = dict(re.findall(r"(\w+)=([^ ]+?)(?:,|\.$| \()", line_of(name)))
    for field, value in values.items():
        if name != "tuned" and value == base[field]:
            continue
        if field in GIVEN or value in (None, {}):
            assert field not in shown
            continue
        if isinstance(value, list):
            value = ",".join(map(str, value))
        found = shown[field] if field != "hidden_units" else line_of(name)
        assert str(value).lower() in found, field


def test_the_help_says_which_models_a_preset_gives_other_values():
    assert "=16 (nfm, autoint: 4; fibinet, deepfm, xdeepfm: 32)," in line_of(
        "release"
    )
    assert "norm=batch (star: partitioned)," in line_of("star")
    assert "seed" not in preset_help()
    assert "backbone" not in preset_help()


def test_the_help_of_a_binary_has_it():
    with own_flags.given(train.define_flags, *TRAIN):
        assert preset_help() in train.flags.FLAGS["preset"].help


@pytest.mark.parametrize(
    ("define", "given", "unknown", "right"),
    [
        (train.define_flags, TRAIN, "epochs", "max_epochs"),
        (train.define_flags, TRAIN, "lr", "learning_rate"),
        (train.define_flags, TRAIN, "l2", "embedding_l2"),
        (train.define_flags, TRAIN, "random_seed", "seed"),
        (train.define_flags, TRAIN, "batch-size", "batch_size"),
        (search.define_flags, ("--data=a",), "seed", "seeds"),
        (search.define_flags, ("--data=a",), "random_seed", "seeds"),
    ],
)
def test_a_flag_of_other_programs_is_answered_with_ours(
    define, given, unknown, right
):
    with (
        own_flags.given(define, *given),
        pytest.raises(SystemExit) as ended,
    ):
        flag_synonyms.parse(["it", *given, f"--{unknown}=3"])
    first, last = str(ended.value.code).splitlines()
    assert first.startswith(f"error: --{unknown} is no flag of this program")
    assert first.endswith(f" --{right} here.")
    assert last == "--helpshort lists the flags."


def test_other_mistakes_and_none_are_left_to_absl(capsys):
    with own_flags.given(train.define_flags, *TRAIN):
        assert flag_synonyms.parse(["it", *TRAIN, "word"]) == ["it", "word"]
        for argument in ("--tempo=3", "--max_epochs=x"):
            with pytest.raises(SystemExit):
                flag_synonyms.parse(["it", *TRAIN, argument])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: Unknown command line flag 'tempo'")
    assert lines[2] == "error: --max_epochs=x: it must be an integer."


def test_every_synonym_is_of_a_flag_that_there_is():
    known = set()
    for define, given in (
        (train.define_flags, TRAIN),
        (search.define_flags, ("--data=a",)),
        (towers.STUDY.define_flags, ()),
        (describe.define_flags, ()),
    ):
        with own_flags.given(define, *given):
            known |= set(train.flags.FLAGS)
    for name, ours in flag_synonyms.SYNONYMS.items():
        assert set(ours) <= known, name


def test_the_quickstart_speaks_before_tensorflow_starts():
    program = (
        "import sys; from experiments import quickstart; "
        "assert 'tensorflow' not in sys.modules and quickstart.AT_ONCE"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
