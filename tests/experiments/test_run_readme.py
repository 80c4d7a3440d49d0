import pathlib

from experiments import run_folder
from experiments.run_readme import export_command
from experiments.run_readme import readme


def test_it_has_the_command_and_what_is_next():
    config = {"recipe": {"backbone": "deepfm", "tower": "star"}}
    program = ["/usr/bin/python3", "-m", "experiments.train", "--data=my data"]
    text = readme(pathlib.Path("runs/my run"), config, program)
    assert text.startswith("# deepfm with the tower star\n")
    assert "\n    python -m experiments.train '--data=my data'\n" in text
    assert "\n    python -m mlora_tf.doctor '--run=runs/my run'\n" in text
    # A folder of versions for each model that is served, as in the documents.
    export = "--run=runs/my run' '--output=served/my run'"
    assert f"\n    python -m experiments.export '{export}\n" in text


def test_its_commands_import_what_the_run_did():
    config = {
        "recipe": {"backbone": "mlp", "tower": "mine"},
        "imports": ["my_shop.towers", "my_shop.layers"],
    }
    text = readme(pathlib.Path("runs/a"), config, ["python"])
    flag = " --import=my_shop.towers,my_shop.layers\n"
    assert f"experiments.export --run=runs/a --output=served/a{flag}" in text
    assert f"mlora_tf.doctor --run=runs/a{flag}" in text


def test_a_folder_without_a_name_is_exported_under_its_own(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command = export_command(pathlib.Path("."))
    assert command.endswith(f" --output=served/{tmp_path.name}")


def test_a_run_has_it_beside_its_configuration(tmp_path):
    recipe = {"backbone": "mlp", "tower": "mlora"}
    run_folder.claim(tmp_path, {"recipe": recipe})
    assert (tmp_path / "config.json").is_file()
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# mlp with the tower mlora\n")
