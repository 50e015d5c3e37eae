"""The command line: exit status, the one line that an error is, help that teaches."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kserve_v2.cli import main
from kserve_v2.settings.settings import OPTIONS

FRAMEWORKS = ("torch", "onnxruntime", "fastapi", "starlette", "uvicorn", "grpc", "numpy")


# Sends itself SIGINT when a module is imported.
_INTERRUPTED = """
import os, runpy, signal, sys

module, sys.argv[1:] = sys.argv[1], ["init", "m", "--template", "handler"]

class Finder:
    @staticmethod
    def find_spec(name, *_):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
runpy.run_module("kserve_v2", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "status"),
    [("kserve_v2.commands.registry", -signal.SIGINT), ("kserve_v2.commands.making.make", 130)],
)
def test_an_interrupt_has_no_traceback(module: str, status: int, tmp_path: Path) -> None:
    """Neither while the program is imported, nor while a command is."""
    command = [sys.executable, "-c", _INTERRUPTED, module]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", "")


@pytest.mark.parametrize(
    ("argv", "environ", "status", "line"),
    [
        (
            [],
            {},
            2,
            "error: no command given, expected one of: serve, init, ",
        ),
        (["serv"], {}, 2, "error: there is no command 'serv', did you mean serve? (see kserve-v2 --help)"),
        (["xyzzy"], {}, 2, "error: there is no command 'xyzzy', expected one of: serve, init, "),
        (["model.onnx"], {}, 2, "error: there is no command 'model.onnx', "),
        (
            ["serve"],
            {},
            2,
            "error: nothing to serve: name a model or a repository, as in kserve-v2 serve model.onnx, or give --model-repository DIR (or KSERVE_V2_MODEL_REPOSITORY)",
        ),
        (["serve", "--htp-port", "80"], {}, 2, "error: unknown option --htp-port, did you mean --http-port?"),
        (["serve", "--model-rep=x"], {}, 2, "error: unknown option --model-rep, did you mean --model-store?"),
        (["serve", "--xyzzy"], {}, 2, "error: unknown option --xyzzy"),
        (["serve", "models"], {}, 2, "error: models does not exist; expected a repository, a model's folder"),
        (["serve", "--http-port"], {}, 2, "error: argument --http-port: expected one argument"),
        (
            ["serve", "--http-port=x"],
            {},
            2,
            "error: --http-port: expected a whole number from 0 to 65535, got 'x'",
        ),
        (
            ["serve"],
            {"KSERVE_V2_ALLOW_GRPC": "y"},
            2,
            "error: KSERVE_V2_ALLOW_GRPC: expected true, false, 1 or 0, got 'y'",
        ),
        (["serve", "--model-store=/no/such"], {}, 1, "error: model repository '/no/such' does not exist"),
        (
            ["serve"],
            {"KSERVE_V2_MODEL_REPOSITORY": __file__},
            1,
            f"error: model repository '{__file__}' is not a directory",
        ),
    ],
)
def test_a_mistake_is_one_line_and_a_status(
    argv: list[str], environ: dict[str, str], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv, environ) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(line)
    assert printed.err.count("\n") == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "kserve-v2 0.1.0\n"


@pytest.mark.parametrize("argv", [["--help"], ["serve", "--help"]])
def test_help_is_for_reading(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 0
    assert "kserve-v2 serve" in capsys.readouterr().out


def test_help_shows_every_option_with_its_default_and_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = capsys.readouterr().out
    for option in OPTIONS:
        shown = option.kind.show(option.default)
        assert f"{option.help} [{f'default {shown}; ' if shown else ''}{option.variable}]" in text
    for group in (
        "Model repository:",
        "REST over HTTP:",
        "gRPC:",
        "Metrics:",
        "Server:",
        "Logs:",
        "Backends:",
    ):
        assert f"\n{group}\n" in text
    assert "pinned-memory-pool-byte-size" not in text
    assert text.count("kserve-v2 serve --") >= 4


def test_the_command_line_is_there_before_the_frameworks() -> None:
    code = f"""
import sys, kserve_v2, kserve_v2.cli
print([name for name in {FRAMEWORKS!r} if name in sys.modules])
kserve_v2.cli.main(["serve", "--http-port=x"])
print([name for name in {FRAMEWORKS!r} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n[]\n"


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "kserve_v2"], [str(Path(sys.executable).with_name("kserve-v2"))]]
)
def test_the_command_is_installed(command: list[str]) -> None:
    ran = subprocess.run(
        [*command, "serve", "--http-port=x"], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: --http-port: expected a whole number from 0 to 65535, got 'x'\n"


DOUBLE = """
class Model:
    inputs = {"x": ("INT32", [1])}
    outputs = {"y": ("INT32", [1])}

    def __call__(self, inputs):
        return {"y": inputs["x"] * 2}
"""


@pytest.mark.slow
def test_a_server_says_what_it_was_told_and_logs_requests_if_asked(
    tmp_path: Path, start_server: Callable[..., Any], write_model: Callable[..., Path]
) -> None:
    write_model(tmp_path, "double", DOUBLE)
    server = start_server(tmp_path, "--log-access", "--log-format=json", "--trace-count=5", "--id", "east")
    tensor = {"name": "x", "datatype": "INT32", "shape": [1], "data": [21]}
    answer = server.infer("double", {"id": "r-1", "inputs": [tensor]})
    assert answer.json()["outputs"][0]["data"] == [42]
    assert server.stop() == 0

    printed = "".join(server.output)
    assert re.search(r"^  --id +east \(default kserve-v2\)$", printed, re.MULTILINE)
    assert re.search(r"^\| double \| 1 +\| READY +\| \d+\.\d\d s +\|( [^|]+\|)?$", printed, re.MULTILINE)
    records = [json.loads(line) for line in server.log.splitlines()]
    assert "--trace-count is ignored: it has been replaced by --trace-config count=N" in [
        record["message"] for record in records
    ]
    [access] = [record for record in records if record["logger"] == "kserve_v2.access"]
    expected = {
        "protocol": "rest",
        "model": "double",
        "request_id": "r-1",
        "status": 200,
        "batch_rows": 1,
    }
    assert {name: access[name] for name in expected} == expected


@pytest.mark.slow
def test_a_port_in_use_is_one_line_and_status_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = subprocess.run(
            [
                sys.executable,
                "-m",
                "kserve_v2",
                "serve",
                "--model-repository",
                tmp_path,
                f"--http-port={port}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 1
    assert ran.stderr == (
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use; --http-port, --grpc-port and --metrics-port "
        "take others, or 0 for any that is free\n"
    )


@pytest.mark.slow
def test_a_port_of_torchserve_in_use_is_named_by_its_property(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = f"inference_address=http://127.0.0.1:0\nmanagement_address=http://127.0.0.1:{port}\n"
        (tmp_path / "config.properties").write_text(ports)
        ran = subprocess.run(
            [sys.executable, "-m", "kserve_v2", "serve", "--torchserve", f"--model-store={tmp_path}"]
            + [f"--{name}-port=0" for name in ("http", "grpc", "metrics")],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another place for TorchServe's API "
        "with management_address in config.properties"
    )
