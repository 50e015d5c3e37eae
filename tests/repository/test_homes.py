"""Which processes have a model: the decision."""

import pytest
from google.protobuf import text_format

from kserve_v2.backend import ModelConfig
from kserve_v2.config import ConfigError
from kserve_v2.repository.models.homes import (
    ONE_PROCESS,
    ModelHome,
    Spread,
    Traits,
    decide_home,
    home_once_loaded,
)

FOUR = Spread(4, up_to_bytes=1000)
REPLICATED = ModelHome(replicated=True)
SMALL = Traits(keeps_nothing=True, files_bytes=1000)
LARGE = Traits(keeps_nothing=True, files_bytes=1001)


def config(home: str = "", text: str = "") -> ModelConfig:
    parsed = text_format.Parse(text, ModelConfig())
    if home:
        parsed.parameters["home"].string_value = home
    return parsed


KEEPS_SOMETHING = (
    "it may keep something of one request for another, unless the parameter 'home' says 'replicated'"
)


@pytest.mark.parametrize(
    ("given", "traits", "why"),
    [
        (config(), SMALL, ""),
        (config("replicated"), SMALL, ""),
        (config("replicated"), LARGE, ""),
        (config("replicated"), Traits(), ""),
        (config("single"), SMALL, "its configuration says 'single'"),
        (config(), LARGE, "its files are 1001 B, more than 1000 B"),
        (config(), Traits(), KEEPS_SOMETHING),
        (config(), Traits(keeps_nothing=False), KEEPS_SOMETHING),
        (config(), Traits(isolated=True, keeps_nothing=True), "it runs in processes of its own"),
        (config(), Traits(cached=True, keeps_nothing=True), "its answers are kept in the response cache"),
        (config(text="sequence_batching { }"), SMALL, "it takes sequences"),
        (config(text="instance_group { kind: KIND_GPU }"), SMALL, "its instances are on a GPU"),
        (config(text="model_transaction_policy { decoupled: true }"), SMALL, "it is decoupled"),
    ],
)
def test_decisions(given: ModelConfig, traits: Traits, why: str) -> None:
    assert decide_home(given, traits, FOUR) == ModelHome(replicated=not why, why=why)
    assert decide_home(given, traits, Spread()) == ONE_PROCESS


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("traits", "why"),
    [
        (Traits(isolated=True), "it runs in processes of its own"),
        (Traits(cached=True), "its answers are kept in the response cache"),
    ],
)
def test_what_cannot_be_replicated_is_an_error(traits: Traits, why: str, processes: int) -> None:
    with pytest.raises(ConfigError) as caught:
        decide_home(config("replicated"), traits, Spread(processes))
    assert caught.value.message == f"parameters['home']: cannot be 'replicated': {why}"


def test_a_loaded_model_may_say_that_it_keeps_something() -> None:
    kept = ModelHome(why=KEEPS_SOMETHING)
    assert home_once_loaded(REPLICATED, config(), keeps_nothing=False) == kept
    # The operator knows better.
    assert home_once_loaded(REPLICATED, config("replicated"), keeps_nothing=False) == REPLICATED
    for said in (None, True):
        assert home_once_loaded(REPLICATED, config(), keeps_nothing=said) == REPLICATED
    assert home_once_loaded(ONE_PROCESS, config(), keeps_nothing=False) == ONE_PROCESS
