"""The page's routes, byte by byte: who gets the page, what browsers are told, and what a client cannot reach."""

import gzip
import json
import os
import re
from pathlib import Path

import pytest

from kserve_v2.ui.assets import STATIC
from kserve_v2.ui.routes import wants_html
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity
from tests.ui.conftest import MODELS

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
FIRST_LOAD_BYTES = 100_000


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("application/json, TEXT/HTML;q=0.1", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=0.000", False),
        ("text/plain, ,;", False),
    ],
)
def test_those_who_ask_for_html_get_it(accept: str, page: bool) -> None:
    assert wants_html(accept) is page


def test_browsers_get_the_page_and_others_the_server_metadata(examples: RunningServer) -> None:
    page = examples.client.get(examples.rest, headers={"accept": BROWSER})
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!doctype html>")
    for headers in ({}, {"accept": "application/json"}, {"accept": "*/*"}):
        other = examples.client.get(examples.rest, headers=headers)
        assert other.json() == {**examples.get("/v2").json(), "status": "alive"}
        assert "accept" in other.headers["vary"].lower()


def test_head_of_the_page_has_its_headers_and_no_body(examples: RunningServer) -> None:
    head = examples.client.head(examples.rest, headers={"accept": BROWSER})
    get = examples.client.get(examples.rest, headers={"accept": BROWSER})
    assert head.content == b""
    assert dict(head.headers) == dict(get.headers)


def test_browsers_are_told_to_ask_nobody_else(examples: RunningServer) -> None:
    headers = examples.client.get(examples.rest, headers={"accept": BROWSER}).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert {policy.pop(name) for name in ("frame-ancestors", "base-uri", "form-action")} == {"'none'"}
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed == {"'self'", "data:", "blob:"}
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br", "gzip"), ("deflate, gzip", "gzip"), ("br", None), ("gzip;q=0", None)],
)
def test_files_are_compressed_for_those_who_take_it(
    examples: RunningServer, accepted: str, encoding: str | None
) -> None:
    with examples.client.stream(
        "GET", f"{examples.rest}/ui/static/app.js", headers={"accept-encoding": accepted}
    ) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert (gzip.decompress(body) if encoding else body) == (STATIC / "app.js").read_bytes()


def test_what_a_browser_has_is_not_sent_again(examples: RunningServer) -> None:
    url = f"{examples.rest}/ui/static/style.css"
    first = examples.client.get(url)
    assert first.headers["cache-control"] == "no-cache"
    again = examples.client.get(url, headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    changed = examples.client.get(url, headers={"if-none-match": '"other"'})
    assert changed.status_code == 200
    plain = examples.client.get(url, headers={"accept-encoding": "identity"})
    assert plain.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "../routes.py", "..%2froutes.py", "%2e%2e/routes.py", "vendor/../../routes.py", "/etc/passwd",
        "%2fetc%2fpasswd", "vendor", "vendor/", "", "app.js/", "app.js%00", "nosuch.js",
    ],
)  # fmt: skip
def test_nothing_but_the_files_of_the_page_is_there(examples: RunningServer, path: str) -> None:
    url = examples.client.build_request("GET", examples.rest).url.copy_with(
        raw_path=f"/ui/static/{path}".encode()
    )
    answer = examples.client.get(url)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


def test_every_library_has_its_licence() -> None:
    readme = (STATIC / "vendor" / "README.md").read_text()
    for file in (STATIC / "vendor").iterdir():
        if file.suffix in {".js", ".css"}:
            [licence] = re.findall(rf"^\| `{file.name}` .*`(LICENSE\.\w+\.txt)` \|$", readme, re.MULTILINE)
            assert "Copyright" in (STATIC / "vendor" / licence).read_text()


def test_no_file_of_the_page_names_another_host() -> None:
    named = {
        f"{file.name}: {url}"
        for file in STATIC.rglob("*")
        # Swagger UI has the addresses of standards in its texts; tests/ui/test_docs.py sees that it asks none.
        if file.suffix in {".js", ".css", ".html"} and file.name != "swagger-ui.js"
        for url in re.findall(r"""["'(](?:https?:)?//[\w.-]+""", file.read_text())
    }
    # Namespaces, which nobody asks for.
    assert {each for each in named if "www.w3.org" not in each} == set()


@pytest.mark.parametrize("path", ["/docs", "/ui/server", "/ui/models", "/ui/static/app.js"])
def test_without_ui_the_page_is_a_path_that_does_not_exist(plain: RunningServer, path: str) -> None:
    answer = plain.client.get(plain.rest + path, headers={"accept": BROWSER})
    nothing = plain.client.get(f"{plain.rest}/nosuch", headers={"accept": BROWSER})
    assert (answer.status_code, answer.content) == (404, nothing.content)


ELSEWHERE = '{"secret": 1}'


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    """Models whose sample requests are what they should not be."""
    root = tmp_path_factory.mktemp("models")
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.json"
    secret.write_text(ELSEWHERE)
    for name in ("linked", "neighbour", "pipe", "folder", "no_json", "no_object", "inside", "none"):
        write_model(root, name, identity("FP32", [2]))
    sample = "sample_request.json"
    (root / "linked" / sample).symlink_to(secret)
    (root / "neighbour" / sample).symlink_to(Path("..") / "inside" / "1" / "model.py")
    os.mkfifo(root / "pipe" / sample)
    (root / "folder" / sample).mkdir()
    (root / "no_json" / sample).write_text("{")
    (root / "no_object" / sample).write_text("[1]")
    (root / "inside" / "1" / "x.json").write_text('{"inputs": []}')
    (root / "inside" / sample).symlink_to(Path("1") / "x.json")
    return root


@pytest.fixture(scope="module")
def plain(samples: Path, start_server: StartServer) -> RunningServer:
    return start_server(samples, "--allow-ui=false", "--allow-grpc=false", "--allow-metrics=false")


@pytest.fixture(scope="module")
def sampled(samples: Path, start_server: StartServer) -> RunningServer:
    return start_server(samples, "--allow-grpc=false", "--allow-metrics=false")


@pytest.mark.parametrize("name", ["linked", "neighbour", "pipe", "folder", "none", "nosuch"])
def test_no_file_outside_of_the_model_is_a_sample(sampled: RunningServer, name: str) -> None:
    answer = sampled.get(f"/ui/models/{name}/sample")
    assert answer.status_code == 404
    assert name in answer.json()["error"]
    assert "secret" not in answer.text


@pytest.mark.parametrize(("name", "problem"), [("no_json", "is no JSON"), ("no_object", "is no JSON object")])
def test_what_is_wrong_with_a_sample_is_said(sampled: RunningServer, name: str, problem: str) -> None:
    answer = sampled.get(f"/ui/models/{name}/sample")
    assert answer.status_code == 400
    assert problem in answer.json()["error"]


def test_samples_are_what_lies_beside_the_models(examples: RunningServer, sampled: RunningServer) -> None:
    for name in ("digits_onnx", "intent"):
        assert examples.get(f"/ui/models/{name}/sample").json() == json.loads(
            (MODELS / name / "sample_request.json").read_text()
        )
    assert sampled.get("/ui/models/inside/sample").json() == {"inputs": []}


def test_a_request_from_the_page_is_answered_as_everybodys_with_its_times(examples: RunningServer) -> None:
    for name in ("digits_onnx", "digits_scan", "intent"):
        body = (MODELS / name / "sample_request.json").read_bytes()
        plain = examples.post(f"/v2/models/{name}/infer", content=body)
        for path in (f"/ui/models/{name}/infer", f"/ui/models/{name}/versions/1/infer"):
            timed = examples.post(path, content=body)
            assert (timed.status_code, timed.content) == (200, plain.content)
            spans = {
                span: float(duration)
                for span, duration in re.findall(r"(\w+);dur=([\d.]+)", timed.headers["server-timing"])
            }
            assert set(spans) == {"queue", "input", "compute", "output", "server"}
            assert 0 < spans["compute"] < spans["server"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("nosuch/infer", b"{}"),
        ("digits_onnx/infer", b"{"),
        ("digits_onnx/versions/7/infer", b"{}"),
        ("digits_onnx/infer", b'{"inputs": []}'),
    ],
)
def test_errors_are_those_of_the_protocol(examples: RunningServer, path: str, body: bytes) -> None:
    timed = examples.post(f"/ui/models/{path}", content=body)
    plain = examples.post(f"/v2/models/{path}", content=body)
    assert (timed.status_code, timed.content) == (plain.status_code, plain.content)
    assert timed.status_code >= 400
