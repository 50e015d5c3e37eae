"""What a configuration says of isolation in vain."""

import pytest

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.isolation import isolation_without_effect

VAIN = "is set but has no effect: the model runs in the server's process; parameters['isolation'] is to be 'process'"


def said(backend: str, *, isolated: bool, **parameters: str) -> list[str]:
    config = ModelConfig(backend=backend)
    for name, text in parameters.items():
        config.parameters[name].string_value = text
    return [str(each) for each in isolation_without_effect(config, isolated=isolated)]


@pytest.mark.parametrize("name", ["execution_timeout", "isolation_processes"])
def test_what_is_for_isolated_models_alone(name: str) -> None:
    assert said("onnxruntime", isolated=False, **{name: "2"}) == [f"parameters['{name}']: {VAIN}"]
    assert said("onnxruntime", isolated=True, **{name: "2"}) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Isolation", "isolation"),
        ("isolation_process", "isolation_processes"),
        ("execution-timeout", "execution_timeout"),
        ("execution_env_path", "EXECUTION_ENV_PATH"),
        ("EXECUTION_ENV_PATH", ""),
        ("factor", ""),
        ("isolate_rows", ""),
    ],
)
def test_a_parameter_of_a_handler_that_is_nearly_one_of_these(name: str, meant: str) -> None:
    expected = (
        [f"parameters['{name}']: means nothing to the server: did you mean '{meant}'?"] if meant else []
    )
    assert said("python", isolated=True, **{name: "x"}) == expected
    assert said("a third party's", isolated=True, **{name: "x"}) == []
