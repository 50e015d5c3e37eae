"""A short soak, and that it would notice what it looks for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RunningServer, StartServer
from tests.integration.support import Wire, wait_until
from tests.soak.http1 import post
from tests.soak.ledger import Account, Ledger
from tests.soak.models import write_models
from tests.soak.observe import MAX_GROWTH_BYTES, State, counted, observe, settled
from tests.soak.rest_traffic import json_request

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = State(descriptors=20, threads=10, tasks=1, objects=1000, resident_bytes=80_000_000)


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    repository = tmp_path_factory.mktemp("soak")
    write_models(repository, 100)
    return start_server(repository)


@pytest.mark.parametrize(
    ("success", "fail", "found"),
    [
        (10, 3, []),
        (14, 3, []),
        (12, 5, []),
        (9, 4, ["m: 10 answered, but 9 counted as success"]),
        (11, 1, ["m: 2 failed, but 1 counted as failure", "m: 11 + 1 counted, expected 13 to 17"]),
        (10, 2, ["m: 10 + 2 counted, expected 13 to 17"]),
        (15, 3, ["m: 15 + 3 counted, expected 13 to 17"]),
    ],
)
def test_an_account(success: int, fail: int, found: list[str]) -> None:
    account = Account(answered=10, failed=2, left=1, unsure=4)
    assert account.problems("m", success, fail) == found


def test_a_wrong_answer_is_a_problem() -> None:
    ledger = Ledger()
    ledger.account("m").answered = 1
    ledger.expect(True, "right")
    ledger.expect(False, "wrong")
    assert ledger.problems({"m": (1, 0)}) == ["wrong"]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("descriptors", 21, ["21 descriptors, 20 before"]),
        ("descriptors", 19, []),
        ("threads", 11, ["11 threads, 10 before"]),
        ("tasks", 2, ["2 tasks, 1 before"]),
        ("resident_bytes", 80_000_000 + MAX_GROWTH_BYTES, []),
        ("resident_bytes", 80_000_001 + MAX_GROWTH_BYTES, ["16.0 MiB more memory"]),
    ],
)
def test_what_is_left_over(name: str, value: int, found: list[str]) -> None:
    assert State(**{**vars(STATE), name: value}).left_over(STATE) == found


@pytest.mark.slow
def test_what_is_under_way_is_seen_and_is_gone_when_its_client_is(server: RunningServer) -> None:
    before = settled(server, None)
    with Wire(server) as wire:
        wire.send(post("/v2/models/count/generate_stream", b'{"TAG": 1, "N": 2000000000}'))
        assert wire.response().status_code == 200
        left_over = observe(server).left_over(before)
    assert [each.split()[1] for each in left_over] == ["descriptors,", "tasks,"]
    assert settled(server, before).left_over(before) == []


@pytest.mark.slow
def test_who_leaves_at_once_is_counted_once(server: RunningServer) -> None:
    success, fail = counted(server)["tagged"]
    for tag in range(20):
        with Wire(server) as wire:
            wire.send(json_request("tagged", tag))
    wait_until(lambda: sum(counted(server)["tagged"]) == success + fail + 20)


@pytest.mark.slow
def test_a_short_soak() -> None:
    command = [sys.executable, "-m", "tests.soak", "--requests", "20000"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "no problem found" in ended.stdout
