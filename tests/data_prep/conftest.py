import pytest
from absl import logging


@pytest.fixture
def warnings(monkeypatch):
    """What was warned of, but for the AUC of splits of a few rows."""
    lines = []

    def warn(text, *values):
        if not text.startswith("%s: no AUC"):
            lines.append(text % values)

    monkeypatch.setattr(logging, "warning", warn)
    return lines
