"""`kill -9` of the server in the middle of a step: nothing of it is left, and the next start serves what is on disk.

What a server writes, each with whoever makes it complete before it is seen:

* `release.json` in a model's directory (or below --release-directory): `repository/routing/store`
* files that have come with loads, below TMPDIR: `repository/uploads/store`
* what is fetched from remote repositories, below --staging-dir: `repository/locations`
* environments of models: `environments/store`
* what models keep, below --model-cache-dir: theirs
* shared memory and sockets of models' processes: gone with them

To add a moment: a function that leads a server to it, in `MOMENTS`. It may leave a load, a request or a gate open, and
returns what the model of its own is to answer on the next server, by version or label; "": where none is named.
"""

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import RunningServer, WriteModel, launch
from tests.integration.handlers import GATED, slow_to_close, slow_to_load, versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of, post_load
from tests.integration.support import Gate, Wire, gated_request, new_tag, wait_until
from tests.isolation.conftest import children

pytestmark = pytest.mark.slow

FLAGS = (
    "--model-control-mode=explicit",
    "--load-model=*",
    "--allow-file-override",
    "--exit-on-error=false",
    "--exit-timeout-secs=5",
    # As many as there are loads that do not end.
    "--model-load-thread-count=8",
)
MEGABYTE = 1024 * 1024
ALL = "version_policy { all { } }"

# By version or label, the number that it answers with; None: it is refused.
Answers = dict[str, int | None]


@dataclass
class Scene:
    """A server that is about to be killed, and what has to be let go of afterwards."""

    server: RunningServer
    name: str
    root: Path
    write: WriteModel
    later: ThreadPoolExecutor
    stack: ExitStack

    def write_model(self, code: str, config: str = "", version: int = 1) -> None:
        self.write(self.root, self.name, code, config, version)

    @property
    def path(self) -> str:
        """Of its control calls."""
        return f"/v2/repository/models/{self.name}"

    def load(self) -> int:
        """Status of a load."""
        return post_load(self.server, self.name).status_code

    def answer(self) -> int:
        """Which number it answers with."""
        return answer_of(self.server, self.name)

    def release(self, document: object) -> None:
        """Change its release."""
        answer = self.server.post(f"{self.path}/release", json=document)
        assert answer.status_code == 200, answer.text

    def load_later(self, body: object = None) -> None:
        """Ask for a load that is not answered any more."""

        def ask() -> None:
            with suppress(httpx.HTTPError):
                httpx.post(f"{self.server.rest}{self.path}/load", json=body or {}, timeout=60)

        self.later.submit(ask)

    def infer_later(self) -> None:
        """A request that is not answered any more."""

        def ask() -> None:
            with suppress(httpx.HTTPError):
                httpx.post(f"{self.server.rest}/v2/models/{self.name}/infer", json=ASK, timeout=60)

        self.later.submit(ask)

    def gate(self) -> Gate:
        return self.stack.enter_context(Gate())


def in_a_first_load(scene: Scene) -> Answers:
    gate = scene.gate()
    scene.write_model(slow_to_load(gate.port, 3))
    scene.load_later()
    gate.await_start()
    # So that the next start need not wait for the gate.
    scene.write_model(versioned(4))
    return {"": 4}


def in_a_reload(scene: Scene) -> Answers:
    scene.write_model(versioned(1))
    assert scene.load() == 200
    gate = scene.gate()
    scene.write_model(slow_to_load(gate.port, 3))
    scene.load_later()
    gate.await_start()
    assert scene.answer() == 1
    scene.write_model(versioned(22))
    return {"": 22}


def in_an_unload(scene: Scene) -> Answers:
    gate = scene.gate()
    scene.write_model(slow_to_close(gate.port))
    assert scene.load() == 200
    assert scene.server.post(f"{scene.path}/unload").status_code == 200
    gate.await_start()
    scene.write_model(versioned(5))
    return {"": 5}


def while_a_replaced_version_drains(scene: Scene) -> Answers:
    gate = scene.gate()
    scene.write_model(GATED)
    assert scene.load() == 200
    scene.stack.enter_context(Wire(scene.server)).send_infer(scene.name, gated_request(new_tag(), gate.port))
    gate.await_start()
    scene.write_model(versioned(6))
    assert scene.load() == 200
    assert scene.answer() == 6
    return {"": 6}


def after_a_failed_update(scene: Scene) -> Answers:
    scene.write_model(versioned(1), ALL)
    assert scene.load() == 200
    scene.write_model(BROKEN, ALL, 2)
    assert scene.load() == 400
    # A broken version does not keep the next server from serving the other.
    return {"": 1}


def with_uploaded_files(scene: Scene) -> Answers:
    """They are gone with the server: the next one serves the directory."""
    scene.write_model(versioned(7))
    content = base64.b64encode(versioned(8).encode()).decode()
    parameters = {"config": json.dumps({"backend": "python"}), "file:1/model.py": content}
    answer = scene.server.post(f"{scene.path}/load", json={"parameters": parameters})
    assert answer.status_code == 200, answer.text
    assert scene.answer() == 8
    return {"": 7}


def in_a_load_of_uploaded_files(scene: Scene) -> Answers:
    gate = scene.gate()
    scene.write_model(versioned(9))
    content = base64.b64encode(slow_to_load(gate.port).encode()).decode()
    scene.load_later(
        {"parameters": {"config": json.dumps({"backend": "python"}), "file:1/model.py": content}}
    )
    gate.await_start()
    return {"": 9}


def with_an_override(scene: Scene) -> Answers:
    """It is gone with the server."""
    scene.write_model(versioned(1))
    scene.write_model(versioned(2), version=2)
    override = json.dumps({"backend": "python", "version_policy": {"specific": {"versions": [1]}}})
    answer = scene.server.post(f"{scene.path}/load", json={"parameters": {"config": override}})
    assert answer.status_code == 200, answer.text
    assert scene.answer() == 1
    return {"": 2}


def with_a_release(scene: Scene) -> Answers:
    """It is kept: the answer is that of the version which it names."""
    for version in (1, 2):
        scene.write_model(versioned(version), ALL, version)
    assert scene.load() == 200
    scene.release({"labels": {"PROD": 2}, "split": {"shares": {"1": 100}}})
    assert scene.answer() == 1
    return {"": 1, "1": 1, "2": 2, "PROD": 2}


def after_a_release_was_rolled_back(scene: Scene) -> Answers:
    """The last that was said counts."""
    for version in (1, 2):
        scene.write_model(versioned(version), ALL, version)
    assert scene.load() == 200
    for document in (
        {"labels": {"PROD": 1}, "split": {"shares": {"1": 100}}},
        {"labels": {"PROD": 2, "STG": 2}, "split": {"shares": {"1": 50, "2": 50}}},
        {"labels": {"PROD": 1}, "split": None},
    ):
        scene.release(document)
    return {"": 2, "PROD": 1, "STG": 2}


def with_a_label_of_a_version_that_is_broken_since(scene: Scene) -> Answers:
    """The next server has nothing of it, and says so to those who ask for it; the others are answered."""
    for version in (1, 2, 3):
        scene.write_model(versioned(version), ALL, version)
    assert scene.load() == 200
    scene.release({"labels": {"PROD": 3, "STG": 2}})
    scene.write_model(BROKEN, ALL, 3)
    assert scene.load() == 400
    return {"": 2, "STG": 2, "PROD": None, "3": None}


def while_a_copy_is_executed(scene: Scene) -> Answers:
    gate = scene.gate()
    for version in (1, 2):
        scene.write_model(GATED, ALL, version)
    assert scene.load() == 200
    scene.release({"labels": {"PROD": 2}, "shadow": {"version": 1}})
    wire = scene.stack.enter_context(Wire(scene.server))
    wire.send_infer(scene.name, gated_request(new_tag(), gate.port))
    gate.await_start()
    gate.open()
    assert wire.response().status_code == 200
    # That is the copy.
    gate.await_start()
    for version in (1, 2):
        scene.write_model(versioned(version), ALL, version)
    return {"": 2, "PROD": 2}


def in_a_reload_that_reads_another_release(scene: Scene) -> Answers:
    """What the file says is in force on the next server, whether this one had come to it or not."""
    for version in (1, 2):
        scene.write_model(versioned(version), ALL, version)
    assert scene.load() == 200
    scene.release({"labels": {"PROD": 1}})
    gate = scene.gate()
    scene.write_model(slow_to_load(gate.port, 2), ALL, 2)
    (scene.root / scene.name / "release.json").write_text('{"labels": {"PROD": 2}}')
    scene.load_later()
    gate.await_start()
    scene.write_model(versioned(23), ALL, 2)
    return {"": 23, "1": 1, "PROD": 23}


def with_a_process_of_its_own(scene: Scene) -> Answers:
    scene.write_model(versioned(10), 'parameters { key: "isolation" value { string_value: "process" } }')
    assert scene.load() == 200
    assert children(scene.server.process.pid)
    return {"": 10}


def while_a_process_of_its_own_loads(scene: Scene) -> Answers:
    gate = scene.gate()
    isolated = 'parameters { key: "isolation" value { string_value: "process" } }'
    scene.write_model(slow_to_load(gate.port), isolated)
    scene.load_later()
    gate.await_start()
    assert children(scene.server.process.pid)
    scene.write_model(versioned(11), isolated)
    return {"": 11}


MOMENTS: dict[str, Callable[[Scene], Answers]] = {
    moment.__name__: moment
    for moment in (
        in_a_first_load,
        in_a_reload,
        in_an_unload,
        while_a_replaced_version_drains,
        after_a_failed_update,
        with_uploaded_files,
        in_a_load_of_uploaded_files,
        with_an_override,
        with_a_release,
        after_a_release_was_rolled_back,
        with_a_label_of_a_version_that_is_broken_since,
        while_a_copy_is_executed,
        in_a_reload_that_reads_another_release,
        with_a_process_of_its_own,
        while_a_process_of_its_own_loads,
    )
}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The servers' directory for temporary files."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    return path


@pytest.fixture
def later() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def is_there(pid: int) -> bool:
    """Whether a process runs, and is not only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def answers_of(server: RunningServer, name: str, versions: Iterable[str]) -> Answers:
    """What a model answers with by each of these versions or labels."""
    found: Answers = {}
    for version in versions:
        answer = server.infer(f"{name}/versions/{version}" if version else name, ASK)
        assert answer.status_code in (200, 503), answer.text
        found[version] = answer.json()["outputs"][0]["data"][0] if answer.status_code == 200 else None
    return found


def test_the_next_start_is_right(
    tmp_path: Path, scratch: Path, write_model: WriteModel, later: ThreadPoolExecutor
) -> None:
    """Each moment has a model of its own, so that one server may be killed in the middle of all of them."""
    root, logs = tmp_path / "models", tmp_path / "logs"
    root.mkdir()
    logs.mkdir()
    first = launch(logs, root, *FLAGS)
    with ExitStack() as stack:
        try:
            expected = {
                name: moment(Scene(first, name, root, write_model, later, stack))
                for name, moment in MOMENTS.items()
            }
            processes = children(first.process.pid)
        finally:
            assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(map(is_there, processes)))
    second = launch(logs, root, *FLAGS)
    try:
        assert {name: answers_of(second, name, given) for name, given in expected.items()} == expected
        # Nothing of the first one is left.
        assert not list(scratch.glob("kserve-v2-uploads-*"))
        left = [path for path in root.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]
        assert left == []
    finally:
        assert second.stop() == 0


def test_in_an_eviction(
    tmp_path: Path, scratch: Path, write_model: WriteModel, later: ThreadPoolExecutor
) -> None:
    """One goes, and who asks for the other waits for that: the next server knows of neither, and has room for each."""
    root, logs = tmp_path / "models", tmp_path / "logs"
    root.mkdir()
    logs.mkdir()
    flags = ("--model-control-mode=on-demand", f"--memory-budget=cpu={60 * MEGABYTE}", "--processes=1")
    first = launch(logs, root, *flags, "--memory-min-idle-secs=0")
    with ExitStack() as stack:
        try:
            scenes = [Scene(first, name, root, write_model, later, stack) for name in ("left", "right")]
            gate = scenes[0].gate()
            for scene in scenes:
                scene.write_model(slow_to_close(gate.port))
                with (root / scene.name / "1" / "weights").open("wb") as file:
                    # No room for both.
                    file.truncate(40 * MEGABYTE)
            scenes[0].release({"labels": {"PROD": 1}})
            scenes[1].infer_later()
            gate.await_start()
        finally:
            assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    for number, scene in enumerate(scenes):
        scene.write_model(versioned(number))
    second = launch(logs, root, *flags, "--memory-min-idle-secs=0")
    try:
        assert all("state" not in entry for entry in second.post("/v2/repository/index").json())
        assert answers_of(second, "left", ("PROD", "1", "")) == {"PROD": 0, "1": 0, "": 0}
        assert answers_of(second, "right", ("",)) == {"": 1}
        states = {entry["name"]: entry["state"] for entry in second.post("/v2/repository/index").json()}
        assert states == {"left": "UNAVAILABLE", "right": "READY"}
        assert answers_of(second, "left", ("PROD",)) == {"PROD": 0}
    finally:
        assert second.stop() == 0


RELEASES = (
    {"labels": {"PROD": 1}, "split": {"shares": {"1": 100}}},
    {"labels": {"PROD": 2}, "split": None, "shadow": {"version": 1}},
    {"labels": {"PROD": 1}, "split": {"shares": {"1": 50, "2": 50}}, "shadow": None},
)


def test_killed_at_any_time(
    tmp_path: Path, scratch: Path, write_model: WriteModel, later: ThreadPoolExecutor
) -> None:
    """Reloads and releases all the time, and a kill in the middle of whatever it is: a few times."""
    root, logs = tmp_path / "models", tmp_path / "logs"
    root.mkdir()
    logs.mkdir()
    number = 1
    for version in (1, 2):
        write_model(root, "m", versioned(number), ALL, version)
    (root / "m" / "release.json").write_text('{"labels": {"PROD": 1}}')
    everywhere = ("", "1", "2", "PROD")
    for delay_ms in (5, 150):
        server = launch(logs, root, *FLAGS)
        assert answers_of(server, "m", everywhere) == dict.fromkeys(everywhere, number)
        began = time.monotonic()

        def kill(pid: int = server.process.pid, delay_s: float = delay_ms / 1000) -> None:
            time.sleep(delay_s)
            os.kill(pid, signal.SIGKILL)

        killing = later.submit(kill)
        with suppress(httpx.HTTPError):
            while time.monotonic() < began + 60:
                number += 1
                for version in (1, 2):
                    write_model(root, "m", versioned(number), ALL, version)
                assert post_load(server, "m").status_code == 200
                document = RELEASES[number % len(RELEASES)]
                answer = httpx.post(f"{server.rest}/v2/repository/models/m/release", json=document)
                assert answer.status_code == 200, answer.text
                assert httpx.post(f"{server.rest}/v2/models/m/infer", json=ASK).status_code == 200
        killing.result()
        assert server.stop() == -signal.SIGKILL
    server = launch(logs, root, *FLAGS)
    assert answers_of(server, "m", everywhere) == dict.fromkeys(everywhere, number)
    assert server.stop() == 0
