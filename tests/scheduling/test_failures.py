"""What a client is told of a failed execution, and what the log says of it."""

import logging
import re
from typing import Any

import pytest

from kserve_v2.backend import Placement
from kserve_v2.errors import InternalError, InvalidArgumentError, UnavailableError
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.failures import report_failure

PLACEMENT = Placement("m_0", "CPU")
FORM = r"Failed to process the request\(s\) for model 'm_0', message: {} \(request_id=(\S+) in the server's log\)"


def report(error: BaseException, caplog: Any, request_id: str = "", **options: bool) -> tuple[str, list[Any]]:
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        told = report_failure(error, InferRequest("m", {}, id=request_id), PLACEMENT, **options)
    return told.message, [(record.request_id, record.exc_info[1]) for record in caplog.records]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("label"), "KeyError: 'label'"),
        (SystemExit(1), "SystemExit: 1"),
        (AssertionError(), "AssertionError"),
        (
            FileNotFoundError(2, "No such file or directory", "/srv/models/m/1/w.bin"),
            r"FileNotFoundError: \[Errno 2\] No such file or directory: 'w.bin'",
        ),
        (ValueError("see http://host/a/b, ratio 1/2"), "ValueError: see http://host/a/b, ratio 1/2"),
    ],
)
def test_an_exception_is_told_without_paths_and_found_by_its_request_id(
    error: BaseException, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    text, logged = report(error, caplog, "mine")
    match = re.fullmatch(FORM.format(said), text)
    assert match
    assert match[1] == "mine"
    assert logged == [("mine", error)]
    text, logged = report(error, caplog)
    match = re.fullmatch(FORM.format(said), text)
    assert match
    assert logged == [(match[1], error)]


def test_a_failure_that_is_not_final_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    _, logged = report(ValueError("boom"), caplog, final=False)
    assert logged == []


@pytest.mark.parametrize("kind", [InvalidArgumentError, UnavailableError])
def test_what_is_meant_for_the_client_is_told_as_it_is(
    kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    assert report(kind("too dark"), caplog) == ("too dark", [])


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_error_without_a_text_says_whose_it_is(text: str, caplog: pytest.LogCaptureFixture) -> None:
    error = InternalError(text)
    said, logged = report(error, caplog, "mine")
    assert re.fullmatch(FORM.format(r"an error without a text \(INTERNAL\)"), said)
    assert logged == [("mine", error)]
    refused = "Failed to process the request(s) for model 'm_0', message: an error without a text (INVALID_ARGUMENT)"
    assert report(InvalidArgumentError(text), caplog) == (refused, [])


def test_the_server_s_own_findings_are_told_as_they_are_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = InternalError("output 'y': expected FP32")
    assert report(error, caplog, "mine") == ("output 'y': expected FP32", [("mine", error)])
