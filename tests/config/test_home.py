"""The parameter that says which processes have a model."""

import pytest
from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.home import home_problems

HOME = 'parameters { key: "home" value { string_value: "%s" } }'
WHERE = "parameters['home']: "


def problems(home: str, config: str = "") -> list[str]:
    parsed = text_format.Parse(f"{HOME % home} {config}", ModelConfig())
    return [str(each) for each in home_problems(parsed)]


def test_what_means_something() -> None:
    assert problems("single", "sequence_batching { }") == problems("replicated") == []
    assert [*home_problems(ModelConfig())] == []
    assert problems("everywhere") == [
        f"{WHERE}expected 'single' or 'replicated' as string_value, got 'everywhere'"
    ]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("ensemble_scheduling { }", "it is an ensemble"),
        ("sequence_batching { }", "it takes sequences"),
        ("model_transaction_policy { decoupled: true }", "it is decoupled"),
        ("instance_group { kind: KIND_CPU } instance_group { kind: KIND_GPU }", "its instances are on a GPU"),
        (
            'instance_group { rate_limiter { resources { name: "R" count: 1 } } }',
            "its instances share resources with other models",
        ),
    ],
)
def test_what_cannot_be_replicated(config: str, why: str) -> None:
    assert problems("replicated", config) == [f"{WHERE}cannot be 'replicated': {why}"]
