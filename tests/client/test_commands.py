"""`kserve-v2 infer`, `models`, `load`, `unload` and `stats` against a real server."""

import base64
import io
import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kserve_v2.cli import main
from kserve_v2.client import Client
from kserve_v2.commands.asking.given import values_of
from kserve_v2.commands.asking.stats import Numbers, row_of, rows_of
from kserve_v2.settings.flags import resolve
from tests.client.conftest import url_of
from tests.client.scripted import Scripted
from tests.conftest import RunningServer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["rest", "grpc"])
def run(server: RunningServer, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Run:
    """Runs a command against the server, over each protocol; returns its status and what it has printed."""
    url = url_of(server, request.param)

    def do(*argv: str) -> tuple[int, str, str]:
        status = main(argv, {"KSERVE_V2_URL": url})
        said = capsys.readouterr()
        return status, said.out, said.err

    return do


def answer(run: Run, *argv: str) -> dict[str, Any]:
    """The outputs of `infer --json` by name."""
    status, out, err = run("infer", *argv, "--json")
    assert (status, err) == (0, "")
    return {each["name"]: each["data"] for each in json.loads(out)["outputs"]}


def test_a_table(run: Run) -> None:
    assert run("infer", "two", "A=[1,2]", "B=[[3,4]]") == (
        0,
        "two version 1\nOUTPUT  DATATYPE  SHAPE  VALUES\nX       INT32     [1,2]  4, 6\nY       INT32     [1,2]  -2, -2\n",
        "",
    )
    status, out, _ = run("infer", "text", "IN=\x1b[31m\u202ered\n")
    assert (status, out.splitlines()[-1]) == (0, "OUT     BYTES     [1]    \\x1b[31m\\u202ered\\n")


def test_labels(run: Run) -> None:
    lines = run("infer", "classes", "IN=[0.5,0.25,2]")[1].splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["OUTPUT", "DATATYPE", "SHAPE"], ["COUNTS", "INT32", "[3]"], ["FLAGS", "BOOL", "[3]"],
    ]  # fmt: skip
    assert lines[4].split() == ["SCORES", "VALUE"]
    assert [line.split()[-2:] for line in lines[5:]] == [["small", "2"], ["cat", "0.5"], ["dog", "0.25"]]
    # Only probabilities have bars: not scores some of which might be ones.
    likely = run("infer", "classes", "IN=[0.5,0.25,0]")[1].splitlines()[5:]
    assert [line.split()[-2:] for line in likely[:2]] == [["0.5", "█" * 10], ["0.25", "█" * 5]]
    rows = run("infer", "classes", "IN=[[1,0,0],[0,1,0]]", "--classes=1", "--output=SCORES")[1].splitlines()
    assert [line.split()[:3] for line in rows[2:]] == [["0", "cat", "1"], ["1", "dog", "1"]]
    whole = run("infer", "classes", "IN=[1,0,0]", "--classes=0", "--output=SCORES")[1]
    assert whole.splitlines()[-1].split() == ["SCORES", "FP32", "[3]", "1,", "0,", "0"]


def test_what_a_value_means(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def file(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return f"@{tmp_path / name}"

    assert answer(run, "text", "IN=[1]")["OUT"] == ["[1]"]
    assert answer(run, "text", "IN=a=b", "IN=@@c")["OUT"] == ["a=b", "@c"]
    assert answer(run, "text", "IN=" + file("a.txt", b"t\n"), "IN=" + file("b.bin", b"\xff"))["OUT"] == [
        "t\n", {"b64": "/w=="},
    ]  # fmt: skip
    assert answer(run, "text", "IN=" + file("t.json", b'["x"]'))["OUT"] == ["x"]
    assert answer(run, "versions", "IN=5")["VERSION"] == [2]
    np.save(tmp_path / "a.npy", np.array([[1, 2]], np.int64))
    assert answer(run, "two", f"A=@{tmp_path / 'a.npy'}", "B=" + file("b.json", b"[[3, 4]]"))["X"] == [4, 6]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[3, 4]")))
    assert answer(run, "two", "A=-", "B=[1,1]")["X"] == [4, 5]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))
    assert answer(run, "text", "IN=-")["OUT"] == [{"b64": "/wo="}]


def test_a_row_may_do_without_brackets_and_quotes(run: Run) -> None:
    assert (
        answer(run, "two", "A=1,2", "B=3, -4")["X"]
        == answer(run, "two", "A=[1,2]", "B=[3,-4]")["X"]
        == [4, -2]
    )
    # What is text stays text.
    assert answer(run, "text", "IN=1,2")["OUT"] == ["1,2"]


def test_rows_are_shown_in_lines_of_their_own(run: Run) -> None:
    rows = ["A=[[1,2],[3,4]]", "B=[[0,0],[1,1]]", "--output=X"]
    assert [line.split() for line in run("infer", "two", *rows)[1].splitlines()[2:]] == [
        ["X", "INT32", "[2,2]", "1,", "2"],
        ["4,", "5"],
    ]
    many = json.dumps([[number, 0] for number in range(9)])
    lines = run("infer", "rows_int32", f"IN={many}")[1].splitlines()
    assert (len(lines), lines[-2].split(), lines[-1].strip()) == (11, ["7,", "0"], "… (9 rows in all)")


def test_what_a_model_takes_is_told_to_those_who_leave_it_out(run: Run) -> None:
    status, _, err = run("infer", "two", "A=[1,2]")
    assert status == 1
    assert err == (
        "error: expected 2 inputs but got 1 inputs for model 'two'. Got input(s) ['A'], but missing required input(s) "
        "['B']. Please provide all required input(s); the model takes A:INT32[-1,2] B:INT32[-1,2]: give NAME=VALUE for "
        "each\n"
    )


def test_images(run: Run, tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    exif = Image.Exif()
    exif[0x0112] = 3  # to be shown turned by half a turn
    image.save(tmp_path / "a.png", exif=exif)
    path = f"@{tmp_path / 'a.png'}"
    # The file as it is, or its pixels as they are to be seen.
    [content] = answer(run, "file", f"file={path}")["file"]
    assert content == {"b64": base64.b64encode((tmp_path / "a.png").read_bytes()).decode()}
    assert answer(run, "chw", f"image={path}")["image"] == [5, 4, 3, 2, 1, 0]
    assert len(answer(run, "chw", f"image={path}", f"image={path}")["image"]) == 12
    status, _, err = run("infer", "chw_float", f"image={path}")
    assert (status, err.partition(":")[2].strip()[:46]) == (
        1,
        "input 'image' takes floating point numbers, an",
    )


def test_a_file_that_is_named_without_its_at_sign(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 2)).save(path)
    status, _, err = run("infer", "picture", f"image={path}")
    assert status == 1
    assert err.startswith("error: input 'image': it is neither JPEG nor PNG")
    assert err.endswith(f"; image=@{path} sends the file\n")
    assert run("infer", "picture", f"image=@{path}")[0] == 0
    assert "sends the file" not in run("infer", "picture", "image=nothing")[2]


def test_requests_from_files(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [{"name": name, "datatype": "INT32", "shape": [1, 2], "data": [[1, 2]]} for name in "AB"]
    request = json.dumps(
        {"id": "7", "inputs": tensors, "outputs": [{"name": "Y"}], "parameters": {"priority": 0}}
    )
    path = tmp_path / "r.json"
    path.write_text(request)
    assert answer(run, "two", "--request", str(path)) == {"Y": [0, 0]}
    assert answer(run, "two", "--request", str(path), "A=[[5,5]]") == {"Y": [4, 3]}
    monkeypatch.setattr("sys.stdin", io.StringIO(request))
    status, out, _ = run("infer", "two", "--request=-", "--json", "--output=X", "--request-id=8")
    assert (status, json.loads(out)["id"], json.loads(out)["outputs"][0]["name"]) == (0, "8", "X")


def request_file(folder: Path, *inputs: dict[str, Any], **more: Any) -> str:
    path = folder / "r.json"
    path.write_text(json.dumps({"inputs": inputs, **more}))
    return f"--request={path}"


def test_a_request_from_a_file_is_sent_as_it_is(run: Run, tmp_path: Path) -> None:
    encoded = {"shape": [1], "datatype": "BYTES", "parameters": {"content_type": "base64"}, "data": ["AP8="]}
    assert answer(run, "file", request_file(tmp_path, {"name": "file", **encoded}))["file"] == [
        {"b64": "AP8="}
    ]
    numbers = {"name": "IN", "datatype": "FP32", "shape": [1, 3], "data": [0.5, 0.25, 2]}
    wanted = [{"name": "SCORES", "parameters": {"classification": 1}}]
    [best] = answer(run, "classes", request_file(tmp_path, numbers, outputs=wanted))["SCORES"]
    assert best.startswith("2.0")
    good = {"name": "A", "datatype": "INT32", "shape": [1, 2], "data": [1, 2]}
    for data, said in (
        ([1.5, 2], "input 'B' takes INT32, got 1.5"),
        (["1", 2], "input 'B' takes INT32, got '1'"),
        ([2**31, 2], "input 'B' takes INT32, in which 2147483648"),
        ([1, 2, 3], "3 elements in 'data' do not make the shape [1, 2]"),
    ):
        status, _, err = run(
            "infer", "two", request_file(tmp_path, good, {**good, "name": "B", "data": data})
        )
        assert status == 2
        assert said in err


def test_parameters_sequences_and_versions(run: Run) -> None:
    options = (
        "--parameter=a=1",
        "--parameter=b=x",
        "--parameter=c=true",
        "--parameter=d=[1]",
        "--request-id=r",
    )
    [said] = answer(run, "parameters", "x=1", *options)["said"]
    assert json.loads(said) == {"id": "r", "parameters": {"a": 1, "b": "x", "c": True, "d": "[1]"}}
    assert answer(run, "versions", "IN=1", "--model-version=1")["VERSION"] == [1]
    assert answer(run, "sums", "x=5", "--sequence=901", "--sequence-start")["sum"] == [5]
    assert answer(run, "sums", "x=6", "--sequence=901", "--sequence-end")["sum"] == [11]
    assert run("infer", "sums", "x=1", "--sequence-start")[0] == 2


def test_streams_are_shown_as_they_come(run: Run) -> None:
    status, out, _ = run("infer", "count", "to=2", "text=")
    assert (status, [line.split()[-1] for line in out.splitlines() if line.startswith("number")]) == (
        0,
        ["0", "1"],
    )
    status, out, _ = run("infer", "count", "to=2", "text=", "--json")
    assert [json.loads(line)["outputs"][0]["data"] for line in out.splitlines()] == [[0], [1]]
    assert run("infer", "count", "to=0", "text=")[:2] == (0, "the model has ended without an answer\n")
    assert run("infer", "two", "A=[1,2]", "B=[3,4]", "--stream")[0] == 0
    status, out, err = run("infer", "ends_badly", "x=3")
    assert (status, err) == (1, "error: there is no second one\n")
    assert out.splitlines()[-1].split()[-1] == "3"


def test_answers_are_saved(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    assert run("infer", "two", "A=[1,2]", "B=[3,4]", "--save", str(path))[0] == 0
    with np.load(path, allow_pickle=False) as saved:
        assert {name: saved[name].tolist() for name in saved} == {"X": [4, 6], "Y": [-2, -2]}
    assert run("infer", "text", "IN=ü", "--save", str(path))[0] == 0
    with np.load(path, allow_pickle=False) as saved:
        assert saved["OUT"].tolist() == ["ü"]
    assert run("infer", "rows_bf16", "IN=[1.5]", "--save", str(path))[0] == 0
    with np.load(path, allow_pickle=False) as saved:
        assert (saved["OUT"].dtype, saved["OUT"].tolist()) == (np.float32, [1.5])
    (tmp_path / "b").write_bytes(b"\xff")
    status, _, err = run("infer", "text", f"IN=@{tmp_path / 'b'}", "--save", str(path))
    assert (status, "cannot hold without a pickle; --json writes them" in err) == (1, True)
    assert run("infer", "two", "A=[1,2]", "B=[3,4]", "--save", str(tmp_path / "no" / "a"))[0] == 1


@pytest.mark.parametrize(
    ("argv", "status", "problem"),
    [
        ("infer", 2, "expected a model: kserve-v2 infer MODEL NAME=VALUE (see kserve-v2 infer --help)"),
        ("infer A=1", 2, "expected a model: kserve-v2 infer MODEL NAME=VALUE (see kserve-v2 infer --help)"),
        ("infer two A", 2, "expected NAME=VALUE, got 'A' (see kserve-v2 infer --help)"),
        ("infer two A=x", 2,
         "A: the model takes INT32, so expected a number or lists of numbers as JSON has them, or @FILE, got 'x'"),
        ("infer two A=@nowhere", 2, "A: cannot read 'nowhere': No such file or directory"),
        ("infer two C=1", 1, "model 'two' has no input 'C', it has: A, B"),
        ("infer two A=[1,2,3] B=[1,2]", 1,
         "input 'A' takes shape [-1,2] ([2] without the batch), got shape [3]"),
        ("infer nobody A=1", 1,
         "Request for unknown model: 'nobody' is not found; kserve-v2 models lists those that are there"),
        ("infer two A=[1,2]", 1, "expected 2 inputs but got 1 inputs for model 'two'."),
        ("infer two A=1,x", 2,
         "A: the model takes INT32, so expected a number or lists of numbers as JSON has them, or @FILE, got '1,x'"),
        ("infer two --output=Z A=[1,2] B=[1,2]", 1, "model 'two' has no output 'Z', it has: X, Y"),
        ("infer two --parameter=x", 2, "--parameter: expected NAME=VALUE, got 'x'"),
        ("infer two --header=x", 2, "--header: expected NAME=VALUE, got 'x'"),
        ("infer two --timeout=0", 2, "argument --timeout: expected seconds above 0, got '0'"),
        ("infer two --request=nowhere", 2, "--request: cannot read 'nowhere': No such file or directory"),
        ("infer two --parameter=x=1 --parameter=x=2", 2, "--parameter: x is given twice, as 1 and as 2: give it once"),
        ("infer two --classes=3 --stream", 2, "--classes and --stream: a stream has no classes, leave one of them out"),
        ("infer two --request=a --request=b", 2, "--request is given twice, as a and as b: give it once"),
        ("infer two --sequence-start", 2, "--sequence-start and --sequence-end go with --sequence"),
        ("load a --config={} --file=1/x=/dev/null --file=1/x=/etc/hostname", 2,
         "--file: 1/x is given twice, the second time as '1/x=/etc/hostname': give it once"),
        ("stats --watch=1 --watch=2", 2, "--watch is given twice, as 1.0 and as 2.0: give it once"),
        ("load", 2, "expected a model: kserve-v2 load MODEL (see kserve-v2 load --help)"),
        ("load a b --config={}", 2, "--config and --file are for one model"),
        ("load a --file=1/x=y", 2, "--file goes with --config: say with which configuration the files are to be served"),
        ("load a --config={]", 2, "--config: it is no JSON: "),
        ("load a --config=nowhere", 2, "--config: cannot read 'nowhere': No such file or directory"),
        ("stats --count=1", 2, "--count goes with --watch"),
        ("stats --watch=1 --json", 2, "--json is for counters, and --watch for people: give one of them"),
        ("stats --watch=0", 2, "argument --watch: expected seconds from 0.05 on, got '0'"),
        ("models --ca-file=x", 2, "ca_file is for a server with TLS"),
        ("models --url=ftp://h", 2, "--url: expected a server's URL, which is http://HOST:PORT, "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(
    server: RunningServer, capsys: pytest.CaptureFixture[str], argv: str, status: int, problem: str
) -> None:
    assert main(argv.split(), {"KSERVE_V2_URL": server.rest}) == status
    said = capsys.readouterr()
    assert (said.out, said.err[: len(f"error: {problem}")]) == ("", f"error: {problem}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("argv", ["infer m x=1", "models", "load m", "unload m", "stats", "stats --watch"])
def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str], argv: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert main([*argv.split(), "--url", url], {"KSERVE_V2_URL": "http://elsewhere"}) == 1
    assert capsys.readouterr().err == (
        f"error: no server answers at {url}: Connection refused; start one with kserve-v2 serve, or name another with "
        "--url\n"
    )


def test_models_come_and_go(run: Run, tmp_path: Path) -> None:
    assert run("unload", "odd names", "parameters") == (0, "odd names: unloaded\nparameters: unloaded\n", "")
    assert run("unload", "nope") == (
        0,
        "nope: the server has no such model, so there was nothing to unload\n",
        "",
    )
    lines = run("models")[1].splitlines()
    assert lines[0].split() == ["MODEL", "VERSION", "STATE", "REASON"]
    [line] = [line.split() for line in lines if line.split()[0] == "parameters"]
    assert line[-2:] == ["UNAVAILABLE", "unloaded"]
    assert all("parameters" not in line for line in run("models", "--ready")[1].splitlines())
    found = {each["name"]: each for each in json.loads(run("models", "--json")[1])}
    assert found["two"] == {"name": "two", "version": "1", "state": "READY"}
    status, out, err = run("load", "nobody", "odd names", "parameters")
    assert (status, out) == (1, "odd names: ready, version 1\nparameters: ready, version 1\n")
    assert err.startswith("error: nobody: failed to load 'nobody'")
    code, config = tmp_path / "model.py", tmp_path / "config.pbtxt"
    code.write_text("class Model:\n    def __call__(self, inputs):\n        return {'y': inputs['x']}\n")
    config.write_text(
        'backend: "python" input [ { name: "x" data_type: TYPE_INT32 dims: [ 1 ] } ]'
        'output [ { name: "y" data_type: TYPE_INT32 dims: [ 1 ] } ]'
    )
    uploaded = ("load", "brought", f"--config={config}", f"--file=1/model.py={code}")
    assert run(*uploaded) == (0, "brought: ready, version 1\n", "")
    assert answer(run, "brought", "x=3") == {"y": [3]}
    assert run("unload", "brought", "--dependents")[0] == 0


def test_statistics(run: Run, server: RunningServer) -> None:
    with Client(server.rest) as client:
        client.infer("two", A=[[1, 2]] * 3, B=[[3, 4]] * 3)
    head, row = (line.split() for line in run("stats", "two")[1].splitlines())
    assert head == [
        "MODEL",
        "VERSION",
        "REQUESTS",
        "FAILED",
        "ROWS/EXEC",
        "LATENCY",
        "ms",
        "QUEUE",
        "ms",
        "COMPUTE",
        "ms",
        "CACHE",
    ]
    assert row[:2] == ["two", "1"]
    [counters] = json.loads(run("stats", "two", "--json")[1])
    assert counters["name"] == "two"
    tables = run("stats", "two", "--watch=0.05", "--count=2")[1].split("\n\n")
    assert [table.split()[2] for table in tables[:2]] == ["REQ/S", "REQ/S"]
    assert run("stats", "nobody")[0] == 1


def entry(requests: int, failed: int, rows: int, executions: int, ms: float, **more: Any) -> dict[str, Any]:
    counts = {"success": requests, "fail": failed, "queue": requests, "compute_infer": requests}
    ns = {"success": ms * 1e6, "queue": ms * 0.25e6, "compute_infer": ms * 0.5e6}
    stats = {name: {"count": count, "ns": int(ns.get(name, 0))} for name, count in counts.items()}
    return {"name": "m", "version": "1", "inference_count": rows, "execution_count": executions,
            "inference_stats": {**stats, **more}}  # fmt: skip


def test_rates_and_averages() -> None:
    before = entry(10, 1, 40, 10, 100)
    now = entry(30, 2, 140, 20, 180, cache_hit={"count": 5, "ns": 1}, cache_miss={"count": 15})
    assert row_of("m", "1", Numbers.of(before), None) == [
        "m", "1", "10", "1", "4.0", "10.000", "2.500", "5.000", "-",
    ]  # fmt: skip
    key = ("m", "1")
    assert rows_of({key: now}, {key: before}, 2.0) == [
        ["m", "1", "10.0", "1", "10.0", "4.000", "1.000", "2.000", "25 %"]
    ]
    # One that was loaded again meanwhile, and one that has come.
    assert rows_of({key: before}, {key: now}, 2.0) == rows_of({key: before}, {}, 2.0)
    assert rows_of({key: before}, {}, 2.0)[0][2] == "5.0"
    assert rows_of({key: now}, {key: now}, 2.0) == [["m", "1", "0.0", "0", "-", "-", "-", "-", "-"]]
    # Servers that tell less.
    assert rows_of({key: {"name": "m"}}, None, None) == [["m", "1", "0", "0", "-", "-", "-", "-", "-"]]


def test_other_servers_have_no_configuration(scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1]}
    scripted.answer("/v2", {"extensions": []})
    scripted.answer("/v2/models/m", {"name": "m", "inputs": [tensor], "outputs": [{**tensor, "name": "y"}]})
    scripted.answer(
        "/v2/models/m/infer", {"model_name": "m", "outputs": [{**tensor, "name": "y", "data": [2.5]}]}
    )
    environ = {"KSERVE_V2_URL": scripted.url, "KSERVE_V2_TOKEN": "secret"}
    assert main(["infer", "m", "x=1", "--header", "x-a=b=c"], environ) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["y", "FP32", "[1]", "2.5"]
    headers = scripted.asked[-1].headers
    assert (headers["authorization"], headers["x-a"]) == ("Bearer secret", "b=c")


@pytest.mark.slow
def test_on_a_terminal(server: RunningServer) -> None:
    """Tables are drawn there; a reader may leave in the midst."""
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "kserve_v2",
        "stats",
        "two",
        "--watch",
        "0.05",
        "--count",
        "2",
        "--url",
        server.rest,
    ]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": ""}
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environ, text=True) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # as Linux has it when the other end is closed
        assert process.stderr is not None
        assert (process.wait(60), process.stderr.read()) == (0, "")
    os.close(ours)
    assert "REQ/S" in shown.decode()
    assert b"\x1b[" in shown


def test_a_server_ignores_the_variables_of_its_clients_in_silence(tmp_path: Path) -> None:
    environ = {
        "KSERVE_V2_MODEL_REPOSITORY": str(tmp_path),
        "KSERVE_V2_URL": "http://h",
        "KSERVE_V2_TOKEN": "t",
    }
    _, warnings = resolve({}, environ)
    assert list(warnings) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("1,2,3", [1, 2, 3]), ("1, 2.5", [1, 2.5]), ("[1,2]", [1, 2]), ("true", True), ('"1,2"', "1,2"),
        ("1,000", "1,000"), ("1,x", "1,x"), ("1,true", "1,true"), ("a,b", "a,b"), ("1,", "1,"), (",", ","), ("", ""),
        ("{1,2", "{1,2"),
    ],
)  # fmt: skip
def test_what_a_model_does_not_name_is_what_it_looks_like(text: str, value: object) -> None:
    found = values_of([f"x={text}"], {})["x"]
    assert (found, type(found)) == (value, type(value))
