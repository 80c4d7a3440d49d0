import pathlib

from experiments import run_folder
from experiments.run_readme import readme


def test_it_has_the_command_and_what_is_next():
    config = {"recipe": {"backbone": "deepfm", "tower": "star"}}
    program = ["/usr/bin/python3", "-m", "experiments.train", "--data=my data"]
    text = readme(pathlib.Path("runs/my run"), config, program)
    assert text.startswith("# deepfm with the tower star\n")
    assert "\n    python -m experiments.train '--data=my data'\n" in text
    assert "\n    python -m mlora_tf.doctor --run='runs/my run'\n" in text


def test_a_run_has_it_beside_its_configuration(tmp_path):
    recipe = {"backbone": "mlp", "tower": "mlora"}
    run_folder.claim(tmp_path, {"recipe": recipe})
    assert (tmp_path / "config.json").is_file()
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# mlp with the tower mlora\n")
