from experiments.summary import summary
from mlora_tf.evaluation import evaluate


def test_a_domain_without_rows_has_a_line():
    found = evaluate([0, 1, 1], [0.2, 0.9, 0.4], [0, 0, 0], ("日本", "fr"))
    _, first, second, overall, _ = summary(found.to_dict()).splitlines()
    assert first.split() == ["日本", "3", "66.67%", "100.000", "0.750"]
    assert second.split() == ["fr", "0", "-", "-", "-"]
    assert "WAUC 100.000, macro AUC 100.000" in overall
