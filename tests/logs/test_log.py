"""Log lines: one per record, in both formats; the access log comes from its own thread."""

import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.logs import log
from kserve_v2.logs.log import Access, Execution
from kserve_v2.settings.settings import Settings

logger = logging.getLogger("kserve_v2.test")

EXECUTION = Execution(batch_rows=4, taken_ns=1_010_999, compute_ns=20_000)


def access(request_id: str = "r1") -> Access:
    return Access("http", "digits", "1", request_id, status=200, execution=EXECUTION, started_ns=1_000_000)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    log.shutdown()


def configure(**options: Any) -> None:
    log.configure(Settings(model_repository=(Path("models"),), **options))


def test_a_text_line_has_time_level_logger_message_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logger.info("loaded %s", "digits", extra={"version": 1, "reason": 'two "words"', "empty": ""})
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO kserve_v2\.test loaded digits "
        r'version=1 reason="two \\"words\\"" empty=""\n',
        line,
    )


def test_the_time_is_utc(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    record = logging.makeLogRecord({"name": "kserve_v2", "levelname": "INFO", "levelno": 20, "msg": "x"})
    record.created = 1_700_000_000.25
    logging.getLogger("kserve_v2").handle(record)
    assert capsys.readouterr().err.startswith("2023-11-14T22:13:20.250Z INFO")


def test_a_json_line_parses_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="json")
    logger.warning('quote " newline \n snow \u2603 surrogate \udc80', extra={"path": Path("a b"), "rows": 3})
    [line] = capsys.readouterr().err.splitlines()
    parsed = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", parsed.pop("time"))
    assert parsed == {
        "level": "WARNING",
        "logger": "kserve_v2.test",
        "message": 'quote " newline \n snow \u2603 surrogate \udc80',
        "path": "a b",
        "rows": 3,
    }


def broken(message: str) -> None:
    raise RuntimeError(message)


def fail(message: str) -> None:
    try:
        broken(message)
    except RuntimeError:
        logger.exception("request failed")


def test_an_exception_is_one_string_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format="json")
    fail("broken")
    [line] = capsys.readouterr().err.splitlines()
    exception = json.loads(line)["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith("RuntimeError: broken")


@pytest.mark.parametrize("log_format", ["default", "json"])
def test_a_text_without_end_has_one_in_the_log(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format=log_format)
    fail("first" + "x" * 3_000_000 + "last")
    lines = capsys.readouterr().err
    assert len(lines) < 100_000
    assert "first" in lines
    assert "characters) ..." in lines
    assert lines.rstrip().rstrip('"}').endswith("last")


def test_nothing_in_a_text_line_can_pass_for_another_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logger.info("model %s", "a\n2026-01-01T00:00:00.000Z ERROR forged", extra={"id": "b\r\nforged \x1b[31m"})
    fail("first\n2026-01-01T00:00:00.000Z ERROR forged")
    first, second, *traceback = capsys.readouterr().err.splitlines()
    assert r"model a\n2026" in first
    assert r'id="b\r\nforged \u001b[31m"' in first
    assert second.endswith("ERROR kserve_v2.test request failed")
    assert traceback[-1] == "  | 2026-01-01T00:00:00.000Z ERROR forged"
    assert all(line.startswith("  | ") for line in traceback)


@pytest.mark.parametrize("log_format", ["default", "json"])
def test_a_record_carries_the_id_of_the_request_being_served(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(log_format=log_format)
    token = log.request_id.set("r-17")
    logger.info("inside")
    log.request_id.reset(token)
    logger.info("outside")
    inside, outside = capsys.readouterr().err.splitlines()
    assert ("request_id=r-17" if log_format == "default" else '"request_id": "r-17"') in inside
    assert "request_id" not in outside


@pytest.mark.parametrize(("log_verbose", "expected"), [(0, ["info"]), (1, ["debug", "info"])])
def test_verbose_shows_debug_lines_of_the_server_only(
    log_verbose: int, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure(log_verbose=log_verbose, log_format="json")
    logger.debug("debug")
    logger.info("info")
    logging.getLogger("somewhere.else").debug("not ours")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == expected


def test_other_loggers_and_warnings_come_out_once_in_the_same_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(log_format="json")
    logging.getLogger("uvicorn.error").warning("shutting down")
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("my_handler").info("hello")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.configure(Settings(model_repository=(Path("models"),), log_format="json"))
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        log.shutdown()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["logger"] for line in lines] == ["uvicorn.error", "my_handler", "py.warnings"]
    assert "DeprecationWarning: old" in lines[2]["message"]


def test_the_access_log_is_off_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    assert not log.access_log_enabled()
    log.log_access(access())
    assert capsys.readouterr().err == ""


def test_the_access_log_has_one_line_per_request_and_loses_none_at_shutdown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(log_access=True, log_format="json")
    assert log.access_log_enabled()
    for number in range(500):
        log.log_access(access(str(number)))
    log.shutdown()
    assert not log.access_log_enabled()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["request_id"] for line in lines] == [str(number) for number in range(500)]
    assert isinstance(lines[0].pop("duration_us"), int)
    del lines[0]["time"]
    assert lines[0] == {
        "protocol": "http",
        "model": "digits",
        "version": "1",
        "request_id": "0",
        "status": 200,
        "batch_rows": 4,
        "queue_us": 10,
        "compute_us": 20,
        "level": "INFO",
        "logger": "kserve_v2.access",
        "message": "infer",
    }


def test_an_access_line_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_access=True)
    log.log_access(access(""))
    log.shutdown()
    assert re.fullmatch(
        r"\S+Z INFO kserve_v2\.access infer protocol=http model=digits version=1 status=200 batch_rows=4 "
        r"queue_us=10 compute_us=20 duration_us=\d+\n",
        capsys.readouterr().err,
    )


class Blocked:
    """A stderr that is read only once `reading` is set."""

    def __init__(self) -> None:
        self.blocked = threading.Event()
        self.reading = threading.Event()
        self.lines: list[str] = []

    def write(self, text: str) -> None:
        self.blocked.set()
        self.reading.wait()
        self.lines.append(text)

    def flush(self) -> None:
        pass


def test_access_lines_are_dropped_and_counted_when_nobody_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Blocked()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(log, "_ACCESS_QUEUE_LIMIT", 10)
    configure(log_access=True)
    log.log_access(access())
    stderr.blocked.wait()
    for _ in range(15):
        log.log_access(access())
    stderr.reading.set()
    log.shutdown()
    assert sum("kserve_v2.access" in line for line in stderr.lines) == 11
    assert "5 log lines were dropped" in stderr.lines[-1]


def test_shutdown_undoes_configure() -> None:
    root = logging.getLogger()
    before = (list(root.handlers), logging.getLogger("kserve_v2").level)
    # Those of other tests may end meanwhile.
    threads = set(threading.enumerate())
    configure(log_access=True, log_verbose=1)
    configure(log_access=True)
    log.shutdown()
    log.shutdown()
    assert (list(root.handlers), logging.getLogger("kserve_v2").level) == before
    assert set(threading.enumerate()) <= threads
