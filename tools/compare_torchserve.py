"""Ask a real TorchServe and this server the same, call by call, and show where they answer otherwise.

    python tools/compare_torchserve.py --torchserve .venv-torchserve/bin/torchserve

Needs Java. `make compare-torchserve` makes the environment. Exit status 1 if an answer differs that is not among those
that are known to, each with its reason.
"""

import argparse
import http.client
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kserve_v2._generated import torchserve_inference_pb2 as inference_pb  # noqa: E402 - from the folder above
from kserve_v2._generated import torchserve_management_pb2 as management_pb  # noqa: E402
from tests.torchserve_api.both import INFERENCE, MANAGEMENT, METRICS, both  # noqa: E402
from tests.torchserve_api.support import ECHO, LAB, PARTS, mar  # noqa: E402 - from the folder above

I, M, X = INFERENCE, MANAGEMENT, METRICS  # noqa: E741 - as the documents write them
PROPERTIES = """
max_request_size=100000
default_workers_per_model=1
model_metrics_auto_detect=true
"""


@dataclass(frozen=True)
class Case:
    """One request. `differs`: why the answers are not the same, "" if they are to be."""

    api: str
    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    differs: str = ""

    @property
    def shown(self) -> str:
        return f"{self.api[0].upper()} {self.method} {self.target} {self.body[:40]!r}"


def json_case(target: str, body: bytes) -> Case:
    return Case(I, "POST", target, body, {"Content-Type": "application/json"})


def multipart(*parts: tuple[str, str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Fields as (name, file name, type, content); "" for no file name, or no type."""
    body = b""
    for name, file, kind, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
        head = f"--XX\r\nContent-Disposition: {disposition}\r\n" + (
            f"Content-Type: {kind}\r\n" if kind else ""
        )
        body += head.encode() + b"\r\n" + content + b"\r\n"
    return body + b"--XX--\r\n", {"Content-Type": "multipart/form-data; boundary=XX"}


FORM = multipart(
    ("a", "a.json", "application/json", b'{"k": 1}'), ("b", "", "application/json", b"[1]"), ("c", "c", "", b"raw"),
    ("t", "t.txt", "text/plain", b"text"), ("a2", "", "", b"x"),
)  # fmt: skip
TYPED = {"Content-Type": "application/json"}
FORMED = {"Content-Type": "application/x-www-form-urlencoded"}
HANDLED = "TorchServe keeps a model whose handler raises a RuntimeError at its load"

CASES = [
    Case(I, "GET", "/ping"),
    Case(I, "POST", "/ping"),
    Case(I, "GET", "/"),
    Case(I, "POST", "/predictions"),
    Case(I, "GET", "/models"),
    Case(I, "GET", "/v2/health/ready"),
    Case(I, "GET", "/v1/models/echo"),
    Case(I, "GET", "/metrics"),
    Case(I, "GET", "/nosuch/path"),
    Case(I, "POST", "/predictions/echo", b"x"),
    Case(I, "GET", "/predictions/echo"),
    Case(I, "PUT", "/predictions/echo", b"x"),
    Case(I, "DELETE", "/predictions/echo/1.0", b"x"),
    Case(I, "POST", "/predictions/echo/1.0/more/path?x=y", b"x"),
    Case(I, "POST", "/predictions/echo/9.0", b"x"),
    Case(I, "POST", "/predictions/nosuch", b"x"),
    json_case("/predictions/echo", b'{"a": [1, 2.5, null, "\xc3\xa9"]}'),
    json_case("/predictions/echo", b"{"),
    json_case("/predictions/echo", b""),
    Case(I, "POST", "/predictions/echo", b"[1]", {"Content-Type": "application/json; charset=utf-8"}),
    Case(I, "POST", "/predictions/echo", b"hi", {"Content-Type": "text/plain"}),
    Case(I, "POST", "/predictions/echo", b"hi", {"Content-Type": "application/octet-stream"}),
    Case(I, "POST", "/predictions/echo", b"a=1&b=2&a=3&c&d=+%41", FORMED),
    Case(I, "POST", "/predictions/echo", b"x", FORMED),
    Case(I, "POST", "/predictions/echo", *FORM),
    Case(I, "POST", "/invocations", b"x"),
    Case(I, "POST", "/invocations?model_name=echo&a=b", b"x"),
    Case(I, "POST", "/invocations?model_name=echo&a=b", b"c=d", FORMED),
    Case(I, "POST", "/models/echo/invoke", b"x"),
    Case(I, "POST", "/echo/predict", b"x"),
    Case(I, "POST", "/echo/1.0/predict", b"x"),
    Case(I, "POST", "/v1/models/echo:predict", b"x"),
    Case(I, "GET", "/v1/models/echo:predict"),
    Case(I, "POST", "/v2/models/echo/infer", b"x"),
    Case(I, "POST", "/explanations/lab", b"headers"),
    Case(I, "POST", "/predictions/lab/1.0/a/b", b"headers", {"X-User": "me"}),
    Case(I, "POST", "/predictions/lab", b"text"),
    Case(I, "POST", "/predictions/lab", b"raise"),
    Case(I, "POST", "/predictions/lab", b"refuse"),
    Case(I, "POST", "/predictions/lab", b"wrong length"),
    Case(I, "POST", "/predictions/lab", b"no list"),
    Case(I, "POST", "/predictions/lab", b"status"),
    Case(I, "POST", "/predictions/parts", b"x"),
    Case(I, "POST", "/predictions/parts", b"event"),
    Case(I, "POST", "/predictions/echo", b"[1]", {"Content-Type": "application/jsonlines"}),
    Case(I, "POST", "/predictions/echo", b"[1]", {"Content-Type": "text"}),
    Case(I, "POST", "/invocations", b"model_name=echo", FORMED),
    Case(I, "POST", "/predictions/echo", b"x" * 100_001),
    Case(I, "POST", "/wfpredict/w", b"x"),
    Case(M, "GET", "/models"),
    Case(M, "GET", "/models?limit=2"),
    Case(M, "GET", "/models?limit=2&next_page_token=2"),
    Case(M, "GET", "/models?limit=3"),
    Case(M, "GET", "/models?limit=3&next_page_token=3"),
    Case(M, "GET", "/models?limit=x"),
    Case(M, "GET", "/models/echo"),
    Case(M, "GET", "/models/nosuch"),
    Case(M, "GET", "/models/echo/9.0"),
    Case(M, "GET", "/models/echo/all"),
    Case(M, "GET", "/v1/models/echo"),
    Case(M, "GET", "/ping"),
    Case(M, "GET", "/metrics"),
    Case(M, "GET", "/"),
    Case(M, "PATCH", "/models/echo"),
    Case(M, "DELETE", "/models"),
    Case(M, "POST", "/models"),
    Case(M, "POST", "/models?url=nosuch.mar"),
    Case(M, "POST", "/models?url=../store/echo.mar"),
    Case(M, "POST", "/models?url=echo.mar&runtime=perl&model_name=p"),
    Case(M, "POST", "/models?url=echo.mar"),
    Case(M, "POST", "/models?url=echo.mar&model_name=e"),
    Case(I, "POST", "/predictions/e", b"x"),
    Case(I, "POST", "/predictions/e/1.0", b"x"),
    Case(M, "GET", "/models/e"),
    Case(M, "PUT", "/models/e?min_worker=2&max_worker=1"),
    Case(M, "PUT", "/models/e?synchronous=true"),
    Case(I, "POST", "/predictions/e", b"x"),
    Case(M, "POST", "/models?url=echo2.mar&model_name=e&initial_workers=1&synchronous=true&batch_size=4"),
    Case(M, "POST", "/models?url=echo2.mar&model_name=e"),
    Case(M, "GET", "/models/e/2.0"),
    Case(I, "POST", "/predictions/e/2.0", b"x"),
    Case(M, "PUT", "/models/e/3.0/set-default"),
    Case(M, "PUT", "/models/nosuch/3.0/set-default"),
    Case(M, "DELETE", "/models/e/1.0"),
    Case(M, "PUT", "/models/e/2.0/set-default"),
    Case(M, "DELETE", "/models/e/1.0"),
    Case(M, "PUT", "/models/e/2.0?min_worker=0&synchronous=true"),
    Case(I, "POST", "/predictions/e", b"x"),
    Case(M, "DELETE", "/models/e"),
    Case(M, "DELETE", "/models/e"),
    Case(M, "POST", "/models?url=asks.mar&model_name=a&batch_size=5&response_timeout=9&synchronous=true"),
    Case(M, "GET", "/models/a"),
    Case(M, "POST", "/models?url=broken.mar&initial_workers=1&synchronous=true"),
    Case(M, "GET", "/models/broken", differs=HANDLED),
    Case(M, "POST", "/models", b'{"url": "echo.mar", "model_name": "j", "max_batch_delay": 5}', TYPED),
    Case(M, "GET", "/models/j"),
    Case(
        M,
        "POST",
        "/models",
        b"{",
        TYPED,
        "a body that is no JSON is the client's mistake, and no internal error",
    ),
    Case(M, "DELETE", "/models/broken", differs=HANDLED),
    Case(X, "GET", "/nosuch"),
]

# Service, RPC, its request's fields; the last call leaves what the first has found.
RPCS: list[tuple[str, str, dict[str, Any]]] = [
    (I, "Ping", {}),
    (I, "Predictions", {"model_name": "echo", "input": {"data": b'{"a": 1}', "b": b"x"}}),
    (I, "Predictions", {"model_name": "echo", "model_version": "1.0", "input": {"body": b"x"}}),
    (I, "Predictions", {"model_name": "echo", "model_version": "9.0", "input": {"body": b"x"}}),
    (I, "Predictions", {"model_name": "nosuch", "input": {"body": b"x"}}),
    (I, "Predictions", {"input": {"body": b"x"}}),
    (I, "Predictions", {"model_name": "lab", "input": {"body": b"raise"}}),
    (I, "Predictions", {"model_name": "lab", "input": {"body": b"headers"}}),
    (I, "StreamPredictions", {"model_name": "parts", "input": {"body": b"x"}}),
    (M, "ListModels", {"limit": 2}),
    (M, "ListModels", {"limit": 2, "next_page_token": 1}),
    (M, "DescribeModel", {"model_name": "echo"}),
    (M, "DescribeModel", {"model_name": "nosuch"}),
    (M, "DescribeModel", {"model_name": "echo", "model_version": "9.0"}),
    (M, "RegisterModel", {}),
    (M, "RegisterModel", {"url": "nosuch.mar"}),
    (M, "RegisterModel", {"url": "echo.mar"}),
    (M, "RegisterModel", {"url": "echo.mar", "model_name": "g", "initial_workers": 1, "synchronous": True}),
    (M, "ScaleWorker", {"model_name": "g", "min_worker": 2, "max_worker": 2, "synchronous": True}),
    (M, "ScaleWorker", {"model_name": "g", "min_worker": 2, "max_worker": 1}),
    (M, "ScaleWorker", {"model_name": "nosuch", "min_worker": 1}),
    (M, "SetDefault", {"model_name": "g", "model_version": "1.0"}),
    (M, "SetDefault", {"model_name": "g", "model_version": "7.0"}),
    (M, "UnregisterModel", {"model_name": "g"}),
    (M, "UnregisterModel", {"model_name": "g"}),
]
KNOWN_DETAILS = {
    "": "TorchServe has no status for this, and answers UNKNOWN",
    "Parameter model_name is required.\nBadRequestException.()": "here the class has its package",
}

# What is never the same.
IGNORED_HEADERS = {"x-request-id", "date"}
_VARIES = {"startTime", "memoryUsage", "pid", "gpuUsage"}


def write_store(store: Path) -> None:
    """The archives that the requests are about."""
    mar(store, "echo", ECHO)
    mar(store, "lab", LAB)
    mar(store, "parts", PARTS)
    mar(store, "echo", ECHO, version="2.0", file="echo2.mar")
    mar(store, "broken", "def handle(data, context):\n    raise RuntimeError('secret')\n")
    mar(store, "asks", yaml="minWorkers: 1\nmaxWorkers: 2\nbatchSize: 3\nresponseTimeout: 50\n")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(url: str, case: Case) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=120)
    try:
        connection.request(case.method, case.target, case.body, case.headers)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, answer.read())
    except (ConnectionError, http.client.HTTPException) as error:
        return Answer(0, {}, type(error).__name__.encode())
    finally:
        connection.close()


def call(address: str, service: str, name: str, fields: dict[str, Any]) -> tuple[str, Any]:
    """The status of an RPC, and its answer or details."""
    pb = inference_pb if service == I else management_pb
    kinds = {"Ping": "PingRequest", "StreamPredictions": "PredictionsRequest"}
    kind = getattr(pb, kinds.get(name, f"{name}Request"))
    title = f"{service[:1].upper()}{service[1:]}"
    path = f"/org.pytorch.serve.grpc.{service}.{title}APIsService/{name}"
    with grpc.insecure_channel(address) as channel:
        make = channel.unary_stream if name.startswith("Stream") else channel.unary_unary
        answer = {"Ping": "TorchServeHealthResponse"}.get(name, "PredictionResponse")
        parse = (
            (inference_pb if service == I else management_pb)
            .__dict__[answer if service == I else "ManagementResponse"]
            .FromString
        )
        try:
            found = make(path, kind.SerializeToString, parse)(kind(**fields), timeout=120)
            found = list(found) if name.startswith("Stream") else [found]
        except grpc.RpcError as error:
            return error.code().name, error.details()
    return "OK", [_comparable(_content(each)) for each in found]


def _content(message: Any) -> bytes:
    text = (
        getattr(message, "health", "") or getattr(message, "msg", "") or getattr(message, "prediction", b"")
    )
    return text.encode() if isinstance(text, str) else bytes(text)


def differences(theirs: Answer, ours: Answer) -> list[str]:
    """What is not the same."""
    found = []
    if theirs.status != ours.status:
        found.append(f"status {theirs.status} and {ours.status}")
    left, right = _comparable(theirs.body), _comparable(ours.body)
    if left != right:
        found.append(f"body {left!r} and {right!r}")
    for name in sorted({*theirs.headers, *ours.headers} - IGNORED_HEADERS):
        one, other = theirs.headers.get(name), ours.headers.get(name)
        if name == "content-length" and left == right:
            continue
        if name == "content-type" and one is None and other == "application/json":
            # Known of all predictions: answers in JSON say so here.
            continue
        if one != other:
            found.append(f"header {name}: {one} and {other}")
    return found


def _comparable(body: bytes) -> Any:
    try:
        return _without_what_varies(json.loads(body))
    except ValueError:
        return re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}", b"ID", body)


def _without_what_varies(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: (type(each).__name__ if key in _VARIES or key == "id" else _without_what_varies(each))
            for key, each in value.items()
        }
    return [_without_what_varies(each) for each in value] if isinstance(value, list) else value


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--torchserve", required=True, help="the program")
    parser.add_argument("--all", action="store_true", help="also say what is the same")
    arguments = parser.parse_args()
    if shutil.which("java") is None:
        print("skipped: TorchServe needs Java")
        return 0
    with tempfile.TemporaryDirectory() as name:
        write_store(Path(name) / "store")
        program = str(Path(arguments.torchserve).absolute())
        with both(program, Path(name), ["echo.mar", "lab.mar", "parts.mar"], PROPERTIES) as (theirs, ours):
            unexpected = compare(theirs.urls, ours.urls, everything=arguments.all)
    print(f"{len(CASES) + len(RPCS)} requests, {unexpected} answers that differ and are not known to")
    return 1 if unexpected else 0


def compare(theirs: dict[str, str], ours: dict[str, str], *, everything: bool) -> int:
    """Show what differs; returns how much of it is not known to."""
    unexpected = 0
    for case in CASES:
        found = differences(ask(theirs[case.api], case), ask(ours[case.api], case))
        if found and not case.differs:
            unexpected += 1
        if found or everything:
            print(f"{'known' if case.differs else 'OTHER' if found else 'same '} {case.shown} {case.differs}")
        for each in found:
            print(f"      {each}")
    for service, rpc, fields in RPCS:
        left, right = (call(urls[f"{service} gRPC"], service, rpc, fields) for urls in (theirs, ours))
        if left != right:
            known = KNOWN_DETAILS.get(left[1]) if isinstance(left[1], str) else None
            unexpected += known is None
            print(
                f"{'known' if known else 'OTHER'} gRPC {rpc} {fields} {known or ''}\n      {left}\n      {right}"
            )
    return unexpected


if __name__ == "__main__":
    raise SystemExit(main())
