"""The trace settings of the server and of models: what a change changes, and what is no change at all."""

import pytest

from kserve_v2.errors import InvalidArgumentError, ServingError, UnsupportedError
from kserve_v2.tracing.config import TraceConfig
from kserve_v2.tracing.settings import TraceChanges, TraceScopes, TraceSettings, read_changes

START = TraceConfig(levels=("TIMESTAMPS",), rate=10, count=20, file="t.json", log_frequency=3)
TIMESTAMPS = ("TIMESTAMPS",)

# A request's settings (None: reset), the changes that it asks for.
CHANGES = [
    ({}, TraceChanges()),
    ({"trace_level": ["OFF"]}, TraceChanges({"levels": ()})),
    ({"trace_level": ["TIMESTAMPS"]}, TraceChanges({"levels": TIMESTAMPS})),
    ({"trace_level": ["TENSORS", "TIMESTAMPS"]}, TraceChanges({"levels": ("TIMESTAMPS", "TENSORS")})),
    ({"trace_level": ["LOUD"]}, TraceChanges()),
    ({"trace_level": ["LOUD", "TENSORS"]}, TraceChanges({"levels": ("TENSORS",)})),
    ({"trace_level": []}, TraceChanges()),
    ({"trace_level": None}, TraceChanges(reset=frozenset({"levels"}))),
    ({"trace_rate": ["5"]}, TraceChanges({"rate": 5})),
    ({"trace_rate": ["4294967295"]}, TraceChanges({"rate": 4294967295})),
    ({"trace_rate": ["-1"]}, TraceChanges({"rate": 4294967295})),
    ({"trace_rate": None}, TraceChanges(reset=frozenset({"rate"}))),
    ({"trace_count": ["-1"]}, TraceChanges({"count": -1})),
    ({"trace_count": ["2147483647"]}, TraceChanges({"count": 2147483647})),
    ({"trace_count": None}, TraceChanges(reset=frozenset({"count"}))),
    ({"log_frequency": ["0"]}, TraceChanges({"log_frequency": 0})),
    ({"log_frequency": None}, TraceChanges(reset=frozenset({"log_frequency"}))),
    ({"trace_mode": ["opentelemetry"], "url": ["http://evil"]}, TraceChanges()),
    (
        {"trace_rate": ["1"], "trace_count": None, "trace_level": ["OFF"]},
        TraceChanges({"levels": (), "rate": 1}, frozenset({"count"})),
    ),
]

# Texts as observed on Triton.
ERRORS = [
    ({"trace_level": ["OFF", "TIMESTAMPS"]}, "Expect only one trace level 'OFF' is specified"),
    ({"trace_rate": ["abc"]}, "Unable to parse 'trace_rate', got: abc"),
    ({"trace_rate": [""]}, "Unable to parse 'trace_rate', got: "),
    ({"trace_rate": ["1.5"]}, "Unable to parse 'trace_rate', got: 1.5"),
    ({"trace_rate": ["1", "2"]}, "expect only 1 value for 'trace_rate'"),
    (
        {"trace_rate": ["99999999999999"]},
        "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: 99999999999999",
    ),
    (
        {"trace_rate": ["-2"]},
        "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: -2",
    ),
    ({"trace_count": ["-3"]}, "Unable to parse 'trace_count'. Expecting value >= -1, got: -3"),
    ({"trace_count": ["x"]}, "Unable to parse 'trace_count', got: x"),
    (
        {"trace_count": ["2147483648"]},
        "Unable to parse 'trace_count', value is out of range [ -1, 2147483647 ], got: 2147483648",
    ),
    ({"log_frequency": ["x"]}, "Unable to parse 'log_frequency', got: x"),
    ({"log_frequency": ["1", "2"]}, "expect only 1 value for 'log_frequency'"),
    ({"log_frequency": ["9" * 5000]}, f"Unable to parse 'log_frequency', got: {'9' * 5000}"),
]


@pytest.mark.parametrize(("given", "changes"), CHANGES)
def test_what_a_request_asks_for(given: dict[str, list[str] | None], changes: TraceChanges) -> None:
    assert read_changes(given) == changes


@pytest.mark.parametrize(("given", "text"), ERRORS)
def test_what_is_wrong_with_a_request(given: dict[str, list[str] | None], text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_changes(given)
    assert caught.value.message == text


def test_one_text_has_no_space_over_http() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^Unable to parse 'trace_count'.*>= -1, got:-2$"):
        read_changes({"trace_count": ["-2"]}, space="")


@pytest.mark.parametrize("value", [None, ["other.json"]])
def test_the_file_is_the_operator_s_choice(value: list[str] | None) -> None:
    with pytest.raises(UnsupportedError, match=r"^trace file location can not be updated through network"):
        read_changes({"trace_file": value, "trace_rate": ["x"]})


def changed(*steps: tuple[str, TraceChanges], config: TraceConfig = START) -> TraceScopes:
    scopes = TraceScopes(config)
    for model, changes in steps:
        scopes = scopes.updated(model, changes)
    return scopes


RATE_5 = TraceChanges({"rate": 5})
RATE_6 = TraceChanges({"rate": 6})
OFF = TraceChanges({"levels": ()})
RESET_RATE = TraceChanges(reset=frozenset({"rate"}))
RESET_ALL = TraceChanges(reset=frozenset({"levels", "rate", "count", "log_frequency"}))


@pytest.mark.parametrize(
    ("steps", "server", "model"),
    [
        ([], TraceSettings(TIMESTAMPS, 10, 20, 3), TraceSettings(TIMESTAMPS, 10, 20, 3)),
        ([("", RATE_5)], TraceSettings(TIMESTAMPS, 5, 20, 3), TraceSettings(TIMESTAMPS, 5, 20, 3)),
        ([("m", RATE_5)], TraceSettings(TIMESTAMPS, 10, 20, 3), TraceSettings(TIMESTAMPS, 5, 20, 3)),
        # A member that the model has does not follow the server's; the others do.
        ([("m", RATE_5), ("", RATE_6)], TraceSettings(TIMESTAMPS, 6, 20, 3), TraceSettings(TIMESTAMPS, 5, 20, 3)),
        ([("m", RATE_5), ("", OFF)], TraceSettings((), 10, 20, 3), TraceSettings((), 5, 20, 3)),
        ([("m", OFF), ("", RATE_6)], TraceSettings(TIMESTAMPS, 6, 20, 3), TraceSettings((), 6, 20, 3)),
        # The value of a reset is the server's now, not when the model's was set.
        (
            [("m", RATE_5), ("", RATE_6), ("m", RESET_RATE)],
            TraceSettings(TIMESTAMPS, 6, 20, 3),
            TraceSettings(TIMESTAMPS, 6, 20, 3),
        ),
        # Reset at the server: what it was started with.
        ([("", RATE_6), ("", RESET_RATE)], TraceSettings(TIMESTAMPS, 10, 20, 3), TraceSettings(TIMESTAMPS, 10, 20, 3)),
        ([("m", RATE_5), ("", RESET_ALL)], TraceSettings(TIMESTAMPS, 10, 20, 3), TraceSettings(TIMESTAMPS, 5, 20, 3)),
    ],
)  # fmt: skip
def test_scopes(steps: list[tuple[str, TraceChanges]], server: TraceSettings, model: TraceSettings) -> None:
    scopes = changed(*steps)
    assert scopes.effective() == server
    assert scopes.effective("m") == model
    assert scopes.effective("other") == server


def test_a_model_without_settings_of_its_own_is_forgotten() -> None:
    assert changed(("m", RATE_5), ("m", RESET_ALL)) == TraceScopes(START)
    assert changed(("m", TraceChanges())) == TraceScopes(START)


ON = TraceChanges({"levels": TIMESTAMPS})
NO_FILE = "Attempting to set invalid trace setting :trace file name is not given"
NO_RATE = "Attempting to set invalid trace setting :sample rate must be non-zero"


@pytest.mark.parametrize(
    ("config", "steps", "text"),
    [
        (TraceConfig(), [("", ON)], NO_FILE),
        (TraceConfig(), [("m", ON)], NO_FILE),
        (TraceConfig(file="t"), [("", TraceChanges({"levels": TIMESTAMPS, "rate": 0}))], NO_RATE),
        # The model would inherit it.
        (TraceConfig(file="t"), [("m", ON), ("", TraceChanges({"rate": 0}))], NO_RATE),
    ],
)
def test_what_cannot_be_traced(config: TraceConfig, steps: list[tuple[str, TraceChanges]], text: str) -> None:
    scopes = changed(*steps[:-1], config=config)
    with pytest.raises(ServingError) as caught:
        scopes.updated(*steps[-1])
    assert caught.value.message == text


def test_what_needs_no_file() -> None:
    changed(("", TraceChanges({"rate": 0})), config=TraceConfig())
    changed(("", ON), ("", TraceChanges({"rate": 0})), config=TraceConfig(mode="opentelemetry"))
