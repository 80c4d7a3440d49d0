import pytest

from mlora_tf.layers.adapter_rank import adapter_rank


@pytest.mark.parametrize(
    ("units", "temperature", "rank"),
    [(256, 32, 8), (128, 32, 4), (100, 32, 3), (31, 32, 1), (1, 32, 1),
     (64, 1, 64)],
)  # fmt: skip
def test_the_rank_is_the_width_over_the_temperature(units, temperature, rank):
    assert adapter_rank("x", 9, units, temperature=temperature) == rank


def test_the_temperature_is_32_unless_said():
    assert adapter_rank("x", 9, 320) == 10


@pytest.mark.parametrize("rank", [0, 1, 7, 500])
def test_a_rank_of_its_own_overrules_the_temperature(rank):
    assert adapter_rank("x", 9, 256, rank=rank, temperature=1) == rank


@pytest.mark.parametrize("units", [1, 37, 256, 990])
@pytest.mark.parametrize("temperature", [1, 16, 32])
def test_the_temperature_rises_until_the_adapter_fits(units, temperature):
    for width in (10, 24, 34):
        ranks = (max(units // t, 1) for t in range(temperature, 2000))
        fitting = next(r for r in ranks if r * (width + units) <= 1024)
        assert fitting == adapter_rank(
            "x", width, units, temperature=temperature, max_adapter_params=1024
        )


def test_the_rule_may_skip_the_largest_rank_that_fits():
    # 100 // t is 100, 50, 33, 25: never 30.
    fits_30 = 30 * (10 + 100)
    limited = adapter_rank(
        "x", 10, 100, temperature=1, max_adapter_params=fits_30
    )
    assert limited == 25
    assert adapter_rank("x", 10, 100, rank=40, max_adapter_params=fits_30) == 30


def test_a_limit_that_is_not_reached_changes_nothing():
    assert adapter_rank("x", 64, 64, max_adapter_params=256) == 2
    assert adapter_rank("x", 64, 64, rank=3, max_adapter_params=384) == 3
    assert adapter_rank("x", 64, 64, rank=3, max_adapter_params=383) == 2


def test_no_adapter_fits_any_limit():
    assert adapter_rank("x", 64, 64, rank=0, max_adapter_params=1) == 0


@pytest.mark.parametrize("rank", [None, 4])
def test_a_limit_below_rank_one_names_the_layer(rank):
    said = (
        r"'deep' \(256 -> 800\) has 1056 parameters.*"
        "Received: max_adapter_params=1055"
    )
    with pytest.raises(ValueError, match=said):
        adapter_rank("deep", 256, 800, rank=rank, max_adapter_params=1055)
    fitting = adapter_rank("deep", 256, 800, rank=rank, max_adapter_params=1056)
    assert fitting == 1
