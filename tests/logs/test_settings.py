"""The settings of the log, and what the log makes of them while the server runs."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.logs import log
from kserve_v2.logs.settings import LogSettings
from kserve_v2.settings.settings import Settings

logger = logging.getLogger("kserve_v2.test")

LEVELS = ("debug", "info", "warning", "error", "critical")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    log.shutdown()


def configure(**options: Any) -> None:
    log.configure(Settings(model_repository=(Path("models"),), **options))


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Log one record of each level; which of them were written."""
    capsys.readouterr()
    for level in LEVELS:
        getattr(logger, level)("a record of level %s", level)
    return re.findall(r"a record of level (\w+)", capsys.readouterr().err)


SHOWN = [
    (LogSettings(), ["info", "warning", "error", "critical"]),
    (LogSettings(log_verbose_level=2), ["debug", "info", "warning", "error", "critical"]),
    (LogSettings(log_info=False), ["warning", "error", "critical"]),
    (LogSettings(log_warning=False), ["info", "error", "critical"]),
    (LogSettings(log_error=False), ["info", "warning"]),
    (LogSettings(log_info=False, log_warning=False, log_error=False), []),
    (LogSettings(log_info=False, log_verbose_level=1), ["debug", "warning", "error", "critical"]),
]


@pytest.mark.parametrize(("settings", "expected"), SHOWN)
def test_levels_are_switched_one_by_one(
    settings: LogSettings, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    log.apply(settings)
    assert log.current() == settings
    assert written(capsys) == expected


def test_what_is_switched_off_can_be_switched_on_again(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_info=False, log_error=False, log_verbose=1)
    assert written(capsys) == ["debug", "warning"]
    log.apply(log.current().updated({"log_info": True, "log_verbose_level": 0}))
    assert written(capsys) == ["info", "warning"]


FORMS = {
    "default": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO kserve_v2\.test hello key=value\n",
    "ISO8601": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ I \d+ test_settings\.py:\d+\] hello key=value\n",
}


@pytest.mark.parametrize("log_format", FORMS)
def test_the_format_of_the_following_lines_changes(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(log_format="json")
    logger.info("hello", extra={"key": "value"})
    assert json.loads(capsys.readouterr().err)["key"] == "value"
    log.apply(LogSettings(log_format=log_format))
    logger.info("hello", extra={"key": "value"})
    assert re.fullmatch(FORMS[log_format], capsys.readouterr().err)


def test_a_line_of_triton_s_form_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="ISO8601")
    logger.error("bad id %s", "x\n2026-01-01T00:00:00Z I 1 server.py:1] all is well")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_start_values_come_from_the_command_line() -> None:
    configure(log_warning=False, log_verbose=3, log_format="json")
    assert log.current() == LogSettings(log_warning=False, log_verbose_level=3, log_format="json")


def test_records_of_other_loggers_are_switched_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_info=False)
    logging.getLogger("my_handler").info("hello")
    logging.getLogger("my_handler").warning("beware")
    assert "hello" not in (err := capsys.readouterr().err)
    assert "beware" in err
