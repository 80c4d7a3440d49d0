import io
import json
import os
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from mlora_tf import adapter_file
from mlora_tf.adapters import backbone_fingerprint
from mlora_tf.adapters import load_adapters
from mlora_tf.adapters import save_adapters
from mlora_tf.adapting import adapt
from mlora_tf.domains import add_domain
from mlora_tf.domains import rename_domain
from mlora_tf.fine_tuning import train_only
from mlora_tf.layers import DomainIds
from mlora_tf.layers import MLoRADense
from mlora_tf.transform import domain_variables
from mlora_tf.transform import initialize_from
from mlora_tf.version import __version__
from tests import goldens

NAMES = ("fr", "it", "pl")


def model_of(tower="mlora", seed=0, **changes):
    golden = goldens.ModelGolden("deepfm", tower)
    return golden.make(
        seed, **{"hidden_units": (4,), "norm": "partitioned", **changes}
    )


def own_paths(model):
    """Paths of the weights with a slice for each domain."""
    return {
        path
        for path in goldens.arrays(model)
        if path.partition("/")[2] in OWN or ".domain/" in path
    }


OWN = {
    *("lora_kernel_a", "lora_kernel_b", "lora_bias"),
    *("domain_kernel", "domain_bias", "domain_gamma", "domain_beta"),
    *("moving_mean", "moving_variance", "num_updates"),
}


def twin_of(model, tower="mlora", **changes):
    """The same backbone with other adapters."""
    twin = model_of(tower, seed=5, **changes)
    own = own_paths(model)
    places = {weight.path: weight for weight in twin.weights}
    for path, value in goldens.arrays(model).items():
        if path not in own:
            places[path].assign(value)
    return twin


def check_loaded(model, before, source, places):
    """Holds a model to what was loaded: its domain of each in the source."""
    own, found = own_paths(model), 0
    for path, value in goldens.arrays(model).items():
        expected = before[path].copy()
        if path in own:
            for there, here in places.items():
                expected[here] = source[path][there]
            found += 1
        np.testing.assert_array_equal(value, expected, err_msg=path)
    assert found == len(own) > 0


# --- Saving and loading ------------------------------------------------------


@pytest.mark.parametrize(
    "tower", ["shared", "mlora", "star", "mmoe", "ple", "shared_bottom"]
)
def test_all_domains_come_back_to_the_bit(tower, tmp_path):
    model = model_of(tower, auxiliary=True)
    twin = twin_of(model, tower, auxiliary=True)
    before = goldens.arrays(twin)
    save_adapters(model, tmp_path / "all.npz")
    assert load_adapters(twin, tmp_path / "all.npz") == NAMES
    places = {0: 0, 1: 1, 2: 2}
    check_loaded(twin, before, goldens.arrays(model), places)
    inputs = goldens.rows_of()
    np.testing.assert_array_equal(twin(inputs)["ctr"], model(inputs)["ctr"])


def test_the_file_may_hold_some_domains(tmp_path):
    model, path = model_of(), tmp_path / "two.npz"
    save_adapters(model, path, ["pl", "fr"])
    assert adapter_file.read(path).domains == ("pl", "fr")
    twin = twin_of(model)
    before = goldens.arrays(twin)
    assert load_adapters(twin, path) == ("pl", "fr")
    check_loaded(twin, before, goldens.arrays(model), {2: 2, 0: 0})


def test_some_of_a_files_domains_may_be_loaded(tmp_path):
    model, path = model_of(), tmp_path / "all.npz"
    save_adapters(model, path)
    twin = twin_of(model)
    before = goldens.arrays(twin)
    assert load_adapters(twin, path, ["it"]) == ("it",)
    check_loaded(twin, before, goldens.arrays(model), {1: 1})


def test_domains_may_have_other_names_in_the_model(tmp_path):
    model, path = model_of(), tmp_path / "all.npz"
    save_adapters(model, path)
    twin = twin_of(model)
    before = goldens.arrays(twin)
    assert load_adapters(twin, path, {"it": "fr", "fr": "it"}) == ("fr", "it")
    check_loaded(twin, before, goldens.arrays(model), {1: 0, 0: 1})


def test_a_domain_finds_its_way_into_a_model_that_had_none(tmp_path):
    model, path = model_of(), tmp_path / "de.npz"
    taught = add_domain(model, "de", "pl")
    save_adapters(taught, path, ["de"])
    # The backbone is the same: what isn't per domain.
    fresh = add_domain(add_domain(model, "es"), "de")
    before = goldens.arrays(fresh)
    assert load_adapters(fresh, path) == ("de",)
    check_loaded(fresh, before, goldens.arrays(taught), {3: 4})


def test_trained_adapters_leave_the_backbone_as_it_was(tmp_path):
    model, path = model_of(), tmp_path / "it.npz"
    first = backbone_fingerprint(model)
    train_only(model, "it")
    model.compile("adam", {"ctr": "binary_crossentropy"}, run_eagerly=True)
    labels = {"ctr": goldens.labels()}
    model.fit(goldens.rows_of(1), labels, verbose=0)
    assert backbone_fingerprint(model) == first
    save_adapters(model, path, ["it"])
    load_adapters(rename_domain(model, "it", "IT"), path, {"it": "IT"})


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "float64"])
def test_numbers_of_any_kind_come_back_to_the_bit(policy, tmp_path):
    def made(seed):
        x, domain = keras.Input((4,)), keras.Input((), dtype="int32")
        dense = MLoRADense(3, 3, rank=2, dtype=policy, name="dense")
        model = keras.Model([x, domain], dense(x, DomainIds(NAMES)(domain)))
        rng = np.random.default_rng(seed)
        for variable in dense.domain_variables:
            values = keras.ops.cast(rng.normal(size=variable.shape), policy)
            variable.assign(values)
        return model

    model, twin = made(0), made(1)
    for weight in ("kernel", "bias"):
        source = getattr(model.get_layer("dense"), weight)
        getattr(twin.get_layer("dense"), weight).assign(source)
    save_adapters(model, tmp_path / "all.npz")
    load_adapters(twin, tmp_path / "all.npz")
    for one, other in zip(model.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_no_domain_to_load_is_refused(tmp_path):
    model = model_of("mlora")
    save_adapters(model, tmp_path / "all.npz")
    for domains, said in (({}, "{}"), ([], r"\[\]")):
        with pytest.raises(ValueError, match=f"Received: .*{said}"):
            load_adapters(model, tmp_path / "all.npz", domains)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none" / "all.npz"
    with pytest.raises(FileNotFoundError, match=r"no such folder.*none/all"):
        save_adapters(model_of("mlora"), path)


def test_a_layer_for_other_domains_than_the_models_is_named(tmp_path):
    """Room for later domains, say: who left it out would save a part."""
    x, domain = keras.Input((4,)), keras.Input((), dtype="int32")
    ids = DomainIds(["a", "b"])(domain)
    hidden = MLoRADense(5, 2, rank=1, name="fits")(x, ids)
    out = MLoRADense(5, 8, rank=1, name="roomy")(hidden, ids)
    model = keras.Model([x, domain], out)
    said = "has 2 domains.*Received: 'roomy' with num_domains=8"
    with pytest.raises(ValueError, match=said):
        save_adapters(model, tmp_path / "all.npz")
    with pytest.raises(ValueError, match=said):
        train_only(model, "b")
    with pytest.raises(ValueError, match=said):
        add_domain(model, "c")


def test_a_model_from_a_file_has_the_same_backbone(tmp_path):
    model = model_of("star")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert backbone_fingerprint(loaded) == backbone_fingerprint(model)
    assert backbone_fingerprint(twin_of(model, "star")) == (
        backbone_fingerprint(model)
    )


def test_every_other_weight_is_in_the_fingerprint():
    model = model_of(norm="batch")
    first, own = backbone_fingerprint(model), own_paths(model)
    own = {path for path in own if not path.startswith("norm")}
    for weight in model.weights:
        value = weight.numpy().copy()
        changed = value.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
        weight.assign(changed)
        assert (backbone_fingerprint(model) == first) == (weight.path in own)
        weight.assign(value)


@keras.saving.register_keras_serializable(package="test_adapters")
class Block(keras.layers.Layer):
    """Layers within a layer, without names, as many write them."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first = keras.layers.Dense(units)
        self.second = keras.layers.Dense(units)

    def build(self, inputs_shape):
        self.first.build(inputs_shape)
        self.second.build((*inputs_shape[:-1], self.units))

    def call(self, inputs):
        return self.second(self.first(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def own_model():
    """A model of one's own, of layers whose weights have numbered paths."""
    x = keras.Input((6,), name="x")
    y = keras.Sequential([keras.layers.Dense(5), Block(4)], name="both")(x)
    y = Block(6, name="block")(y)
    sequence = keras.layers.Reshape((3, 2))(y)
    y = keras.layers.Bidirectional(keras.layers.GRU(2), name="rnn")(sequence)
    y = keras.layers.Dense(4, name="hidden")(y)
    return keras.Model(x, keras.layers.Dense(1, name="logit")(y))


def test_adapters_of_a_model_of_ones_own_fit_every_copy_of_it(tmp_path):
    plain = own_model()
    model = adapt(plain, NAMES, target=["hidden"], rank=1)
    goldens.randomize(model)
    save_adapters(model, tmp_path / "own.npz", ["it"])
    model.save(tmp_path / "own.keras")
    fresh = adapt(plain, NAMES, target=["hidden"], rank=1)
    initialize_from(fresh, plain)
    initialize_from(fresh, model)
    for copy in (
        keras.models.load_model(tmp_path / "own.keras", compile=False),
        add_domain(model, "de"),
        fresh,
    ):
        for variable in domain_variables(copy):
            variable.assign(keras.ops.zeros_like(variable))
        assert load_adapters(copy, tmp_path / "own.npz") == ("it",)
        rows = {"x": np.ones((1, 6), "float32"), "domain": np.array([1])}
        np.testing.assert_array_equal(copy(rows), model(rows))


# --- The file ----------------------------------------------------------------


def test_numpy_reads_it_without_pickle(tmp_path):
    model, path = model_of(), tmp_path / "some.npz"
    save_adapters(model, path, ["it", "fr"])
    with np.load(path, allow_pickle=False) as file:
        for weight in own_paths(model):
            expected = goldens.arrays(model)[weight][[1, 0]]
            np.testing.assert_array_equal(file[weight], expected)
        header = json.loads(file["header.json"])
    assert header["format"] == "mlora_tf.adapters/1"
    assert header["version"] == __version__
    assert header["domains"] == ["it", "fr"]
    assert header["weights"]["hidden.0/lora_bias"] == {
        "shape": [4],
        "dtype": "float32",
    }


def test_it_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    model, path = model_of(), tmp_path / "all.npz"
    save_adapters(model, path)
    before = path.read_bytes()
    goldens.randomize(model, seed=9)

    def fails(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        save_adapters(model, path)
    assert os.listdir(tmp_path) == ["all.npz"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_who_may_read_it_is_up_to_the_umask(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        save_adapters(model_of(), tmp_path / "all.npz")
    finally:
        os.umask(before)
    assert (tmp_path / "all.npz").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_saved(value, tmp_path):
    model = model_of()
    bias = model.get_layer("hidden.0").lora_bias
    bias.assign(np.where(np.arange(3)[:, None] == 1, value, bias))
    with pytest.raises(ValueError, match=r"'hidden.0/lora_bias' isn't finite"):
        save_adapters(model, tmp_path / "all.npz")
    assert not os.listdir(tmp_path)
    save_adapters(model, tmp_path / "others.npz", ["fr", "pl"])


# --- What isn't loaded -------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model, a file of its adapters, and the file's bytes."""
    path = tmp_path_factory.mktemp("adapters") / "all.npz"
    model = model_of()
    save_adapters(model, path)
    return model, path.read_bytes()


def refuses(model, path, said, **options):
    """Holds loading to an error that names the file, and to no change."""
    before = goldens.arrays(model)
    with pytest.raises(ValueError, match=said) as error:
        load_adapters(model, path, **options)
    assert str(path) in str(error.value)
    for weight, value in goldens.arrays(model).items():
        np.testing.assert_array_equal(value, before[weight])


def test_another_backbones_adapters_are_refused_unless_asked_for(tmp_path):
    model, path = model_of(), tmp_path / "all.npz"
    save_adapters(model, path)
    twin = twin_of(model)
    kernel = twin.get_layer("hidden.0").kernel
    kernel.assign(kernel + 1e-7)
    refuses(twin, path, "of another backbone than that of 'deepfm_mlora'")
    before = goldens.arrays(twin)
    load_adapters(twin, path, check_backbone=False)
    places = {0: 0, 1: 1, 2: 2}
    check_loaded(twin, before, goldens.arrays(model), places)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tower": "star"}, "'hidden.0/domain_bias' is in one of them alone"),
        (
            {"hidden_units": (5,)},
            r"'hidden.0/lora_kernel_b' of shape \(1, 5\).*\(1, 4\)",
        ),
        ({"embedding_dim": 3}, r"of shape \(3,\) and dtype float32.*\(4,\)"),
        ({"norm": "none"}, "norm.deep/domain_beta' is in one of them alone"),
    ],
)
def test_another_models_adapters_are_refused(saved, changes, said, tmp_path):
    path = tmp_path / "all.npz"
    path.write_bytes(saved[1])
    other = model_of(**changes)
    refuses(other, path, "of another backbone")
    refuses(other, path, said, check_backbone=False)


def test_unknown_domains_are_named(saved, tmp_path):
    model, path = saved[0], tmp_path / "all.npz"
    path.write_bytes(saved[1])
    refuses(model, path, r"holds the domains.*Received: 'de'", domains=["de"])
    with pytest.raises(ValueError, match=r"one of.*Received: 'de'"):
        load_adapters(model, path, {"it": "de"})
    with pytest.raises(ValueError, match="can be loaded once"):
        load_adapters(model, path, {"it": "fr", "fr": "fr"})
    with pytest.raises(ValueError, match=r"one of.*Received: 'it'"):
        load_adapters(rename_domain(model, "it", "IT"), path)
    with pytest.raises(ValueError, match=r"one of.*Received: 'de'"):
        save_adapters(model, path, ["de"])


@pytest.mark.parametrize("wrong", ["fr", [], (), ["fr", "it", "fr"]])
def test_what_is_no_list_of_domains_is_named(wrong, saved, tmp_path):
    model, said = saved[0], "domains must be a list of names"
    with pytest.raises(ValueError, match=said) as error:
        save_adapters(model, tmp_path / "some.npz", wrong)
    assert f"Received: domains={wrong!r}" in str(error.value)
    assert not os.listdir(tmp_path)
    (tmp_path / "all.npz").write_bytes(saved[1])
    with pytest.raises(ValueError, match=said):
        load_adapters(model, tmp_path / "all.npz", wrong)


def test_a_model_without_adapters_has_none_to_save(tmp_path):
    model = goldens.ModelGolden("mlp", "mlora").make(
        domain_field=False, tower_options={"shared_adapter": True}
    )
    with pytest.raises(ValueError, match="no per-domain weights"):
        save_adapters(model, tmp_path / "none.npz")


def test_a_file_that_is_not_there_is_named(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        load_adapters(saved[0], tmp_path / "gone.npz")


# --- Hostile files -----------------------------------------------------------


def rewritten(content, path, change=lambda members: None, **options):
    """The file with some of its members changed."""
    source = path.with_suffix(".source")
    source.write_bytes(content)
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return path


def array(values):
    """The bytes of an array, of any kind."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values)
    return buffer.getvalue()


BIAS = "hidden.0/lora_bias.npy"
GOOD = np.zeros((3, 4), "float32")


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (array(np.array([{}, 1], object)), "isn't of (float )?numbers"),
        (array(GOOD.astype("int32")), "isn't of (float )?numbers"),
        (array(GOOD.astype("complex64")), "isn't of (float )?numbers"),
        (array(GOOD.astype(">f4")), "isn't of (float )?numbers"),
        (array(np.zeros((3, 4), [("a", "f4")])), "isn't of (float )?numbers"),
        (array(np.asfortranarray(GOOD)), "isn't of (float )?numbers"),
        (array(GOOD.astype("float64")), "and dtype float32. Received"),
        (array(GOOD[:2]), r"of shape \(3, 4\).*Received: \(2, 4\)"),
        (array(GOOD[:, :3]), r"of shape \(3, 4\).*Received: \(3, 3\)"),
        (array(GOOD.reshape(-1)), r"of shape \(3, 4\).*Received: \(12,\)"),
        (array(GOOD + np.nan), "'hidden.0/lora_bias' isn't finite"),
        (array(GOOD - np.inf), "'hidden.0/lora_bias' isn't finite"),
        (array(GOOD)[:-1], "isn't whole"),
        (array(GOOD) + b"x", "isn't whole"),
        (array(GOOD).replace(b"(3, 4)", b"(9, 9)"), "isn't whole"),
        (array(GOOD).replace(b"(3, 4)", b"(-3,4)"), "isn't of (float )?n"),
        (array(GOOD).replace(b"(3, 4)", b"( , 4)"), r"isn't whole"),
        (array(GOOD).replace(b"(3, 4)", b"(3  4)"), "invalid literal"),
        (array(GOOD).replace(b"NUMPY\x01", b"NUMPY\x02"), "is no array"),
        (b"\x80\x04K\x01.", "is no array"),
        (b"", "is no array"),
        (None, "the weight 'hidden.0/lora_bias' is missing"),
    ],
)
def test_an_array_that_is_none_of_the_model_is_named(
    saved, member, said, tmp_path
):
    def change(members):
        members[BIAS] = member
        if member is None:
            del members[BIAS]

    path = rewritten(saved[1], tmp_path / "file.npz", change)
    refuses(saved[0], path, said)


def header_of(members):
    return json.loads(members["header.json"])


def with_header(**changes):
    def change(members):
        header = {**header_of(members), **changes}
        members["header.json"] = json.dumps(header)

    return change


def raw_header(content):
    def change(members):
        members["header.json"] = content

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (raw_header(b"{"), "no file of adapters: Expecting"),
        (raw_header(b"\xff\xfe\x00"), "no file of adapters"),
        (raw_header(b"[" * 100_000), "no file of adapters"),
        (raw_header(b"[]"), "'format' is missing"),
        (raw_header(b"{}"), "'format' is missing"),
        (lambda members: members.pop("header.json"), "has no header.json"),
        (with_header(format="mlora_tf.adapters/2"), "reads the format.*0.1.0"),
        (with_header(format=1), "'format' must be a str"),
        (with_header(domains="fr"), "'domains' must be a list"),
        (with_header(domains=[]), "must not be empty"),
        (with_header(domains=["fr", "fr", "it"]), "has a value twice"),
        (with_header(domains=[1, 2, 3]), "must be strings"),
        (with_header(domains=["fr", "it", ""]), "must be strings"),
        (with_header(domains=["fr", "it"]), r"of shape \(2, "),
        (with_header(weights=[]), "'weights' must be a dict"),
        (with_header(weights={}), "it holds more"),
        (with_header(weights={"x": 1}), "'dtype' is missing"),
        (
            with_header(weights={"x": {"shape": [1], "dtype": "int8"}}),
            "must be one of.*'int8'",
        ),
        (
            with_header(weights={"x": {"shape": [-1], "dtype": "float32"}}),
            "each size of 'x' must be a positive integer",
        ),
        (
            with_header(weights={"x": {"shape": [1], "dtype": "float32"}}),
            "the weight 'x' is missing",
        ),
        (with_header(backbone=None), "'backbone' must be a str"),
        (with_header(version=None), "'version' must be a str"),
        (lambda members: members.update({"more.npy": b""}), "it holds more"),
    ],
)
def test_a_header_that_says_something_else_is_named(
    saved, change, said, tmp_path
):
    path = rewritten(saved[1], tmp_path / "file.npz", change)
    refuses(saved[0], path, said)


def test_weights_of_another_kind_are_named(saved, tmp_path):
    def change(members):
        header = header_of(members)
        header["weights"]["hidden.0/lora_bias"]["dtype"] = "float16"
        members["header.json"] = json.dumps(header)

    path = rewritten(saved[1], tmp_path / "file.npz", change)
    refuses(saved[0], path, r"dtype float32. Received: \(4,\) and float16")


def test_compressed_members_are_refused(saved, tmp_path):
    path = rewritten(
        saved[1], tmp_path / "file.npz", compression=zipfile.ZIP_DEFLATED
    )
    refuses(saved[0], path, "must be stored as it is")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(saved, tmp_path):
    path = rewritten(saved[1], tmp_path / "file.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(BIAS, array(GOOD))
    refuses(saved[0], path, "'hidden.0/lora_bias.npy' is there twice")


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x05\x06" + b"\0" * 18])
def test_no_archive_is_no_file_of_adapters(saved, content, tmp_path):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    refuses(saved[0], path, "is no file of adapters")


def test_a_pickle_is_never_run(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    np.savez(tmp_path / "file.npz", header=np.array([Bomb()], object))
    refuses(saved[0], tmp_path / "file.npz", "no file of adapters")
    assert not (tmp_path / "run").exists()


def read_or_refuse(path):
    """What a file holds; None if an error says that it isn't one."""
    try:
        return adapter_file.read(path)
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    return None


def check_bytes(content, saved, path):
    """Holds any bytes to an error or to the very adapters."""
    path.write_bytes(content)
    adapters = read_or_refuse(path)
    if adapters is not None:
        path.write_bytes(saved[1])
        expected = adapter_file.read(path)
        assert adapters.domains == expected.domains
        assert adapters.weights.keys() == expected.weights.keys()
        for name, values in expected.weights.items():
            np.testing.assert_array_equal(adapters.weights[name], values)


@pytest.mark.parametrize("part", range(0, 100, 7))
def test_a_file_that_is_cut_is_refused(saved, part, tmp_path):
    content = saved[1][: len(saved[1]) * part // 100]
    (tmp_path / "cut.npz").write_bytes(content)
    refuses(saved[0], tmp_path / "cut.npz", "no file of adapters")


fast = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@fast
@given(data=st.data())
def test_changed_bytes_raise_or_change_nothing(saved, data, tmp_path):
    content = bytearray(saved[1])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    check_bytes(bytes(content), saved, tmp_path / "file.npz")


@fast
@given(data=st.data())
def test_the_directory_at_the_end_is_not_trusted(saved, data, tmp_path):
    content = bytearray(saved[1])
    start = content.index(b"PK\x01\x02")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(start, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    check_bytes(bytes(content), saved, tmp_path / "file.npz")


@fast
@given(content=st.binary(max_size=400))
def test_any_bytes_raise(saved, content, tmp_path):
    check_bytes(content, saved, tmp_path / "file.npz")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = ["format", "version", "domains", "backbone", "weights"]


@fast
@given(key=st.sampled_from(KEYS), value=JSON)
def test_any_header_raises_or_is_right(saved, key, value, tmp_path):
    path = tmp_path / "file.npz"
    rewritten(saved[1], path, with_header(**{key: value}))
    adapters = read_or_refuse(path)
    if adapters is not None:
        # What it says of itself is checked beside the model's.
        assert key in ("version", "backbone", "domains")
        assert len(adapters.domains) == 3
