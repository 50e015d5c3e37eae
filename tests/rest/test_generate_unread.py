"""Members of requests that nobody reads are told of in the log, once in a while."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from kserve_v2.config import parse_config
from kserve_v2.rest.generate import UnreadMembers
from kserve_v2.scheduling.signature import ModelSignature

_CONFIG = """
name: "m" backend: "{backend}"
input [ {{ name: "text" data_type: TYPE_STRING dims: 1 }}, {{ name: "top" data_type: TYPE_INT32 dims: 1 }} ]
output {{ name: "y" data_type: TYPE_FP32 dims: 1 }}
"""


def model(backend: str) -> Any:
    config = parse_config(_CONFIG.format(backend=backend), "test")
    return SimpleNamespace(name="m", config=config, signature=ModelSignature(config))


@pytest.mark.parametrize(
    ("backend", "members", "told"),
    [
        ("onnxruntime", ["tset"], True),
        ("pytorch", ["id", "tset"], True),
        ("onnxruntime", ["id"], False),
        ("onnxruntime", [], False),
        ("python", ["temperature"], False),  # a handler may read it
    ],
)
def test_who_is_told_of(
    backend: str, members: list[str], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        UnreadMembers().tell(members, model(backend))
    assert bool(caplog.records) is told
    if told:
        assert caplog.messages == [
            "generate: 'tset' in a request to model 'm' is neither an input of it (text, top) nor read by it, and has no "
            "effect"
        ]


def test_it_is_not_said_each_time(caplog: pytest.LogCaptureFixture) -> None:
    members = UnreadMembers()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            members.tell([f"{'x' * 100}\n{number}"], model("onnxruntime"))
    [line] = caplog.messages
    assert f"'{'x' * 40}' in a request" in line
