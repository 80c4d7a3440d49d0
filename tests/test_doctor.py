"""Each problem that the doctor knows is injected, and found."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep import features
from data_prep import folder as prepared_folder
from mlora_tf import data
from mlora_tf import doctor
from mlora_tf import environment
from mlora_tf import memory
from mlora_tf.models import build_model
from tests import clicks

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return clicks.prepare(tmp_path_factory.mktemp("data") / "clicks")


@pytest.fixture
def own_home(monkeypatch, tmp_path):
    """Keras's settings, which tests change."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("TF_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def run(prepared, tmp_path):
    """A finished run's folder, as `experiments.train` leaves it."""
    log = data.load(prepared)
    folder = tmp_path / "run"
    (folder / "serving" / "1").mkdir(parents=True)
    config = {
        "data": log.fingerprint,
        "provenance": {
            name: environment.installed(name) for name in environment.NEEDED
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text("{}")
    (folder / "schema.json").write_text(log.schema.to_json())
    build_model(log.schema, hidden_units=[4]).save(folder / "model.keras")
    return folder


def diagnosis(capsys, *arguments):
    """The exit status and the lines, OK ones left out."""
    status = doctor.main([str(argument) for argument in arguments])
    *lines, summary = capsys.readouterr().out.splitlines()
    assert all(
        line[:9].strip() in {"OK", "warning", "problem"} for line in lines
    )
    levels = [line[:9].strip() for line in lines]
    assert summary == (
        f"{levels.count('problem')} problem(s), "
        f"{levels.count('warning')} warning(s)"
    )
    assert status == ("problem" in levels)
    return status, [line for line in lines if not line.startswith("OK")]


def test_all_is_well_here(capsys, own_home, prepared, run):
    log = data.load(prepared)
    status = doctor.main([f"--data={prepared}", f"--run={run}"])
    out = capsys.readouterr().out
    assert status == 0, out
    assert "problem " not in out
    for said in (
        f"tensorflow {tf.__version__}",
        f"keras {keras.__version__}",
        f"numpy {np.__version__}",
        "CPU:0 computes",
        "core(s)",
        "of memory are available",
        "no TF_CONFIG",
        f"{len(log.train):,} train, {len(log.valid)} valid, "
        f"{len(log.test)} test rows, 3 domain(s) and 2 feature(s)",
        f"{run} is finished",
    ):
        assert said in out
    assert out.splitlines()[-1].startswith("0 problem(s), ")


PROBLEMS = {
    "KERAS_BACKEND": ("jax", "backend is 'jax'.*KERAS_BACKEND=tensorflow"),
    "TF_USE_LEGACY_KERAS": ("1", "TF_USE_LEGACY_KERAS=1.*unset"),
    "TF_XLA_FLAGS": ("--tf_xla_auto_jit=2", "compiles everything.*unset"),
    "TF_CONFIG": ('{"cluster": {"worker": ["a"]}}', "TF_CONFIG must state"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_variable_that_breaks_something_is_a_problem(
    capsys, monkeypatch, own_home, name
):
    value, said = PROBLEMS[name]
    monkeypatch.setenv(name, value)
    status, lines = diagnosis(capsys)
    assert status == 1
    problems = [line for line in lines if line.startswith("problem")]
    assert len(problems) == 1
    assert _matches(said, problems[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KERAS_BACKEND", "tensorflow"),
        ("TF_USE_LEGACY_KERAS", "0"),
        ("TF_XLA_FLAGS", "--tf_xla_auto_jit=0"),
        ("TF_XLA_FLAGS", "--tf_xla_enable_lazy_compilation=true"),
    ],
)
def test_a_variable_that_breaks_nothing_is_fine(
    capsys, monkeypatch, own_home, name, value
):
    monkeypatch.setenv(name, value)
    assert diagnosis(capsys)[0] == 0


def test_workers_are_told(capsys, monkeypatch, own_home):
    cluster = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}
    task = {"type": "worker", "index": 1}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": cluster, "task": task})
    )
    assert doctor.main([]) == 0
    said = "2 worker(s): this is the worker 1 (10.0.0.2:2222)"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            '{"backend": "torch"}',
            "problem  Keras's backend is 'torch', by .*json",
        ),
        ("{", "warning  .*keras.json is no JSON object: delete it"),
        ('{"floatx": "float16"}', "warning  .*'float16'.*float32"),
    ],
)
def test_keras_settings_are_read(capsys, monkeypatch, own_home, content, said):
    monkeypatch.delenv("KERAS_BACKEND")
    (own_home / "keras.json").write_text(content)
    _, (line, *others) = diagnosis(capsys)
    assert _matches(said, line)
    assert not others


VERSIONS = [
    ("tensorflow", "2.19.1", "problem  tensorflow 2.19.1 is too old: pip"),
    ("keras", "2.15.0", "problem  keras 2.15.0 is too old: pip"),
    ("keras", "3.99.0", "warning  keras 3.99.0 is newer than 3.15"),
    ("tensorflow", "2.99.0", "warning  tensorflow 2.99.0 is newer than"),
    (
        "pyarrow",
        None,
        "problem  pyarrow isn't installed: pip install 'pyarrow>",
    ),
]


@pytest.mark.parametrize(("name", "version", "said"), VERSIONS)
def test_other_versions_are_told(
    capsys, monkeypatch, own_home, name, version, said
):
    original = environment.installed
    monkeypatch.setattr(
        environment,
        "installed",
        lambda asked: version if asked == name else original(asked),
    )
    _, lines = diagnosis(capsys)
    assert _matches(said, lines[0])
    if "problem" in said:
        with pytest.raises(ImportError, match=f"can't start: {name}"):
            environment.require()
    else:
        environment.require()


def test_an_old_python_is_a_problem(capsys, monkeypatch, own_home):
    monkeypatch.setattr(environment, "PYTHON", (9, 9))
    _, lines = diagnosis(capsys)
    assert _matches(r"problem  python \S+ is older than 9.9", lines[0])


class Distribution:
    def __init__(self, name):
        self.metadata = {"Name": name}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["tensorflow", "tensorflow-cpu"], "tensorflow and tensorflow-cpu are"),
        (["keras", "keras_nightly"], "keras and keras-nightly are both"),
        (["keras", "keras"], "keras and another keras are both"),
    ],
)
def test_mixed_installations_are_a_problem(
    capsys, monkeypatch, own_home, names, said
):
    monkeypatch.setattr(
        environment.importlib.metadata,
        "distributions",
        lambda: [Distribution(name) for name in names],
    )
    status, lines = diagnosis(capsys)
    assert status == 1
    assert _matches(f"problem  {said}.*pip uninstall", lines[0])


def test_what_setup_needs_is_what_the_doctor_asks_for():
    text = (ROOT / "setup.py").read_text()
    for name, oldest in environment.NEEDED.items():
        assert f'"{name}>={".".join(map(str, oldest))}"' in text
    assert (
        f'python_requires=">={".".join(map(str, environment.PYTHON))}"' in text
    )
    for name, newest in environment.TESTED.items():
        version = environment.release(environment.installed(name))
        assert version[: len(newest)] == newest, "tested with another now?"


def test_a_gpu_that_tensorflow_does_not_see_is_a_warning(
    capsys, monkeypatch, own_home
):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _matches("warning  .*and-cuda", diagnosis(capsys)[1][0])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert _matches("warning  .*DEVICES=-1 may hide", diagnosis(capsys)[1][0])


def test_a_device_that_does_not_compute_is_a_problem(
    capsys, monkeypatch, own_home
):
    def broken(*arguments):
        raise tf.errors.InternalError(None, None, "no kernel\nimage")

    monkeypatch.setattr(doctor.tf, "matmul", broken)
    status, (line,) = diagnosis(capsys)
    assert status == 1
    assert line.startswith("problem  CPU:0 doesn't compute: no kernel; see")


def test_little_memory_is_a_warning(capsys, monkeypatch, own_home, prepared):
    monkeypatch.setattr(doctor, "available_memory", lambda: 1 << 30)
    monkeypatch.setattr(doctor.doctor_folders, "available_memory", lambda: 9000)
    status, lines = diagnosis(capsys, f"--data={prepared}")
    assert status == 0
    assert _matches(r"warning  1\.0 GiB of memory.*--reading=stream", lines[0])
    assert _matches("warning  .*clicks: rows take.*stream", lines[1])


def test_memory_is_the_least_that_the_system_says(monkeypatch, tmp_path):
    for name, text in (
        ("MEMINFO", "MemTotal: 9 kB\nMemAvailable:     4 kB\n"),
        ("LIMIT", "max\n"),
        ("USED", "1000\n"),
    ):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(memory, name, tmp_path / name)
    assert memory.available_memory() == 4096
    (tmp_path / "LIMIT").write_text("3000\n")
    assert memory.available_memory() == 2000
    (tmp_path / "LIMIT").write_text("900\n")
    assert memory.available_memory() == 0
    for name in ("MEMINFO", "LIMIT"):
        (tmp_path / name).unlink()
    assert memory.available_memory() is None


def test_no_place_to_write_is_a_problem(capsys, monkeypatch, own_home, run):
    def refused(*, dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    status, lines = diagnosis(capsys, f"--run={run}")
    assert status == 1
    assert _matches("problem  .*for temporary files.*Permission", lines[0])
    assert _matches(f"problem  {run} .for the run.*choose another", lines[1])


def test_no_temporary_folder_is_a_problem(capsys, monkeypatch, own_home):
    def missing():
        raise FileNotFoundError(2, "No usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", missing)
    status, (line,) = diagnosis(capsys)
    assert status == 1
    assert _matches("problem  no temporary folder.*set TMPDIR", line)


def test_a_full_disk_is_a_warning(capsys, monkeypatch, own_home):
    usage = doctor.shutil.disk_usage("/")._replace(free=5)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    status, (line,) = diagnosis(capsys)
    assert status == 0
    assert _matches("warning  .*has 0.0 GiB left: make room", line)


# --- Folders -----------------------------------------------------------------


def prepare(folder, label, domain, valid):
    """A folder of 12 rows whose domains and labels are those."""
    split = np.array([0] * 4 + [1] * 4 + [2] * 4)
    split[4:8] = 1 if valid else split[4:8]
    prepared_folder.write(
        folder,
        prepared_folder.Prepared(
            dataset="test",
            options={},
            seed=0,
            sources={},
            features=[features.sparse("item", ["pen"])],
            domain_name="shop",
            domains=("books", "toys", "garden"),
            columns={
                "item": np.ones(12, np.int32),
                "domain": np.array(domain),
                "label": np.array(label, np.int8),
            },
            split=split,
        ),
    )
    return folder


def test_a_folder_that_is_none_is_a_problem(capsys, own_home, tmp_path):
    status, (line,) = diagnosis(capsys, f"--data={tmp_path / 'none'}")
    assert status == 1
    assert _matches("problem  .*none is no prepared folder.*Make one", line)


def test_a_folder_that_was_changed_is_a_problem(capsys, own_home, tmp_path):
    folder = clicks.prepare(tmp_path / "clicks")
    path = folder / "test.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    status, (line,) = diagnosis(capsys, f"--data={folder}")
    assert status == 1
    assert "prepare the data again" in line or "test.parquet" in line


def test_domains_without_rows_or_an_auc_are_warned_of(
    capsys, own_home, tmp_path
):
    folder = prepare(
        tmp_path / "data",
        label=[0, 1, 0, 1] * 3,
        domain=[0, 0, 1, 1, 0, 0, 2, 1, 0, 0, 1, 1],
        valid=True,
    )
    status, lines = diagnosis(capsys, f"--data={folder}")
    assert status == 0
    assert _matches(
        "warning  domain 'toys', 'garden' has no AUC in v", lines[0]
    )
    assert _matches("warning  domain 'garden' has no AUC in test", lines[1])
    assert _matches("warning  domain 'garden' has no row to train", lines[2])


def test_a_validation_split_without_any_auc_is_a_problem(
    capsys, own_home, tmp_path
):
    folder = prepare(
        tmp_path / "data",
        label=[0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1],
        domain=[0, 0, 1, 1] * 3,
        valid=True,
    )
    status, lines = diagnosis(capsys, f"--data={folder}")
    assert status == 1
    assert _matches("problem  .*no domain has both clicks", lines[0])


def test_many_domains_are_not_all_named():
    log = type("Log", (), {"schema": type("S", (), {"domains": "abcdefgh"})})
    (finding,) = doctor.doctor_folders._domains(log, np.ones(8, bool), "x")
    assert finding.text == "domain 'a', 'b', 'c', 'd', 'e' and 3 more x"


def damage(run, name, content):
    """Damages a run's file; None deletes it."""
    path = run / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "config.json is missing or damaged"),
        ("config.json", "[]", "config.json is missing or damaged"),
        ("metrics.json", "{", "metrics.json is damaged: delete it"),
        ("model.keras", "x", "model.keras can't be read"),
        ("model.keras", None, "model.keras can't be read"),
        ("schema.json", "{}", "schema.json"),
        ("schema.json", None, "schema.json"),
    ],
)
def test_a_damaged_run_is_a_problem(capsys, own_home, run, name, content, said):
    damage(run, name, content)
    status, lines = diagnosis(capsys, f"--run={run}")
    assert status == 1
    assert any(_matches(f"problem  .*{said}", line) for line in lines)


def test_a_run_of_other_data_is_a_problem(capsys, own_home, run, tmp_path):
    other = clicks.prepare(tmp_path / "other", seed=1)
    # Of other rows with the same ids: it can be evaluated on them.
    assert diagnosis(capsys, f"--run={run}", f"--data={other}")[0] == 0
    schema = json.loads((run / "schema.json").read_text())
    schema["features"][1]["vocabulary"].reverse()
    (run / "schema.json").write_text(json.dumps(schema))
    status, lines = diagnosis(capsys, f"--run={run}", f"--data={other}")
    assert status == 1
    assert any(_matches("problem  .*trained on other data", x) for x in lines)


@pytest.mark.parametrize("flag", ["-h", "--help", "--helpshort"])
def test_help_is_what_other_programs_call_it(capsys, flag):
    with pytest.raises(SystemExit) as ended:
        doctor.main([flag])
    assert ended.value.code == 0
    assert "--run RUN" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_a_problem(capsys, own_home, tmp_path):
    status, lines = diagnosis(capsys, f"--run={tmp_path / 'none'}")
    assert status == 1
    assert any("is no folder: give the --output" in line for line in lines)


def test_a_run_with_modules_of_its_own_needs_them(capsys, own_home, run):
    path = run / "config.json"
    config = json.loads(path.read_text())
    # A module that is imported anyway; none is because a file names it.
    path.write_text(json.dumps({**config, "imports": ["tests.clicks"]}))
    _, (line,) = diagnosis(capsys, f"--run={run}")
    assert _matches("warning .*add --import=tests.clicks$", line)
    given = f"--run={run}", "--import=tests.clicks"
    assert diagnosis(capsys, *given) == (0, [])
    with pytest.raises(SystemExit):
        doctor.main(["--import=nowhere.at_all"])
    assert "there is no module 'nowhere'" in capsys.readouterr().err


def test_an_unfinished_run_is_a_warning(capsys, own_home, run):
    damage(run, "metrics.json", None)
    status, (line,) = diagnosis(capsys, f"--run={run}")
    assert (status, "the same command goes on" in line) == (0, True)
    (run / "state").mkdir()
    (run / "state" / "pretrain.npz").touch()
    _, (line,) = diagnosis(capsys, f"--run={run}")
    assert "the state of pretrain" in line


def test_a_run_without_an_export_is_a_warning(capsys, own_home, run):
    (run / "serving" / "1").rmdir()
    status, (line,) = diagnosis(capsys, f"--run={run}")
    assert (status, "has no export" in line) == (0, True)


def test_a_run_of_other_versions_is_a_warning(capsys, own_home, run):
    config = json.loads((run / "config.json").read_text())
    config["provenance"]["keras"] = "3.14.0"
    damage(run, "config.json", json.dumps(config))
    status, (line,) = diagnosis(capsys, f"--run={run}")
    assert (status, "made with keras 3.14.0 (here" in line) == (0, True)


def test_weights_that_are_not_finite_are_a_problem(
    capsys, own_home, run, prepared
):
    model = build_model(data.load(prepared).schema, hidden_units=[4])
    model.weights[-1].assign(np.full(model.weights[-1].shape, np.nan))
    model.save(run / "model.keras")
    status, (line,) = diagnosis(capsys, f"--run={run}")
    assert (status, "aren't finite" in line) == (1, True)


# --- The command -------------------------------------------------------------


def command(**variables):
    """The doctor in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mlora_tf.doctor"],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_command_ends_with_status_zero():
    done = command()
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert done.stdout.endswith("warning(s)\n")
    assert "python 3" in done.stdout


@pytest.mark.skipif(
    environment.importlib.util.find_spec("jax") is not None,
    reason="jax is installed here",
)
def test_where_nothing_can_be_imported_the_command_still_says_why():
    done = command(KERAS_BACKEND="jax")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("OK       python 3")
    assert lines[-1].startswith("problem  Keras's backend is 'jax'")
    assert lines[-1].endswith("set KERAS_BACKEND=tensorflow")
    assert not [line for line in lines if "Traceback" in line]


def _matches(pattern, line):
    return re.search(pattern, line) is not None
