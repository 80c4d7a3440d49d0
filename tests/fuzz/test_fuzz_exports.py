"""The recorded requests of an export, changed at random, then replayed."""

import contextlib
import json

import pytest
from hypothesis import given
from limits import bounded
from limits import examples
from mutations import changed_json

from experiments import verify_export
from mlora_tf import build_model
from mlora_tf import serving
from tests import goldens


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A version of a small model."""
    folder = tmp_path_factory.mktemp("a") / "b" / "c" / "served"
    model = build_model(goldens.SCHEMA, backbone="mlp", hidden_units=(4,))
    return serving.export(model, goldens.SCHEMA, folder, domains=())


@pytest.mark.slow
def test_recorded_requests(exported):
    golden = exported / "assets.extra" / "golden.json"
    content = json.loads(golden.read_text())
    top = exported.parents[3]
    before = {*top.rglob("*")}
    assert max(verify_export.replay(exported).values()) < 1e-5

    @examples(60)
    @given(changed_json(content))
    def check(text):
        golden.write_bytes(text)
        # TensorFlow has threads of its own, whose memory isn't bounded here.
        # The binary ends in the first line of whatever is raised.
        with (
            bounded(seconds=60, size=64 << 30),
            contextlib.suppress(Exception),
        ):
            verify_export.replay(exported)
        assert {*top.rglob("*")} == before

    check()
