import json
import pathlib
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from experiments import binary
from experiments import export
from experiments import runs
from experiments import verify_export
from experiments.errors import RunError
from mlora_tf import serving
from mlora_tf import stored_weights
from tests import goldens
from tests import own_flags

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder, as far as an export needs it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    goldens.MODELS["mlp-mlora"].make().save(folder / "model.keras")
    (folder / "schema.json").write_text(goldens.SCHEMA.to_json())
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """Two versions: with all signatures, and small."""
    folder = tmp_path_factory.mktemp("served") / "shop"
    command(run, folder)
    command(run, folder, "--weights=float16", "--domains=none")
    return folder


def command(run, folder, *options):
    arguments = [f"--run={run}", f"--output={folder}", *options]
    with (
        own_flags.given(export.define_flags, *arguments),
        binary.errors_in_one_line(),
    ):
        export.main()


def copied(version, folder):
    """A copy of an export, to break."""
    for path in version.rglob("*"):
        if path.is_file():
            place = folder / path.relative_to(version)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return folder


def change(version, edit):
    """Edits the golden requests."""
    path = version / "assets.extra" / "golden.json"
    content = json.loads(path.read_text())
    for request in content["requests"]:
        edit(request)
    path.write_text(json.dumps(content))


def rewrite(version, **changes):
    """Changes what is said of all golden requests."""
    path = version / "assets.extra" / "golden.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def verify(*options):
    return subprocess.run(
        [sys.executable, "-m", "experiments.verify_export", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def names(version):
    return set(tf.saved_model.load(str(version)).signatures)


def test_a_run_is_exported_as_the_flags_say(run, folder, capsys):
    always = {"serving_default", "raw", "tf_example"}
    domains = {"domain_fr", "domain_it", "domain_pl"}
    assert names(folder / "1") == always | domains
    assert names(folder / "2") == always
    about = json.loads((folder / "2/assets.extra/export.json").read_text())
    assert about["weights"] == "float16"
    command(run, folder, "--domains=pl,fr")
    assert capsys.readouterr().out == f"{folder / '3'}\n"
    assert names(folder / "3") == always | {"domain_fr", "domain_pl"}


def test_a_run_that_cannot_be_exported_can_be_finished(monkeypatch):
    def refuse(*_):
        raise ValueError("the weight 'w' must be finite.")

    monkeypatch.setattr(serving, "export", refuse)
    log = types.SimpleNamespace(schema=goldens.SCHEMA)
    message = "^run/model.keras is trained, .*'w' must be finite.*--noexport"
    with pytest.raises(RunError, match=message):
        runs._export(None, log, pathlib.Path("run"))


def test_domains_are_all_none_or_named():
    assert export.chosen(["all"], ("a", "b")) == ("a", "b")
    assert export.chosen(["none"], ("a", "b")) == []
    assert export.chosen(["b"], ("a", "b")) == ["b"]
    assert export.chosen(None, ("a", "b")) is None


def test_the_flag_has_every_type_of_weights():
    with own_flags.given(export.define_flags, "--run=a", "--output=b"):
        types = flags.FLAGS["weights"].parser.enum_values
    assert tuple(types) == stored_weights.TYPES


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "archive"])
def test_a_model_that_cannot_be_read_takes_one_line(damage, run, tmp_path):
    damaged = copied(run, tmp_path / "run")
    model = damaged / "model.keras"
    if damage == "missing":
        model.unlink()
    elif damage == "empty":
        model.write_bytes(b"")
    elif damage == "cut":
        model.write_bytes(model.read_bytes()[:-500])
    else:
        with zipfile.ZipFile(model, "w") as archive:
            archive.writestr("config.json", "{}")
    message = f"^error: {damaged} isn't exported: [^\n]+$"
    with pytest.raises(SystemExit, match=message):
        command(damaged, tmp_path / "served")
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--run=nowhere",), "nowhere is no folder"),
        (("--domains=es",), r"domains must be among .*Received: \['es'\]"),
    ],
)
def test_a_mistake_takes_one_line(options, message, run, tmp_path):
    with pytest.raises(SystemExit, match=f"^error: .*{message}[^\n]*$"):
        command(run, tmp_path / "served", *options)
    assert not (tmp_path / "served").exists()


def test_versions_are_not_put_among_other_files(run, folder, tmp_path):
    own = copied(run, tmp_path / "run")
    (own / "config.json").write_text("{}")
    before = sorted(own.iterdir())
    prepared = tmp_path / "data"
    prepared.mkdir()
    (prepared / "manifest.json").write_text("{}")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    for output in (own, prepared, mine):
        with pytest.raises(SystemExit, match=r"such as served/run\.$"):
            command(own, output)
    assert sorted(own.iterdir()) == before
    assert [path.name for path in prepared.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--tolerance=-1", "error: flag --tolerance=-1: -1.0 is not a non-neg"),
        ("--tolerrance=1", "error: Unknown command line flag 'tolerrance'"),
        ("--run=runs/mine", "error: Unknown command line flag 'run'"),
    ],
)
def test_verifying_says_what_is_wrong_with_a_flag(argument, said):
    with (
        own_flags.given(verify_export.define_flags, "--export=nowhere"),
        pytest.raises(SystemExit) as ended,
    ):
        verify_export._parse(["it", "--export=nowhere", argument])
    assert str(ended.value).startswith(said)
    assert str(ended.value).endswith("--helpshort lists the flags.")
    assert "Did you mean" not in str(ended.value)


def test_every_signature_is_replayed(folder):
    for version in ("1", "2"):
        differences = verify_export.replay(folder / version)
        assert set(differences) == names(folder / version)
        assert max(differences.values()) <= 1e-6


def test_the_newest_version_is_found(folder, tmp_path):
    newest = max(int(path.name) for path in folder.iterdir())
    assert verify_export.latest(folder) == folder / str(newest)
    assert verify_export.latest(folder / "1") == folder / "1"
    (tmp_path / "9").mkdir()
    (tmp_path / "10").mkdir()
    assert verify_export.latest(tmp_path) == tmp_path / "10"
    # Other digits are no version.
    (tmp_path / ("\N{ARABIC-INDIC DIGIT NINE}" * 3)).mkdir()
    (tmp_path / "0011").mkdir()
    assert verify_export.latest(tmp_path) == tmp_path / "0011"


def test_answers_are_replayed_as_they_were_recorded(folder, monkeypatch):
    assert verify_export.FORMAT == serving.FORMAT
    is_rounded = tf.config.experimental.tensor_float_32_execution_enabled
    seen, ask = [], verify_export._ask

    def watched(*arguments):
        seen.append(is_rounded())
        return ask(*arguments)

    monkeypatch.setattr(verify_export, "_ask", watched)
    assert is_rounded()
    verify_export.replay(folder / "2")
    assert seen == [False] * 3
    assert is_rounded()


@pytest.mark.parametrize(
    ("edit", "difference"),
    [
        (lambda outputs: outputs["ctr"][3].__setitem__(0, -7.0), "more than 7"),
        (lambda outputs: outputs["ctr"].pop(), np.inf),
        (lambda outputs: outputs.update(other=[]), np.inf),
        (lambda outputs: outputs["ctr"][1].__setitem__(0, np.nan), np.nan),
    ],
)
def test_an_answer_that_differs_is_seen(edit, difference, folder, tmp_path):
    version = copied(folder / "2", tmp_path / "1")
    change(version, lambda request: edit(request["outputs"]))
    for found in verify_export.replay(version).values():
        if difference == "more than 7":
            assert 7 < found < 8
        else:
            np.testing.assert_equal(found, difference)


@pytest.mark.slow
def test_the_exit_status_says_whether_it_answers(folder, tmp_path):
    # That it is 0 is seen where an export runs without Keras.
    version = copied(folder / "2", tmp_path / "1")
    change(
        version,
        lambda request: request["outputs"]["ctr"][0].__setitem__(0, np.nan),
    )
    finished = verify(f"--export={tmp_path}")
    assert finished.returncode == 1
    assert "nan" in finished.stdout
    assert finished.stderr.splitlines()[-1] == (
        f"error: {version} doesn't answer as it was exported."
    )


def test_the_tolerance_decides(folder, tmp_path, capsys):
    version = copied(folder / "2", tmp_path / "1")

    def raise_one(request):
        request["outputs"]["ctr"][0][0] += 0.01

    change(version, raise_one)
    for tolerance, right in ((0.02, True), (0.005, False)):
        with own_flags.given(
            verify_export.define_flags,
            f"--export={version}",
            f"--tolerance={tolerance}",
        ):
            if right:
                verify_export.main()
            else:
                with pytest.raises(SystemExit, match="doesn't answer"):
                    verify_export.main()
        assert "largest difference 1.0e-02" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda version: None, "golden.json"),
        (
            lambda version: (version / "saved_model.pb").write_bytes(b"x"),
            "isn't readable",
        ),
        (
            lambda version: (version / "assets.extra/golden.json").write_text(
                "{"
            ),
            "isn't readable",
        ),
        (
            lambda version: rewrite(version, requests=[]),
            "must have requests.*Received: 0 in",
        ),
        (
            lambda version: rewrite(version, format="mlora_tf.export/2"),
            "in the format 'mlora_tf.export/1'.*'mlora_tf.export/2'",
        ),
    ],
)
def test_what_is_no_export_is_named_in_one_line(
    break_it, message, folder, tmp_path
):
    version = tmp_path / "1"
    if message != "golden.json":
        copied(folder / "2", version)
    break_it(version)
    with (
        own_flags.given(verify_export.define_flags, f"--export={version}"),
        pytest.raises(SystemExit, match=f"^error: {version} .*{message}"),
    ):
        verify_export.main()


def test_verifying_imports_neither_keras_nor_mlora_tf():
    source = pathlib.Path(verify_export.__file__).read_text()
    for name in ("keras", "mlora_tf", "experiments"):
        assert f"import {name}" not in source
        assert f"from {name}" not in source
