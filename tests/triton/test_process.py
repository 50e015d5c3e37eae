"""What is a matter of the process that a Triton model has."""

from pathlib import Path

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import wait_until
from tests.triton.lab import CONFIG, DECOUPLED, LAB
from tests.triton.test_lab import GOOD, SENT, run, stream

# The ways in which a model's process may be told from the server's.
SHARED = (
    CONFIG
    + 'instance_group [ { count: 3 } ]\nparameters { key: "isolation_processes" value { string_value: "1" } }'
)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel, start_server: StartServer
) -> RunningServer:
    root = tmp_path_factory.mktemp("lab")
    write_model(root, "lab", LAB, CONFIG)
    write_model(root, "labd", LAB, CONFIG + DECOUPLED)
    write_model(root, "shared", LAB, SHARED)
    write_model(
        root, "inside", LAB, CONFIG + 'parameters { key: "isolation" value { string_value: "none" } }'
    )
    return start_server(root)


def pid(server: RunningServer, model: str = "lab") -> int:
    return int(run(server, "return [answer(os.getpid())]", model)[1])


def test_a_process_for_each_model(server: RunningServer) -> None:
    assert len({server.process.pid, pid(server), pid(server, "shared")}) == 3
    assert pid(server, "inside") == server.process.pid


def test_modules_are_imported_as_triton_imports_them(server: RunningServer) -> None:
    code = """
import sys
return [answer([type(self).__module__, sys.modules["triton_python_backend_utils"] is pb_utils,
                [path for path in sys.path if path.endswith(("lab", "lab/1"))] == [
                    os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))],
                os.path.basename(__file__), os.getcwd() == "CWD"]
)]
""".replace("CWD", str(Path.cwd()))
    assert run(server, code) == (200, "['1.model', True, True, 'model.py', True]")


def test_what_it_prints_is_seen(server: RunningServer) -> None:
    assert run(server, "print('printed by the model', flush=True)\nreturn [answer()]") == (200, "done")
    wait_until(lambda: any("printed by the model" in line for line in server.output))


@pytest.mark.parametrize("death", ["os._exit(3)", "os.kill(os.getpid(), 9)", "os.abort()"])
def test_a_process_that_dies_comes_back(server: RunningServer, death: str) -> None:
    """In Triton the model stays ready and never answers again."""
    before = pid(server)
    # With an id of its own: a request whose executions kill one process after the other is refused in the end.
    status, text = run(server, death, id=death)
    assert status == 503
    assert text.startswith("the process of model 'lab' ")
    wait_until(lambda: run(server, GOOD) == (200, "done"))
    assert pid(server) != before
    assert server.get("/v2/models/lab/ready").status_code == 200


def test_a_process_that_dies_in_a_stream_comes_back(server: RunningServer) -> None:
    told = stream(server, SENT + "sender.send(answer(1))\nimport time; time.sleep(0.2)\nos._exit(3)")
    assert told[0] == "1"
    assert "the process of model 'labd'" in told[-1]
    wait_until(lambda: stream(server, SENT + "sender.send(answer(1), flags=FINAL)") == ["1!"])


def test_instances_that_share_a_process(server: RunningServer) -> None:
    told = {run(server, "return [answer([os.getpid(), len(self.kept)])]", "shared") for _ in range(20)}
    assert len({text.split(",")[0] for _, text in told}) == 1
    assert run(server, "return [answer(self.args['model_instance_name'])]", "shared")[1].startswith(
        "shared_0_"
    )


def test_what_is_logged_for_a_request(server: RunningServer) -> None:
    run(server, "pb_utils.Logger.log_warn('warned by lab')\nreturn [answer()]")
    wait_until(lambda: "warned by lab" in server.log)
    [line] = [line for line in server.log.splitlines() if "warned by lab" in line]
    assert "WARNING kserve_v2.model.lab warned by lab" in line
    assert "request_id=lab-id" in line
