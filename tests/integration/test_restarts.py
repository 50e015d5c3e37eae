"""Models whose process dies while their files are not those that were loaded, over real sockets: what has answered
comes back, or nothing does until there is a load.
"""

import base64
import os
import shutil
import signal
from contextlib import suppress

import pytest

from tests.conftest import RunningServer
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.handlers import versioned
from tests.integration.lifecycle_requests import ASK, BROKEN, answer_of, model_ready, ready
from tests.integration.support import error_of, wait_until
from tests.isolation.conftest import children

pytestmark = pytest.mark.slow

ISOLATED = 'parameters { key: "isolation" value { string_value: "process" } }'
AWAY = (
    "the process of model 'm' was killed by signal 9 (SIGKILL); "
    "its files have changed since it was loaded: load it again"
)


def kill(server: RunningServer) -> None:
    """Its processes; it is waited for that the server knows of it."""
    for pid in children(server.process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def answers(server: RunningServer, number: int) -> bool:
    answer = server.infer("m", ASK)
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200 and answer.json()["outputs"][0]["data"] == [number]


def reason(explicit: ExplicitServer) -> str:
    (entry,) = explicit.index("m")
    return entry.get("reason", "")


@pytest.fixture(scope="module")
def restarting(start_explicit: StartExplicit) -> ExplicitServer:
    return start_explicit("--allow-file-override")


@pytest.fixture
def explicit(restarting: ExplicitServer) -> ExplicitServer:
    """A server with the model `m`, which answers with 1."""
    restarting.unload_all()
    shutil.rmtree(restarting.root / "m", ignore_errors=True)
    restarting.write("m", versioned(1), ISOLATED)
    assert restarting.load("m").status_code == 200
    return restarting


def test_files_that_were_edited_without_a_load(explicit: ExplicitServer) -> None:
    server = explicit.server
    kill(server)
    wait_until(lambda: answers(server, 1))
    explicit.write("m", versioned(222), ISOLATED)
    assert answer_of(server, "m") == 1
    kill(server)
    wait_until(lambda: reason(explicit).endswith("load it again"))
    (entry,) = explicit.index("m")
    assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", AWAY)
    answer = server.infer("m", ASK)
    assert answer.status_code == 503
    assert error_of(answer) == f"Request for unknown model: 'm' is not at ready state: {AWAY}"
    assert model_ready(server, "m") != 200
    assert ready(server) != 200
    assert explicit.load("m").status_code == 200
    assert answer_of(server, "m") == 222
    assert ready(server) == 200
    assert explicit.index("m") == [{"name": "m", "version": "1", "state": "READY"}]


def test_a_version_that_stays_away_is_neither_released_nor_stood_in_for(explicit: ExplicitServer) -> None:
    """An older version would be another answer to the same request, and nobody has said that it may be."""
    server, away = explicit.server, AWAY.replace("'m'", "'n'")
    explicit.write("n", versioned(1), ISOLATED + " version_policy { all { } }")
    explicit.write("n", versioned(2), ISOLATED + " version_policy { all { } }", version=2)
    assert explicit.load("n").status_code == 200
    explicit.write("n", versioned(222), ISOLATED + " version_policy { all { } }", version=2)
    kill(server)
    wait_until(lambda: explicit.index("n")[1].get("reason", "").endswith("load it again"))
    wait_until(lambda: server.infer("n/versions/1", ASK).status_code == 200)
    answer = server.infer("n", ASK)
    assert (answer.status_code, error_of(answer)) == (
        503, f"Request for unknown model: 'n' is not at ready state: {away}"
    )  # fmt: skip
    path = "/v2/repository/models/n/release"
    answer = server.post(path, json={"labels": {"PROD": 2}})
    assert (answer.status_code, error_of(answer)) == (
        503,
        f"labels['PROD']: version 2 of model 'n' is not ready, expected one that is (1): {away}",
    )
    # Whoever does want the older one says so.
    assert server.post(path, json={"split": {"shares": {"1": 100}}}).json()["ready_versions"] == ["1"]
    assert answer_of(server, "n") == 1
    assert explicit.load("n").status_code == 200
    assert server.post(path, json={"labels": {"PROD": 2}, "split": None}).status_code == 200
    assert answer_of(server, "n") == answer_of(server, "n", "PROD") == 222


def test_an_update_that_has_failed(explicit: ExplicitServer) -> None:
    server = explicit.server
    explicit.write("m", BROKEN, ISOLATED)
    assert explicit.load("m").status_code == 400
    assert answer_of(server, "m") == 1
    kill(server)
    wait_until(lambda: "load it again" in reason(explicit))
    away, _, failure = reason(explicit).partition("; not updated: ")
    assert away == AWAY
    assert "broken on purpose" in failure
    assert explicit.load("m").status_code == 400
    assert server.infer("m", ASK).status_code == 503
    explicit.write("m", versioned(33), ISOLATED)
    assert explicit.load("m").status_code == 200
    assert answer_of(server, "m") == 33


def test_files_that_have_come_with_a_load_do_not_change(explicit: ExplicitServer) -> None:
    server = explicit.server
    config = '{"backend": "python", "parameters": {"isolation": {"string_value": "process"}}}'
    sent = base64.b64encode(versioned(44).encode()).decode()
    parameters = {"config": config, "file:1/model.py": sent}
    assert explicit.load("m", json={"parameters": parameters}).status_code == 200
    explicit.write("m", versioned(222), ISOLATED)
    kill(server)
    wait_until(lambda: answers(server, 44))


def test_control_mode_poll_loads_it_by_itself(start_explicit: StartExplicit) -> None:
    polling = start_explicit(
        "--model-control-mode=poll", "--repository-poll-secs=1", "--repository-settle-secs=1"
    )
    server = polling.server
    polling.write("m", versioned(1), ISOLATED)
    wait_until(lambda: bool(polling.index("m")) and model_ready(server, "m") == 200)
    polling.write("m", BROKEN, ISOLATED)
    wait_until(lambda: reason(polling).startswith("not updated: "))
    kill(server)
    wait_until(lambda: reason(polling).startswith(f"{AWAY}; not updated: "))
    assert server.infer("m", ASK).status_code == 503
    polling.write("m", versioned(55), ISOLATED)
    wait_until(lambda: answers(server, 55))
    wait_until(lambda: polling.index("m") == [{"name": "m", "version": "1", "state": "READY"}])
