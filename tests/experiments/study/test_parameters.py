"""What a domain adds: counted on built models, and by hand for the MLP."""

import json

from experiments import mlora_parameters
from tests import own_flags


def test_an_mlps_adapters_are_counted_as_by_hand():
    (unlimited, limited) = (
        mlora_parameters.counted(recipe)
        for recipe in mlora_parameters.recipes()[:2]
    )
    # Two fields of width 8 into 256, 128, 64: ranks 16, 8, 4 and the biases.
    layers = ((16, 256, 16), (256, 128, 8), (128, 64, 4))
    own = sum((i + o) * r + o for i, o, r in layers)
    dense = sum(i * o + o for i, o, _ in layers) + 64 + 1
    assert unlimited["dense"] == dense
    assert unlimited["per_domain"] == own
    assert unlimited["parameters"] == [
        dense + domains * own for domains in mlora_parameters.DOMAINS
    ]
    assert limited["dense"] == dense
    biases = 256 + 128 + 64
    assert limited["per_domain"] <= 3 * mlora_parameters.LIMIT + biases
    assert limited["per_domain"] > biases
    assert limited["flops_ratio"] < unlimited["flops_ratio"] < 1.25


def test_the_command_writes_table_and_figure(tmp_path, monkeypatch):
    some = mlora_parameters.recipes()
    monkeypatch.setattr(
        mlora_parameters, "recipes", lambda: [some[0], some[-1]]
    )
    given = (f"--output={tmp_path}",)
    with own_flags.given(mlora_parameters.define_flags, *given):
        mlora_parameters.main()
    content = json.loads((tmp_path / "mlora_parameters.json").read_text())
    names = [(one["backbone"], one["name"]) for one in content["rows"]]
    assert names == [("mlp", "mlora"), ("mlp", "shared_bottom")]
    assert content["rows"][1]["share"] == 1
    text = (tmp_path / "mlora_parameters.md").read_text()
    assert "| mlp | shared_bottom | 45,569 | 45,569 | 100.0 |" in text
    assert (tmp_path / "mlora_parameters.png").read_bytes()[:4] == b"\x89PNG"
