import base64
import json
import logging
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf import TOWERS
from mlora_tf import build_model
from mlora_tf import golden_request
from mlora_tf import serving
from mlora_tf import serving_signatures
from mlora_tf import warm_up
from mlora_tf.adapting import adapt
from mlora_tf.layers.domain_ops import pure_batches
from mlora_tf.replies import Replies
from mlora_tf.schema import DenseFeature
from mlora_tf.schema import Schema
from mlora_tf.schema import SequenceFeature
from mlora_tf.schema import SparseFeature
from mlora_tf.serving_signatures import legal_names
from tests import goldens

ROOT = pathlib.Path(__file__).parents[1]
DIM = 3
ITEMS, BRANDS = (11, -5, 2**40), ("x", "y y", "ü")
DOMAINS = ("fr", "it", "p l")

KINDS = Schema(
    features=(
        SparseFeature("item", ITEMS),
        SparseFeature("shop", ("a", "b", "c", "d")),
        DenseFeature("price", mean=30.0, stddev=10.0),
        DenseFeature("rank", boundaries=(0.1, 1.0, 2.5)),
        SparseFeature("brand", BRANDS, vectors=5),
        SequenceFeature("brands", BRANDS, 3, table="brand", vectors=5),
        SequenceFeature("seen", ITEMS, 4, "din", target="item", table="item"),
    ),
    domain_name="country",
    domains=DOMAINS,
)
VECTORS = {
    "brand": np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
}

# As a server imports: neither is there.
ALONE = """
import importlib.machinery
import sys

finder = importlib.machinery.PathFinder


class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "mlora_tf"):
            return None
        return finder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(finder)] = Without
for name in ("keras", "mlora_tf"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} is there")
"""


def kinds_model(tower="mlora", **options):
    model = build_model(
        KINDS,
        "mlp",
        tower,
        hidden_units=[8],
        embedding_dim=DIM,
        vectors=VECTORS,
        **options,
    )
    goldens.randomize(model)
    return model


def predicted(model, rows, domain=None):
    rows = dict(rows)
    if domain is not None:
        rows["domain"] = np.full_like(rows["domain"], domain)
    return model({k: tf.constant(v) for k, v in rows.items()})["ctr"].numpy()


def ask(served, name, inputs):
    tensors = {
        key: tf.constant(values) if isinstance(values, np.ndarray) else values
        for key, values in inputs.items()
    }
    answer = served.signatures[name](**tensors)
    assert list(answer) == ["ctr"]
    return answer["ctr"].numpy()


def read(version, name):
    return json.loads((version / "assets.extra" / name).read_text("utf-8"))


def size(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def model():
    return kinds_model(norm="partitioned", auxiliary=True)


@pytest.fixture(scope="module")
def version(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "clicks"
    return serving.export(model, KINDS, folder)


@pytest.fixture(scope="module")
def served(version):
    return tf.saved_model.load(str(version))


@pytest.fixture(scope="module")
def rows():
    """Other rows than the golden ones."""
    rows = golden_request.draw(KINDS, 30)
    rng = np.random.default_rng(5)
    order = rng.permutation(30)
    return {name: column[order] for name, column in rows.items()}


# Signatures.


def test_an_export_has_every_signature(served):
    assert set(served.signatures) == {
        "serving_default",
        "raw",
        "tf_example",
        "domain_fr",
        "domain_it",
        "domain_p_l_c02b2eee",
    }


def test_mixed_rows_are_predicted_as_by_the_model(model, served, rows):
    expected = predicted(model, rows)
    assert np.ptp(expected) > 0.1
    found = ask(served, "serving_default", rows)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_raw_rows_and_examples_are_predicted_as_their_ids(model, served, rows):
    expected = predicted(model, rows)
    raw = golden_request.raw(KINDS, rows)
    np.testing.assert_allclose(ask(served, "raw", raw), expected, atol=1e-6)
    examples = golden_request.examples(KINDS, raw)
    found = ask(served, "tf_example", {"examples": examples})
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("domain", range(3))
def test_a_domains_signature_is_the_model_at_that_domain(
    domain, model, served, rows
):
    features = {k: v for k, v in rows.items() if k != "domain"}
    found = ask(
        served, f"domain_{['fr', 'it', 'p_l_c02b2eee'][domain]}", features
    )
    np.testing.assert_allclose(found, predicted(model, rows, domain), atol=1e-6)


def test_a_domains_signature_is_folded(version, served):
    for about in read(version, "export.json")["domains"].values():
        assert about["folded"]
    # It isn't asked for a domain.
    for name in ("domain_fr", "domain_it", "domain_p_l_c02b2eee"):
        (_, specs) = served.signatures[name].structured_input_signature
        assert set(specs) == {feature.name for feature in KINDS.features}


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_any_number_of_rows_is_answered(rows, served):
    inputs = golden_request.draw(KINDS, rows)
    raw = golden_request.raw(KINDS, inputs)
    features = {k: v for k, v in inputs.items() if k != "domain"}
    examples = golden_request.examples(KINDS, raw)
    words = {
        k: tf.constant(v, tf.string) if v.dtype == object else v
        for k, v in raw.items()
    }
    for name, request in (
        ("serving_default", inputs),
        ("raw", words),
        ("domain_fr", features),
        ("tf_example", {"examples": tf.constant(examples, tf.string)}),
    ):
        assert ask(served, name, request).shape == (rows, 1)


def test_an_unknown_domain_is_refused(served):
    inputs = golden_request.draw(KINDS, 2)
    raw = golden_request.raw(KINDS, inputs)
    raw["domain"] = np.array(["fr", "es"], object)
    message = r"domain must be one of .*'fr.*, .*'p l.*Received:\] \[es\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(served, "raw", raw)
    examples = golden_request.examples(KINDS, raw)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(served, "tf_example", {"examples": examples})
    inputs["domain"][1] = 3
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0, 3\)"):
        ask(served, "serving_default", inputs)


@pytest.mark.slow
def test_only_the_domains_asked_for_have_a_signature(tmp_path):
    golden = goldens.MODELS["mlp-mlora"].make()
    for domains, expected in (((), set()), (["pl"], {"domain_pl"})):
        path = serving.export(golden, goldens.SCHEMA, tmp_path, domains=domains)
        names = set(tf.saved_model.load(str(path)).signatures)
        assert names - {"serving_default", "raw", "tf_example"} == expected


def test_of_many_domains_none_has_a_signature_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "MOST_DOMAINS", 2)
    golden = goldens.MODELS["mlp-mlora"].make()
    path = serving.export(golden, goldens.SCHEMA, tmp_path)
    assert read(path, "export.json")["domains"] == {}


def test_names_of_signatures_are_legal_and_differ():
    names = legal_names(["fr", "a b", "a-b", "a_b", "日本", "", "A b"])
    assert list(names.values()) == [
        "domain_fr",
        "domain_a_b_c8687a08",
        "domain_a_b_d44362d6",
        "domain_a_b",
        "domain____cf2abf0c",
        "domain_",
        "domain_A_b_a760b0e1",
    ]


def test_a_signatures_name_depends_on_its_domain_alone():
    many = legal_names(["中国", "日本", "a-b", "a b", "fr"])
    for domain, name in many.items():
        assert legal_names([domain]) == {domain: name}


def test_two_domains_never_share_a_signature():
    name = legal_names(["a b"])["a b"].removeprefix("domain_")
    with pytest.raises(ValueError, match=f"'domain_{name}': rename one.*'a b'"):
        legal_names(["a b", name])


def test_what_cannot_be_folded_is_served_whole_and_says_why(
    tmp_path, monkeypatch, caplog
):
    def refuse(model, name, **options):
        raise ValueError(f"no folding {name}")

    monkeypatch.setattr(serving_signatures, "merge_domain", refuse)
    golden = goldens.MODELS["mlp-mlora"].make()
    with caplog.at_level(logging.WARNING):
        path = serving.export(golden, goldens.SCHEMA, tmp_path)
    assert "'it' isn't folded: no folding it" in caplog.text
    about = read(path, "export.json")["domains"]["domain_it"]
    assert about == {
        "domain": "it",
        "folded": False,
        "why_not": "no folding it",
    }
    inputs = goldens.rows_of()
    features = {k: v for k, v in inputs.items() if k != "domain"}
    found = ask(tf.saved_model.load(str(path)), "domain_it", features)
    np.testing.assert_allclose(found, predicted(golden, inputs, 1), atol=1e-6)


def test_a_domain_that_is_named_must_be_folded(tmp_path, monkeypatch):
    def refuse(model, name, **options):
        raise ValueError(f"no folding {name}")

    monkeypatch.setattr(serving_signatures, "merge_domain", refuse)
    golden = goldens.MODELS["mlp-mlora"].make()
    with pytest.raises(ValueError, match="'it' can't be folded: no folding it"):
        serving.export(golden, goldens.SCHEMA, tmp_path, domains=["it"])
    assert not list(tmp_path.iterdir())


# What is on disk.


def test_tables_are_stored_once_for_all_signatures(tmp_path):
    schema = Schema(
        (SparseFeature("item", tuple(range(20_000))),), "country", DOMAINS
    )
    model = build_model(schema, "mlp", "mlora", hidden_units=[8])
    goldens.randomize(model)
    table = 20_001 * 8 * 4
    sizes = {}
    for domains in ((), DOMAINS):
        path = serving.export(
            model, schema, tmp_path / f"{len(domains)}", domains=domains
        )
        sizes[len(domains)] = size(path / "variables")
    assert table < sizes[0] < 1.1 * table
    # Three domains' folded kernels, and no table more.
    assert sizes[3] - sizes[0] < 0.05 * table


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
def test_narrow_weights_are_half_as_large(weights, tmp_path, rows):
    schema = Schema(
        (SparseFeature("item", tuple(range(5000))),), "country", DOMAINS
    )
    model = build_model(schema, "mlp", "mlora", hidden_units=[64])
    goldens.randomize(model)
    folder = tmp_path / "narrow"
    narrow = serving.export(model, schema, folder, weights=weights, domains=())
    wide = serving.export(model, schema, tmp_path / "wide", domains=())
    ratio = size(narrow / "variables") / size(wide / "variables")
    assert 0.5 <= ratio < 0.55
    about = read(narrow, "export.json")
    assert about["weights"] == weights
    inputs = golden_request.draw(schema, 200)
    found = ask(tf.saved_model.load(str(narrow)), "serving_default", inputs)
    difference = np.abs(found - predicted(model, inputs)).max()
    assert 0 < difference < 0.02
    assert 0 < about["difference_to_the_model"]["raw"] < 0.02


def test_the_folder_says_what_it_is(version, model):
    extra = version / "assets.extra"
    assert Schema.load(extra / "schema.json") == KINDS
    about = read(version, "export.json")
    assert about["weights"] == "float32"
    assert about["tensorflow"] == tf.__version__
    assert "experiments.verify_export" in (extra / "README.md").read_text()
    assert about["padding"] == {"brands": "", "seen": -1}
    assert about["domains"]["domain_p_l_c02b2eee"]["domain"] == "p l"
    assert max(about["difference_to_the_model"].values()) <= 1e-6
    assert not list((version / "assets").iterdir())


def test_warm_up_asks_every_signature(version, served):
    path = version / "assets.extra" / warm_up.FILE
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    assert len(records) == len(served.signatures)
    for name in served.signatures:
        assert sum(f"\x1a{chr(len(name))}{name}".encode() in r for r in records)
    assert all(b"\n\x06clicks" in record for record in records)


def test_the_golden_request_has_every_signature(version, served, model):
    requests = read(version, "golden.json")["requests"]
    assert {one["signature"] for one in requests} == set(served.signatures)
    (mixed,) = (r for r in requests if r["signature"] == "serving_default")
    drawn = golden_request.draw(KINDS)
    for name, column in drawn.items():
        assert mixed["inputs"][name] == column.tolist()
    np.testing.assert_allclose(
        mixed["outputs"]["ctr"], predicted(model, drawn), atol=1e-6
    )


def test_the_golden_request_may_be_ones_own(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    rows = goldens.rows_of(rows=5)
    path = serving.export(
        model, goldens.SCHEMA, tmp_path, golden=rows, domains=["it"]
    )
    for request in read(path, "golden.json")["requests"]:
        assert len(request["outputs"]["ctr"]) == 5
        if request["signature"] == "domain_it":
            assert set(request["inputs"]) == {"item", "shop"}
            np.testing.assert_allclose(
                request["outputs"]["ctr"], predicted(model, rows, 1), atol=1e-6
            )


def test_the_golden_request_must_have_every_input(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    rows = goldens.rows_of()
    del rows["shop"]
    with pytest.raises(ValueError, match=r"'shop'.*: \['domain', 'item'\]"):
        serving.export(model, goldens.SCHEMA, tmp_path, golden=rows)


def test_the_golden_request_may_be_of_other_types(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    rows = {k: v.astype("int64") for k, v in goldens.rows_of(rows=2).items()}
    path = serving.export(
        model, goldens.SCHEMA, tmp_path, golden=rows, domains=()
    )
    requests = read(path, "golden.json")["requests"]
    assert {len(one["outputs"]["ctr"]) for one in requests} == {2}


# With TensorFlow alone.


def verify(version, *before):
    """Replays the golden request in a process of its own."""
    script = ROOT / "experiments" / "verify_export.py"
    code = "\n".join(
        [
            *before,
            "import runpy",
            f"sys.argv = ['verify', '--export={version}']",
            f"runpy.run_path({str(script)!r}, run_name='__main__')",
        ]
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )


def test_it_runs_without_keras_and_mlora_tf(version):
    finished = verify(version, ALONE)
    assert finished.returncode == 0, finished.stderr
    assert re.search("largest difference .*e", finished.stdout)
    for name in ("serving_default", "raw", "tf_example", "domain_p_l_c02b2eee"):
        assert re.search(f"^{name} ", finished.stdout, re.M)


@pytest.mark.slow
def test_it_runs_in_a_session_as_in_a_server(version):
    # TensorFlow Serving restores the variables, fills the vocabularies and
    # feeds and fetches tensors by the names in the signatures.
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        loaded = v1.saved_model.load(session, ["serve"], str(version))
        for request in read(version, "golden.json")["requests"]:
            signature = loaded.signature_def[request["signature"]]
            fed = {
                signature.inputs[name].name: values
                for name, values in request["inputs"].items()
            }
            if request["signature"] == "tf_example":
                ((name, values),) = fed.items()
                fed = {name: [base64.b64decode(v["b64"]) for v in values]}
            found = session.run(signature.outputs["ctr"].name, fed)
            np.testing.assert_allclose(
                found, request["outputs"]["ctr"], atol=1e-6
            )


@pytest.mark.slow
def test_it_runs_where_tensorflow_alone_is_installed(version, tmp_path):
    """In a new virtual environment, from which Keras is taken away again."""
    environment = tmp_path / "venv"
    python = environment / "bin" / "python"
    pip = [python, "-m", "pip", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", environment],
        [*pip, "install", f"tensorflow=={tf.__version__}"],
        [*pip, "uninstall", "--yes", "keras"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    for missing in ("keras", "mlora_tf"):
        command = [python, "-c", f"import {missing}"]
        assert subprocess.run(command, capture_output=True).returncode
    finished = subprocess.run(
        [
            python,
            ROOT / "experiments" / "verify_export.py",
            f"--export={version}",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert "largest difference" in finished.stdout


# The model that is exported.


def test_the_model_stays_as_it_was(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    before = predicted(model, goldens.rows_of())
    paths = [weight.path for weight in model.weights]
    serving.export(model, goldens.SCHEMA, tmp_path)
    assert [weight.path for weight in model.weights] == paths
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        np.testing.assert_array_equal(predicted(one, goldens.rows_of()), before)


@pytest.mark.slow
def test_a_model_in_training_on_replicas_is_exported(tmp_path, two_replicas):
    with two_replicas.scope():
        model = goldens.MODELS["mlp-mlora"].make()
        model.compile("adam", {"ctr": "binary_crossentropy"})
    inputs = goldens.rows_of()
    data = tf.data.Dataset.from_tensors((inputs, np.ones((12, 1), "float32")))
    model.fit(data, shuffle=False, verbose=0)
    path = serving.export(model, goldens.SCHEMA, tmp_path, domains=["it"])
    found = ask(tf.saved_model.load(str(path)), "serving_default", inputs)
    np.testing.assert_allclose(found, predicted(model, inputs), atol=1e-6)


@pytest.mark.parametrize("tower", TOWERS)
def test_an_export_has_the_models_gradients(tower, tmp_path):
    """As whoever explains a prediction takes them, of what others trained."""
    schema = Schema((DenseFeature("price"),), "country", DOMAINS)
    model = build_model(schema, "mlp", tower, hidden_units=[8])
    goldens.randomize(model)
    rows = golden_request.draw(schema, 8)
    model.export(tmp_path, verbose=False)
    served = tf.saved_model.load(str(tmp_path))

    def gradients(call):
        tensors = {name: tf.constant(column) for name, column in rows.items()}
        with tf.GradientTape() as tape:
            tape.watch(tensors["price"])
            predicted = call(tensors)["ctr"]
        return tape.gradient(predicted, tensors["price"]).numpy()

    expected = gradients(model)
    assert np.count_nonzero(expected) == 8
    found = gradients(served.serve)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_a_model_of_half_precision_is_exported_as_it_computes(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model(
            goldens.SCHEMA, "mlp", "mlora", hidden_units=[8], embedding_dim=DIM
        )
    finally:
        keras.config.set_dtype_policy("float32")
    goldens.randomize(model)
    path = serving.export(model, goldens.SCHEMA, tmp_path)
    inputs = goldens.rows_of()
    served = tf.saved_model.load(str(path))
    # REST writes no halves.
    for signature in served.signatures.values():
        assert signature.structured_outputs["ctr"].dtype == tf.float32
    found = ask(served, "serving_default", inputs)
    expected = predicted(model, inputs).astype("float32")
    # A graph may round a product and its bias once, where eager does it twice.
    np.testing.assert_allclose(found, expected, atol=0.005)
    # Folded, it rounds in other places.
    del inputs["domain"]
    expected = predicted(model, {**inputs, "domain": np.full(12, 1)})
    found = ask(served, "domain_it", inputs)
    np.testing.assert_allclose(found, expected.astype("float32"), atol=0.02)


def test_a_model_of_another_schema_is_refused(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    names = r"\('item', .*, 'domain'\).*Received: {.*'shop'"
    with pytest.raises(ValueError, match=names):
        serving.export(model, KINDS, tmp_path)
    swapped = Schema(goldens.SCHEMA.features, "country", ("it", "fr", "pl"))
    with pytest.raises(ValueError, match=r"in their order: .*'fr', 'it', 'pl'"):
        serving.export(model, swapped, tmp_path)
    smaller = Schema(
        (goldens.SCHEMA.features[0], SparseFeature("shop", ("a",))),
        "country",
        goldens.SCHEMA.domains,
    )
    with pytest.raises(ValueError, match=r"'shop' must have .* 4 ids.*: 2$"):
        serving.export(model, smaller, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("shape", "dtype", "received"),
    [((), "int64", r"\(\(None,\), 'int64'\)"), ((1,), "int32", "None, 1")],
)
def test_inputs_of_another_type_or_shape_are_refused(
    shape, dtype, received, tmp_path
):
    inputs = {
        name: keras.Input((), dtype="int32", name=name)
        for name in ("item", "domain")
    }
    inputs["shop"] = keras.Input(shape, dtype=dtype, name="shop")
    embedded = keras.layers.Embedding(8, 1)(inputs["item"])
    model = keras.Model(inputs, {"ctr": embedded})
    message = rf"'shop' .*\(\(None,\), 'int32'\)\. Received: .*{received}"
    with pytest.raises(ValueError, match=message):
        serving.export(model, goldens.SCHEMA, tmp_path)


def test_a_model_that_makes_nothing_of_domains_is_exported(tmp_path, caplog):
    model = build_model(
        goldens.SCHEMA, hidden_units=[8], embedding_dim=DIM, domain_field=False
    )
    goldens.randomize(model)
    path = serving.export(model, goldens.SCHEMA, tmp_path)
    assert "folded" not in caplog.text
    for about in read(path, "export.json")["domains"].values():
        assert about["folded"] is False
        assert about["why_not"] == "the model makes nothing of domains"
    # Nor is it a fault of domains that are named.
    serving.export(model, goldens.SCHEMA, tmp_path, domains=["it"])
    inputs = goldens.rows_of()
    expected = predicted(model, inputs)
    served = tf.saved_model.load(str(path))
    found = ask(served, "serving_default", inputs)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    del inputs["domain"]
    found = ask(served, "domain_it", inputs)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_foreign_model_with_a_use_of_its_own_for_domains_is_exported(
    tmp_path, caplog
):
    inputs = {
        name: keras.Input((), dtype="int32", name=name)
        for name in ("item", "shop", "domain")
    }
    embedded = keras.layers.Add()(
        [keras.layers.Embedding(8, DIM)(column) for column in inputs.values()]
    )
    ctr = keras.layers.Dense(1, "sigmoid")(embedded)
    model = keras.Model(inputs, {"ctr": ctr})
    goldens.randomize(model)
    path = serving.export(model, goldens.SCHEMA, tmp_path)
    assert "'it' isn't folded" in caplog.text
    rows = goldens.rows_of()
    features = {k: v for k, v in rows.items() if k != "domain"}
    found = ask(tf.saved_model.load(str(path)), "domain_it", features)
    np.testing.assert_allclose(found, predicted(model, rows, 1), atol=1e-6)


def test_a_foreign_model_that_was_adapted_is_exported(tmp_path):
    ids = {
        feature.name: keras.Input((), dtype="int32", name=feature.name)
        for feature in goldens.SCHEMA.features
    }
    embedded = [
        keras.layers.Embedding(8, DIM)(column) for column in ids.values()
    ]
    hidden = keras.layers.Dense(8, "relu")(keras.layers.Add()(embedded))
    ctr = keras.layers.Dense(1, "sigmoid")(hidden)
    model = adapt(keras.Model(ids, {"ctr": ctr}), goldens.SCHEMA.domains)
    goldens.randomize(model)
    path = serving.export(
        model, goldens.SCHEMA, tmp_path, weights="bfloat16", domains=["it"]
    )
    assert read(path, "export.json")["domains"]["domain_it"]["folded"]
    inputs = goldens.rows_of()
    served = tf.saved_model.load(str(path))
    found = ask(served, "serving_default", inputs)
    np.testing.assert_allclose(found, predicted(model, inputs), atol=0.01)


def test_an_unknown_domain_or_type_is_refused(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    with pytest.raises(ValueError, match=r"among .*Received: \['es'\]"):
        serving.export(model, goldens.SCHEMA, tmp_path, domains=["fr", "es"])
    with pytest.raises(ValueError, match="Received: weights='int8'"):
        serving.export(model, goldens.SCHEMA, tmp_path, weights="int8")
    assert not list(tmp_path.iterdir())


def test_a_model_whose_output_has_no_name_is_refused(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    nameless = keras.Model(model.input, model.output["ctr"])
    with pytest.raises(ValueError, match="outputs must be a dict"):
        serving.export(nameless, goldens.SCHEMA, tmp_path)


def test_a_model_that_is_not_finite_is_refused(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    weight = model.weights[-1]
    weight.assign(weight.numpy() * np.nan)
    with pytest.raises(ValueError, match=f"'{weight.path}' must be finite"):
        serving.export(model, goldens.SCHEMA, tmp_path)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "float16"])
def test_a_wrong_fold_is_not_exported(weights, tmp_path, monkeypatch):
    other = goldens.MODELS["mlp-mlora"].make(seed=1)
    merge = serving_signatures.merge_domain
    monkeypatch.setattr(
        serving_signatures,
        "merge_domain",
        lambda model, name, **options: merge(other, name, **options),
    )
    model = goldens.MODELS["mlp-mlora"].make()
    with pytest.raises(ValueError, match="'domain_fr' must predict what the"):
        serving.export(model, goldens.SCHEMA, tmp_path, weights=weights)
    assert not list(tmp_path.iterdir())


def test_answers_are_checked_in_full_precision(tmp_path, monkeypatch):
    is_rounded = tf.config.experimental.tensor_float_32_execution_enabled
    seen = []

    class Watched(Replies):
        def __init__(self, *arguments):
            seen.append(is_rounded())
            super().__init__(*arguments)

        def differences(self, model):
            seen.append(is_rounded())
            return super().differences(model)

    monkeypatch.setattr(serving, "Replies", Watched)
    model = goldens.MODELS["mlp-mlora"].make()
    assert is_rounded()
    serving.export(model, goldens.SCHEMA, tmp_path, domains=())
    assert seen == [False, False]
    assert is_rounded()


def test_an_export_is_for_any_batch_wherever_it_is_made(tmp_path):
    model = goldens.MODELS["mlp-mlora"].make()
    with pure_batches():
        path = serving.export(model, goldens.SCHEMA, tmp_path, domains=())
    inputs = goldens.rows_of()
    found = ask(tf.saved_model.load(str(path)), "serving_default", inputs)
    np.testing.assert_allclose(found, predicted(model, inputs), atol=1e-6)


def test_an_export_that_fails_leaves_the_versions_there(tmp_path, monkeypatch):
    model = goldens.MODELS["mlp-mlora"].make()
    serving.export(model, goldens.SCHEMA, tmp_path, domains=())

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.warm_up, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        serving.export(model, goldens.SCHEMA, tmp_path, domains=())
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
