"""A run's folder is one run's: another one is told what differs."""

import json

import pytest

from experiments import run_folder
from experiments.errors import RunError
from mlora_tf.recipes import Recipe


def config(data="f" * 64, **changes):
    return {"recipe": Recipe(**changes).to_dict(), "data": data, "replicas": 1}


def begun(folder, **changes):
    """A folder whose run has saved a state."""
    run_folder.claim(folder, config(**changes))
    (folder / "state").mkdir()
    (folder / "state" / "joint.npz").touch()


def test_the_same_run_goes_on(tmp_path):
    begun(tmp_path, dropout=0.2)
    before = (tmp_path / "config.json").read_bytes()
    run_folder.claim(tmp_path, config(dropout=0.2))
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_run_that_has_saved_nothing_yet_makes_room(tmp_path):
    run_folder.claim(tmp_path, config(dropout=0.2))
    run_folder.claim(tmp_path, config(dropout=0.5))
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["recipe"]["dropout"] == 0.5


def test_another_run_is_told_each_difference_with_both_values(tmp_path):
    begun(tmp_path, dropout=0.2)
    with pytest.raises(RunError) as error:
        run_folder.claim(
            tmp_path, config(data="0" * 64, dropout=0.5, tower="shared")
        )
    text = str(error.value)
    assert f"{tmp_path} holds another run, which differs in --data" in text
    assert "'ffff" in text
    assert "here '0000" in text
    assert "--dropout (there 0.2, here 0.5)" in text
    assert "--tower (there 'mlora', here 'shared')" in text
    assert "replicas" not in text
    assert "go on with the flags it had" in text


def test_other_data_are_told_by_their_folders(tmp_path):
    origins = [{"data": name, "sources": []} for name in ("data/a", "data/b")]
    run_folder.claim(tmp_path, config(), origins[0])
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "joint.npz").touch()
    # The same data elsewhere are the same.
    run_folder.claim(tmp_path, config(), origins[1])
    with pytest.raises(RunError) as error:
        run_folder.claim(tmp_path, config(data="0" * 64), origins[1])
    said = "differs in --data (there 'data/a', here 'data/b'): choose"
    assert said in str(error.value)
    # Other rows in the same folder: its name would tell nothing.
    with pytest.raises(RunError, match=r"--data \(there 'ffff"):
        run_folder.claim(tmp_path, config(data="0" * 64), origins[0])


@pytest.mark.parametrize("first", ["train", "add_domain"])
def test_a_run_of_another_program_is_told_so(tmp_path, first):
    added = {**config(), "new_domain": "paris", "run": "runs/a", "model": "f"}
    configs = {"train": config(), "add_domain": added}
    one = configs.pop(first)
    run_folder.claim(tmp_path, one)
    (tmp_path / "metrics.json").touch()
    run_folder.claim(tmp_path, one)
    (other,) = configs.values()
    with pytest.raises(RunError, match=f"a run of experiments.{first}: choose"):
        run_folder.claim(tmp_path, other)


@pytest.mark.parametrize("began", [False, True])
def test_what_never_began_is_taken_back(tmp_path, began):
    run_folder.claim(tmp_path, config())
    (tmp_path / "state").mkdir()
    if began:
        (tmp_path / "state" / "joint.npz").touch()
    run_folder.withdraw(tmp_path)
    for name in ("config.json", "README.md"):
        assert (tmp_path / name).exists() == began
    # Another command finds it as it was.
    assert [*tmp_path.iterdir()] == [] or began
    if not began:
        with run_folder.held(tmp_path):
            run_folder.claim(tmp_path, config(dropout=0.5))


def test_somebodys_config_and_notes_are_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    (tmp_path / "README.md").write_text("# My notes")
    with (
        run_folder.held(tmp_path),
        pytest.raises(RunError, match=r"config.json is no run's: choose"),
    ):
        run_folder.claim(tmp_path, config())
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'
    assert (tmp_path / "README.md").read_text() == "# My notes"


def test_what_is_no_flag_is_told_in_words(tmp_path):
    begun(tmp_path)
    with pytest.raises(RunError) as error:
        run_folder.claim(
            tmp_path, {**config(), "imports": ["shop"], "workers": 2}
        )
    assert "--import (there None, here ['shop'])" in str(error.value)
    assert "the number of workers (there None, here 2)" in str(error.value)


def test_what_only_the_run_there_has_is_told_too(tmp_path):
    more = {"imports": ["shop"], "workers": 2}
    begun(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**saved, **more}))
    with pytest.raises(RunError) as error:
        run_folder.claim(tmp_path, config())
    assert "--import (there ['shop'], here None)" in str(error.value)
    assert "the number of workers (there 2, here None)" in str(error.value)


def test_a_long_value_is_cut(tmp_path):
    begun(tmp_path, hidden_units=(8,) * 1000)
    with pytest.raises(RunError) as error:
        run_folder.claim(tmp_path, config())
    assert len(str(error.value)) < 600 + len(str(tmp_path))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_run_of_an_older_version_had_the_defaults(tmp_path, value):
    begun(tmp_path)
    path = tmp_path / "config.json"
    saved = json.loads(path.read_text())
    del saved["recipe"]["rank_power"]
    path.write_text(json.dumps(saved))
    if not value:
        run_folder.claim(tmp_path, config(rank_power=value))
        return
    with pytest.raises(RunError, match=r"rank_power \(there 0.0, here 0.5\)"):
        run_folder.claim(tmp_path, config(rank_power=value))


def test_a_damaged_config_is_named(tmp_path):
    begun(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config.json is damaged"):
        run_folder.claim(tmp_path, config())


def test_files_name_things_as_people_write_them(tmp_path):
    path = tmp_path / "metrics.json"
    run_folder.write_json(path, {"文具店": "caf\udce9"})
    assert "文具店" in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8")) == {"文具店": "caf\udce9"}
