"""`--trace-config`, in Triton's syntax."""

import pytest

from kserve_v2.tracing.config import TraceConfig, parse_trace_config

GOOD = [
    (["level=TIMESTAMPS"], TraceConfig(levels=("TIMESTAMPS",))),
    (["level=TENSORS", "level=TIMESTAMPS"], TraceConfig(levels=("TIMESTAMPS", "TENSORS"))),
    (["level=timestamps"], TraceConfig(levels=("TIMESTAMPS",))),
    (["level=MIN"], TraceConfig(levels=("TIMESTAMPS",))),
    (["level=MAX"], TraceConfig(levels=("TIMESTAMPS",))),
    (["level=TENSORS", "level=OFF"], TraceConfig()),
    (["rate=100"], TraceConfig(rate=100)),
    (["rate=1", "rate=2"], TraceConfig(rate=2)),
    (["count=-1"], TraceConfig(count=-1)),
    (["count=7"], TraceConfig(count=7)),
    (["triton,file=/srv/t.json"], TraceConfig(file="/srv/t.json")),
    (["triton,log-frequency=10"], TraceConfig(log_frequency=10)),
    (["mode=opentelemetry"], TraceConfig(mode="opentelemetry")),
    (["mode=TRITON"], TraceConfig(mode="triton")),
    (["opentelemetry,url=http://h:4318/v1/traces"], TraceConfig(url="http://h:4318/v1/traces")),
    (["opentelemetry,url=http://h/v1?a=b"], TraceConfig(url="http://h/v1?a=b")),
    (
        ["opentelemetry,resource=service.name=east", "opentelemetry,resource=zone=a=b"],
        TraceConfig(resource=(("service.name", "east"), ("zone", "a=b"))),
    ),
    (["opentelemetry,bsp_schedule_delay=10"], TraceConfig(bsp_schedule_delay=10)),
    # All in one text, as an environment variable has it.
    (
        ["level=TIMESTAMPS,rate=5,triton,file=t.json,log-frequency=2"],
        TraceConfig(levels=("TIMESTAMPS",), rate=5, file="t.json", log_frequency=2),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "config"), GOOD)
def test_what_is_understood(texts: list[str], config: TraceConfig) -> None:
    assert parse_trace_config(texts) == config


@pytest.mark.parametrize(("_", "config"), GOOD)
def test_what_is_shown_can_be_given_again(_: list[str], config: TraceConfig) -> None:
    texts = list(config.texts())
    assert (parse_trace_config(texts) if texts else TraceConfig()) == config


@pytest.mark.parametrize(
    "text",
    [
        "", "level", "level=", "level=ALL", "rate=abc", "rate=-1", "rate=4294967296", "count=-2", "mode=jaeger",
        "jaeger,url=x", "triton,url=x", "file=x", "speed=1", "triton,log-frequency=-1", "opentelemetry,resource=x",
        "opentelemetry,bsp_max_queue_size=0",
    ],
)  # fmt: skip
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(ValueError):
        parse_trace_config([text])


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (TraceConfig(), ""),
        (TraceConfig(levels=("TENSORS",), file="t.json"), ""),
        (TraceConfig(levels=("TENSORS",), mode="opentelemetry"), ""),
        (TraceConfig(levels=("TENSORS",)), "level=TENSORS needs triton,file=PATH, or mode=opentelemetry"),
        (TraceConfig(rate=0), "rate=0 needs mode=opentelemetry"),
        (TraceConfig(rate=0, mode="opentelemetry"), ""),
        (
            TraceConfig(bsp_max_queue_size=5),
            "bsp_max_export_batch_size is larger than bsp_max_queue_size",
        ),
    ],
)
def test_what_does_not_go_together(config: TraceConfig, problem: str) -> None:
    assert config.problem() == problem


def test_what_clients_are_shown_of_the_export() -> None:
    config = TraceConfig(url="http://h/v1/traces", resource=(("a", "1"), ("b", "2")))
    assert config.opentelemetry_settings() == {
        "url": "http://h/v1/traces",
        "resource": "a=1,b=2",
        "bsp_max_queue_size": "2048",
        "bsp_schedule_delay": "5000",
        "bsp_max_export_batch_size": "512",
    }
