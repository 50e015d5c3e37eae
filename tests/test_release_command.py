"""`kserve-v2 release`: what a command line asks for, what is shown, and what is said where that cannot be done."""

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kserve_v2.cli import main
from kserve_v2.commands.release import shown

Answer = Callable[[str, str, bytes], tuple[int, bytes]]
VIEW = {"name": "m", "source": "release.json", "ready_versions": ["2", "3"], "labels": {"PROD": 2}}


class Server:
    """Takes down what it is asked, and answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answer: tuple[int, bytes] = 200, json.dumps(VIEW).encode()
        taken, server = self.asked, self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                taken.append((self.command, self.path, json.loads(body) if body else None))
                status, content = server.answer
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815 - as the base class has it

            def log_message(self, *arguments: object) -> None:
                """Nothing is said."""

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(running: Server) -> Server:
    running.asked.clear()
    running.answer = 200, json.dumps(VIEW).encode()
    return running


@pytest.mark.parametrize(
    ("arguments", "document"),
    [
        ("", None),
        ("--show", None),
        ("--label PROD --version 3", {"labels": {"PROD": 3}}),
        ("--split 2=90,3=10", {"split": {"shares": {"2": 90.0, "3": 10.0}}}),
        ("--split 2=99.5%,3=0.5%", {"split": {"shares": {"2": 99.5, "3": 0.5}}}),
        (
            "--split 3=100 --sticky-header x-user",
            {"split": {"shares": {"3": 100.0}, "sticky": {"header": "x-user"}}},
        ),
        (
            "--split 3=100 --sticky-parameter user",
            {"split": {"shares": {"3": 100.0}, "sticky": {"parameter": "user"}}},
        ),
        ("--shadow 3", {"shadow": {"version": 3}}),
        ("--shadow 3 --shadow-percent 10", {"shadow": {"version": 3, "percent": 10.0}}),
        (
            "--shadow 3 --shadow-label PROD --shadow-label STG --shadow-tolerance 1e-3",
            {"shadow": {"version": 3, "labels": ["PROD", "STG"], "tolerance": {"absolute": 0.001}}},
        ),
        ("--clear split --clear shadow", {"split": None, "shadow": None}),
        ("--clear label:PROD --label STG --version 2", {"labels": {"PROD": None, "STG": 2}}),
        ("--clear labels", {"labels": None}),
        ("--clear all", {"labels": None, "split": None, "shadow": None}),
        ("--clear labels --clear label:PROD", {"labels": None}),
        ("--clear all --split 2=100", {"labels": None, "split": {"shares": {"2": 100.0}}, "shadow": None}),
        (
            "--label PROD --version 3 --split 3=100 --clear shadow",
            {"labels": {"PROD": 3}, "split": {"shares": {"3": 100.0}}, "shadow": None},
        ),
    ],
)
def test_what_is_asked_for(
    server: Server, capsys: pytest.CaptureFixture[str], arguments: str, document: Any
) -> None:
    assert main(["release", "m", *arguments.split(), "--url", server.url + "/"], {}) == 0
    method = "GET" if document is None else "POST"
    assert server.asked == [(method, "/v2/repository/models/m/release", document)]
    assert capsys.readouterr().out == (
        "m: ready are 2, 3\n  label PROD stands for version 2\n  requests without a version: the highest\n"
        "  kept in release.json\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--label PROD", "--label and --version belong together: --version is missing"),
        ("--version 3", "--label and --version belong together: --label is missing"),
        (
            "--label PROD --version x",
            "--version: expected a version, which is a whole number from 1, got 'x'",
        ),
        (
            "--label PROD --version 0",
            "--version: expected a version, which is a whole number from 1, got '0'",
        ),
        *(
            (
                f"--label PROD --version 3 --clear split --clear {what}",
                f"--label PROD and --clear {what} contradict each other: leave one of them out",
            )
            for what in ("all", "labels", "label:PROD")
        ),
        (
            "--clear split --split 2=100",
            "--split and --clear split contradict each other: leave one of them out",
        ),
        (
            "--shadow 3 --clear shadow",
            "--shadow and --clear shadow contradict each other: leave one of them out",
        ),
        ("--label A --version 3 --label B", "--label is given twice, as A and as B: give it once"),
        ("--split 2=100 --split 3=100", "--split is given twice, as 2=100 and as 3=100: give it once"),
        ("--split 2", "--split: expected VERSION=PERCENT, as in 2=90,3=10, got '2'"),
        ("--split 2=x", "--split: expected per cent, got 'x'"),
        ("--split 2=nan", "--split: expected per cent from 0 to 100, got 'nan'"),
        ("--split 2=101", "--split: expected per cent from 0 to 100, got '101'"),
        ("--split 2=50,2=50", "--split: version 2 is there twice"),
        ("--split PROD=100", "--split: expected a version, which is a whole number from 1, got 'PROD'"),
        ("--sticky-header x", "--sticky-header or --sticky-parameter goes with --split, one of them at most"),
        ("--shadow-percent 5", "--shadow-percent goes with --shadow"),
        ("--shadow-label PROD", "--shadow-label goes with --shadow"),
        ("--shadow-tolerance 1", "--shadow-tolerance goes with --shadow"),
        ("--shadow 3 --shadow-tolerance -1", "--shadow-tolerance: expected a number from 0, got '-1'"),
        ("--shadow 3 --shadow-tolerance nan", "--shadow-tolerance: expected a number from 0, got 'nan'"),
        ("--clear PROD", "--clear: expected split, shadow, labels, all or label:NAME, got 'PROD'"),
        ("--show --shadow 3", "--show changes nothing: give it alone, or leave it out"),
        *(
            (f"--url {url}", f"--url: expected http://HOST:PORT, https://HOST:PORT or unix:PATH, got '{url}'")
            for url in (
                "file:///etc/passwd",
                "http://[::1",
                "http://",
                "http://127.0.0.1:99999",
                "http://127.0.0.1:x",
                "grpc://127.0.0.1:8001",
                "grpcs://127.0.0.1:8001",
                "grpc+unix:/run/kserve.sock",
            )
        ),
        ("--splitt 2=100", "unknown option --splitt, did you mean --split?"),
    ],
)
def test_what_makes_no_sense(capsys: pytest.CaptureFixture[str], arguments: str, problem: str) -> None:
    assert main(["release", "m", *arguments.split()], {}) == 2
    assert capsys.readouterr().err == f"error: {problem}\n"


def test_help_offers_what_is_taken(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["release", "--help"], {})
    said = " ".join(capsys.readouterr().out.split())
    assert "grpc" not in said
    assert "http://HOST:PORT, https://HOST:PORT or unix:PATH" in said
    assert "version_policy" in said
    assert main(["release", "m", "--url", server.url.removeprefix("http://")], {}) == 0


def test_a_name_is_no_path(server: Server) -> None:
    assert main(["release", "a/../b c", "--url", server.url], {}) == 0
    assert server.asked == [("GET", "/v2/repository/models/a%2F..%2Fb%20c/release", None)]


@pytest.mark.parametrize(
    ("status", "content", "problem"),
    [
        (404, b'{"error": "no such version"}', "no such version"),
        (503, b'{"error": "not allowed"}', "not allowed"),
        (502, b"<html>", "the answer of URL is 502 Bad Gateway"),
        (400, b"[]", "the answer of URL is 400 Bad Request"),
        (200, b"<html>", "what answers at BASE is no kserve-v2 server: its answer is no JSON"),
        (200, b"{}", "what answers at BASE is no kserve-v2 server: its answer is no release"),
        (200, b"[1]", "what answers at BASE is no kserve-v2 server: its answer is no release"),
    ],
)
def test_a_refusal_is_told(
    server: Server, capsys: pytest.CaptureFixture[str], status: int, content: bytes, problem: str
) -> None:
    server.answer = status, content
    assert main(["release", "m", "--url", server.url], {}) == 1
    expected = problem.replace("URL", f"{server.url}/v2/repository/models/m/release").replace(
        "BASE", server.url
    )
    assert capsys.readouterr() == ("", f"error: {expected}\n")


def test_a_server_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    # Taken, and not listened on.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert main(["release", "m", "--url", url], {}) == 1
    assert capsys.readouterr().err == (
        f"error: no server answers at {url}: Connection refused; start one with kserve-v2 serve, or name another with "
        "--url\n"
    )


def test_all_that_holds_is_shown() -> None:
    view = {
        **VIEW,
        "split": {"shares": {"2": 90, "3": 10}, "sticky": {"parameter": "user"}},
        "shadow": {
            "version": 3,
            "percent": 12.5,
            "labels": ["PROD"],
            "tolerance": {"absolute": 1e-3, "relative": 1e-5},
        },
        "source": "",
    }
    assert shown(view).splitlines() == [
        "m: ready are 2, 3",
        "  label PROD stands for version 2",
        "  requests without a version: version 2 90 %, version 3 10 %, sticky by parameter user",
        "  shadow: version 3 gets copies of 12.5 % of requests without a version and to PROD, equal within 0.001",
    ]
