"""Asks our server and a real MLServer the same, and says where they differ: `make compare-mlserver`.

    python -m tests.mlserver.compare OURS THEIRS [--record]

`OURS`, `THEIRS`: the bin folders of their environments. `--record`: keep what MLServer says as what the tests expect.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.mlserver.cases import SAME

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
# Of no model's making.
_OTHER_HEADERS = {
    "content-encoding",
    "date",
    "server",
    "content-length",
    "content-type",
    "vary",
    "connection",
    "transfer-encoding",
}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def ask(port: int, method: str, path: str, body: Any) -> tuple[int, dict[str, str], Any]:
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
    request.add_header("content-type", "application/json")
    request.add_header("x-mine", "mine")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return told(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return told(error.code, error.headers, error.read())


def told(status: int, headers: Any, body: bytes) -> tuple[int, dict[str, str], Any]:
    """What is compared of an answer: status, headers, and JSON, or the JSON of each event."""
    kept = {name.lower(): value for name, value in headers.items() if name.lower() not in _OTHER_HEADERS}
    if body.startswith(b"data: "):
        return (
            status,
            kept,
            [json.loads(each.removeprefix(b"data: ")) for each in body.split(b"\n\n") if each],
        )
    try:
        return status, kept, json.loads(body)
    except ValueError:
        return status, kept, body.decode(errors="replace")


def start(command: list[str], folder: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    for _ in range(300):
        try:
            if ask(port, "GET", "/v2/health/ready", None)[0] == 200:
                return process
        except OSError:
            pass
        time.sleep(0.2)
    process.kill()
    raise SystemExit(f"{command[0]} did not get ready")


def main() -> None:
    ours, theirs = (Path(each).absolute() for each in sys.argv[1:3])
    options = sys.argv[3:]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copytree(HERE / "models", folder / "models")
        ports = free_ports(6)
        settings = {
            "host": "127.0.0.1",
            "http_port": ports[0],
            "grpc_port": ports[1],
            "metrics_port": ports[2],
            "parallel_workers": 0,
        }
        (folder / "models" / "settings.json").write_text(json.dumps(settings))
        names = ("--http-port", "--grpc-port", "--metrics-port")
        flags = [text for pair in zip(names, map(str, ports[3:]), strict=True) for text in pair]
        processes = [
            start([f"{theirs}/mlserver", "start", "models"], folder, ports[0]),
            start([f"{ours}/kserve-v2", "serve", "models", *flags], folder, ports[3]),
        ]
        try:
            answers = {name: (ask(ports[3], *case), ask(ports[0], *case)) for name, case in SAME.items()}
        finally:
            for each in processes:
                each.terminate()
                each.wait()
    different = {name: pair for name, pair in answers.items() if pair[0] != pair[1]}
    for name, (our_answer, their_answer) in different.items():
        print(f"{name}\n  ours   {our_answer}\n  theirs {their_answer}")
    print(f"{len(answers) - len(different)} of {len(answers)} answers are the same")
    if "--record" in options:
        EXPECTED.write_text(
            json.dumps({name: pair[1] for name, pair in answers.items()}, indent=1, ensure_ascii=False) + "\n"
        )
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
