import keras
import numpy as np
import pytest
import tensorflow as tf

from mlora_tf.layers import DomainIds

NAMES = ["fr", "it", "pl"]


def test_domains_of_any_integer_type_pass_as_32_bits():
    for dtype in ("int8", "int32", "int64", "uint16"):
        domain = DomainIds(NAMES)(np.array([2, 0], dtype))
        assert keras.backend.standardize_dtype(domain.dtype) == "int32"
        assert domain.numpy().tolist() == [2, 0]


@pytest.mark.parametrize("wrong", [-1, 3, 2**40])
def test_an_unknown_domain_is_named(wrong):
    layer = DomainIds(NAMES)
    for function in (layer, tf.function(layer)):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            function(tf.constant([0, wrong], "int64"))
        assert "domain ids must be in [0, 3). Received:" in str(error.value)
        assert f"{wrong}" in str(error.value).partition("Received:")[2]


def test_a_saved_model_knows_its_domains(tmp_path):
    domain = keras.Input((), dtype="int64", name="domain")
    outputs = DomainIds(NAMES)(domain)
    assert (outputs.shape, outputs.dtype) == ((None,), "int32")
    keras.Model(domain, outputs).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("ids.domain").domains == ("fr", "it", "pl")


def test_its_name_is_that_of_the_domains_input():
    assert DomainIds(NAMES).name == "ids.domain"
    assert DomainIds(NAMES, name="other").name == "other"


def test_its_names_may_be_a_tuple_and_are_its_own():
    names = list(NAMES)
    layer = DomainIds(names)
    names[0] = "de"
    layer.get_config()["domains"].append("es")
    assert layer.domains == ("fr", "it", "pl")
    assert DomainIds(layer.domains).domains == layer.domains
    assert DomainIds(["fr"])(np.array([0, 0])).numpy().tolist() == [0, 0]


@pytest.mark.parametrize(
    "wrong", [[], ["fr", ""], ["fr", 1], [None], "fr", {"fr": 0}, None, 3]
)
def test_domains_are_names(wrong):
    with pytest.raises(ValueError, match="domains must be a list of names"):
        DomainIds(wrong)


def test_an_array_of_names_is_told_to_become_a_list():
    with pytest.raises(ValueError, match=r"write list\(\.\.\.\)\. Received"):
        DomainIds(np.array(["fr", "it"]))


def test_domains_differ():
    with pytest.raises(ValueError, match=r"of its own.*'fr', 'it', 'fr'"):
        DomainIds(["fr", "it", "fr"])
