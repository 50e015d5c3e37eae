"""`kserve-v2 bench` against a real server, by both protocols. Durations are short: counts and fields are looked at, never
speeds.
"""

import csv
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trustme

from kserve_v2.bench.results import CSV_COLUMNS
from kserve_v2.cli import main

BOTH = """
class Model:
    inputs = {"x": ("FP32", [2]), "word": ("BYTES", [-1])}
    outputs = {"y": ("FP32", [1])}
    max_batch_size = 8

    def __call__(self, inputs):
        if (inputs["x"] > 5).any():
            raise ValueError("too much")
        return {"y": inputs["x"].sum(-1, keepdims=True)}
"""

CACHED = """
class Model:
    inputs = {"x": ("FP32", [2])}
    outputs = {"y": ("FP32", [2])}
    max_batch_size = 8

    def __call__(self, inputs):
        return {"y": inputs["x"]}
"""

SHORT = ("--duration", "0.4", "--warm-up", "0.05", "--max-rounds", "2", "--quiet")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    start_server: Callable[..., Any],
    write_model: Callable[..., Path],
) -> Iterator[Any]:
    repository = tmp_path_factory.mktemp("models")
    write_model(repository, "both", BOTH)
    write_model(repository, "cached", CACHED, "response_cache { enable: true }\n")
    yield start_server(repository, "--cache-config=local,size=1000000")


@pytest.fixture
def bench(server: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the command; its status and what it printed."""

    def run(*arguments: str, protocol: str = "rest", status: int = 0) -> Any:
        url = server.rest if protocol == "rest" else f"grpc://{server.grpc}"
        assert main(["bench", *arguments, "--url", url, *SHORT], {}) == status
        return capsys.readouterr()

    return run


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_closed_loop_over_both_protocols(bench: Callable[..., Any], server: Any, protocol: str) -> None:
    printed = bench(
        "both", "--shape", "word:1", "--batch", "2", "--concurrency", "1,3", "--json",
        "--metrics-url", server.metrics, "--header", "X-User=me", protocol=protocol,
    )  # fmt: skip
    report = json.loads(printed.out)
    assert report["model"] == "both"
    assert [each["concurrency"] for each in report["results"]] == [1, 3]
    for result in report["results"]:
        assert result["answers"] > 0
        assert result["errors"] == {}
        assert result["rounds"] == 2
        assert result["inferences_per_second"] == pytest.approx(2 * result["requests_per_second"])
        assert set(map(int, result["batches"])) <= {2, 4, 6}
        latency = result["latency_ms"]
        assert latency["min"] <= latency["p50"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
        assert set(result["stages_us"]) == {"queue", "compute_input", "compute_infer", "compute_output"}
        # The server's CPU time was there to be read.
        assert result["server_cpu_us_per_request"] >= 0
    assert report["notes"] == []


@pytest.mark.slow
def test_an_open_loop_and_csv(bench: Callable[..., Any]) -> None:
    printed = bench(
        "both", "--shape", "word:1", "--rate", "50,100", "--arrivals", "constant", "--csv",
        "--connections", "4",
    )  # fmt: skip
    head, *rows = csv.reader(StringIO(printed.out))
    assert tuple(head) == CSV_COLUMNS
    found = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["rate"] for row in found] == ["50", "100"]
    assert all(row["concurrency"] == "" and row["arrivals"] == "constant" for row in found)


@pytest.mark.slow
def test_errors_are_counted_by_their_reasons(bench: Callable[..., Any], tmp_path: Path) -> None:
    def request(value: float) -> dict[str, object]:
        return {
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, value]},
                {"name": "word", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]},
            ]
        }

    path = tmp_path / "requests.json"
    # The first one, which has to succeed, and every other one.
    path.write_text(json.dumps([request(1), request(9)]))
    printed = bench("both", "--request", str(path), "--concurrency", "2", "--json")
    [result] = json.loads(printed.out)["results"]
    assert result["answers"] > 0
    [(reason, number)] = result["errors"].items()
    assert reason.startswith("HTTP 500: ")
    assert number > 0
    assert any("requests failed" in warning for warning in result["warnings"])

    path.write_text(json.dumps(request(9)))
    printed = bench("both", "--request", str(path), status=1)
    assert "the first request failed: HTTP 500" in printed.err
    assert printed.out == ""


@pytest.mark.slow
def test_answers_from_a_cache_are_said_to_be(bench: Callable[..., Any]) -> None:
    printed = bench("cached", "--vary", "nothing", "--concurrency", "1", "--json")
    [result] = json.loads(printed.out)["results"]
    assert result["cache_hits"] > 0
    assert any("response cache" in warning for warning in result["warnings"])


@pytest.mark.slow
def test_side_by_side_as_table_page_and_picture(
    bench: Callable[..., Any], server: Any, tmp_path: Path
) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.svg"
    printed = bench(
        "both", "--input", 'word=["a"]', "--concurrency", "1", "--compare", f"grpc://{server.grpc}",
        "--html", str(page), "--plot", str(picture), "--pid", str(server.process.pid),
    )  # fmt: skip
    lines = printed.out.splitlines()
    [head] = [line for line in lines if "requests/s" in line]
    assert "ratio" in head
    assert any(line.split()[0] == server.rest.removeprefix("http://") for line in lines if line.strip())
    assert any(line.split()[0] == server.grpc for line in lines if line.strip())
    text = page.read_text()
    # Nothing is asked for anywhere: the only URLs are names of XML, and those of the servers, in the text.
    assert "src=" not in text
    assert "href=" not in text
    assert "default-src 'none'" in text
    assert text.count("<svg") == 3
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - it is our own


@pytest.mark.slow
def test_a_server_that_ends_meanwhile_has_results_up_to_then(
    start_server: Callable[..., Any],
    write_model: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_model(tmp_path, "both", BOTH)
    server = start_server(tmp_path)
    ended: list[str] = []

    def end(text: str) -> None:
        if not ended:
            ended.append(text)
            server.stop()

    monkeypatch.setattr("kserve_v2.commands.bench.tell", end)
    arguments = ["both", "--shape", "word:1", "--concurrency", "1", "--url", server.rest, "--json"]
    assert main(["bench", *arguments, "--duration", "0.4", "--warm-up", "0", "--max-rounds", "3"], {}) == 0
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert result["answers"] > 0
    assert any(reason.startswith("cannot connect") for reason in result["errors"])
    assert result["stable"] is False


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ("m --concurrency 1 --rate 1", 2, "--concurrency is for a closed loop, --rate for an open one"),
        ("m --arrivals poisson", 2, "--arrivals goes with --rate: it is for an open loop"),
        ("m --connections 3 --concurrency 2", 2, "--connections goes with --rate: it is for an open loop"),
        (
            "m --stability 10 --max-rounds 1",
            2,
            "--stability is how close rounds are to each other, and --max-rounds 1",
        ),
        ("m --pid 1 --metrics-url http://h", 2, "--pid and --metrics-url both say where"),
        ("m --protocol grpc --json-tensors", 2, "--json-tensors is for REST: over gRPC tensors are no JSON"),
        (
            "m --ca-file /etc/hostname",
            2,
            "--ca-file is for a server with TLS, and http://127.0.0.1:8000 is none",
        ),
        ("m --rate 1 --rate 2", 2, "--rate is given twice, as 1 and as 2: give it once"),
        ("m --concurrency 0", 2, "--concurrency: expected numbers above 0"),
        ("m --concurrency 1.5", 2, "--concurrency: expected whole numbers"),
        ("m --rate fast", 2, "--rate: expected numbers above 0, separated by commas, got 'fast'"),
        ("m --protocol grpc --url http://h", 2, "--protocol grpc, but the server is 'http://h'"),
        ("m --plot x.gif", 2, "--plot x.gif: expected a name that ends in .png"),
        ("m --header x", 2, "--header: expected NAME=VALUE"),
        ("m --shape x", 2, "--shape: expected NAME:N,N"),
        ("m --input x", 2, "value of an input: expected NAME=VALUE"),
        ("m --duration 0", 2, "argument --duration: expected a number above 0"),
        ("m --json --csv", 2, "argument --csv: not allowed with argument --json"),
        ("m --url http://127.0.0.1:1", 1, "no server answers at http://127.0.0.1:1: "),
        ("m --url grpc://127.0.0.1:1", 1, "no server answers at grpc://127.0.0.1:1: UNAVAILABLE"),
    ],
)
def test_mistakes_are_one_line_and_a_status(
    arguments: str, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *shlex.split(arguments)], {}) == status
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {text}")
    assert printed.err.count("\n") == 1


def test_without_matplotlib_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["bench", "m", "--plot", "x.png"], {}) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


@pytest.mark.slow
def test_both_protocols_over_tls(
    start_server: Callable[..., Any],
    write_model: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    roots, chain, key = (tmp_path / name for name in ("roots.pem", "chain.pem", "key.pem"))
    authority.cert_pem.write_to_path(roots)
    key.write_bytes(certificate.private_key_pem.bytes())
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    write_model(tmp_path / "models", "cached", CACHED)
    files = [
        f"--{protocol}-{name}={path}"
        for protocol in ("http", "grpc")
        for name, path in (("server-cert", chain), ("server-key", key))
    ]
    server = start_server(tmp_path / "models", "--http-use-ssl", "--grpc-use-ssl", *files)
    https, grpcs = server.rest.replace("http:", "https:"), f"grpcs://{server.grpc}"
    words = ["bench", "cached", "--concurrency", "1", "--json", "--compare", grpcs, "--url", https, *SHORT]
    assert main([*words, "--ca-file", str(roots)], {}) == 0
    assert all(each["answers"] > 0 for each in json.loads(capsys.readouterr().out)["results"])
    assert main(words, {}) == 1
    assert "certificate verify failed" in capsys.readouterr().err


@pytest.mark.slow
def test_the_model_that_is_not_there_is_the_server_s_answer(bench: Callable[..., Any]) -> None:
    assert "unknown model: 'nix'" in bench("nix", status=1).err
    assert "unknown model: 'nix'" in bench("nix", status=1, protocol="grpc").err


def test_a_process_that_is_not_there(bench: Callable[..., Any]) -> None:
    printed = bench("both", "--shape", "word:1", "--pid", "999999999", status=2)
    assert printed.err == "error: --pid 999999999: there is no such process on this machine\n"
