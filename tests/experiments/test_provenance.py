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


def test_the_cpu_is_what_its_kernels_are_chosen_by(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    flags = "flags\t\t: sse fma avx2 avx512f avx512_vnni avx2x\n"
    info.write_text("model name\t: avx_vnni\n" + flags * 2)
    monkeypatch.setattr(provenance, "CPUINFO", info)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    found = provenance.provenance()
    assert found["cpu"] == "avx2 avx512_vnni avx512f fma"
    assert found["onednn"] == "0"


def test_a_cpu_without_flags_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance.platform, "processor", lambda: "arm")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    for name, text in (("cpuinfo", "Features : asimd\n"), ("none", None)):
        if text is not None:
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(provenance, "CPUINFO", tmp_path / name)
        found = provenance.provenance()
        assert (found["cpu"], found["onednn"]) == ("arm", "default")
