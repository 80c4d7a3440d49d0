import subprocess

import pytest

from experiments import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit of a command and a result."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    results = tmp_path / "experiments" / "results"
    results.mkdir(parents=True)
    (tmp_path / "command.py").write_text("1")
    (results / "result.json").write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    git(tmp_path, *identity, "commit", "-qm", "first")
    return tmp_path


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def test_a_commit_says_whether_its_commands_have_changed(checkout):
    clean = provenance.provenance()["commit"]
    assert len(clean) == 40
    (checkout / "experiments" / "results" / "result.json").write_text("2")
    assert provenance.provenance()["commit"] == clean
    (checkout / "command.py").write_text("2")
    assert provenance.provenance()["commit"] == f"{clean}+changes"


def test_without_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.provenance()["commit"] is None
