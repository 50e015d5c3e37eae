"""Pages of other sites must not have a browser change what the server does."""

from pathlib import Path

import pytest

from kserve_v2.net.origins import foreign_origin, rebound_name
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity

EVIL = "https://evil.example"


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({}, None),  # curl, tritonclient
        ({"host": "models:8000"}, None),
        ({"host": "models:8000", "origin": "http://models:8000"}, None),
        ({"host": "Models:8000", "origin": "http://models:8000"}, None),
        ({"host": "models:8000", "origin": "http://models:3000"}, "http://models:3000"),
        ({"host": "models:8000", "origin": EVIL}, EVIL),
        ({"host": "models:8000", "origin": "null"}, "null"),  # a sandboxed frame, a file
        ({"host": "models:8000", "origin": "http://[::1"}, "http://[::1"),
        # Behind a proxy that asks by another name, the browser still says it.
        ({"host": "10.0.0.1", "origin": "https://models.example", "sec-fetch-site": "same-origin"}, None),
        ({"host": "models", "sec-fetch-site": "none"}, None),  # typed into the address bar
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-site"}, "http://127.0.0.1:3000"),
        ({"host": "127.0.0.1:8000", "origin": EVIL, "sec-fetch-site": "cross-site"}, EVIL),
        ({"host": "127.0.0.1:8000", "sec-fetch-site": "cross-site"}, "another site"),
    ],
)  # fmt: skip
def test_whose_page_it_is(headers: dict[str, str], origin: str | None) -> None:
    assert foreign_origin([(name.encode(), value.encode()) for name, value in headers.items()]) == origin


@pytest.mark.parametrize(
    ("headers", "server", "name"),
    [
        ({"host": "evil.example:8081", "origin": "http://evil.example:8081"}, "127.0.0.1", "evil.example"),
        ({"host": "Evil.example.:8081", "origin": "http://evil.example.:8081"}, "::1", "evil.example"),
        ({"host": "evil.example", "origin": "null"}, "::ffff:127.0.0.1", "evil.example"),
        ({"origin": "http://evil.example"}, "127.0.0.1", "no host"),
        ({"host": "[::1", "origin": "http://evil.example"}, "127.0.0.1", "[::1"),
        ({"host": "127.0.0.1:8081", "origin": "http://127.0.0.1:8081"}, "127.0.0.1", None),
        ({"host": "[::1]:8081", "origin": "http://[::1]:8081"}, "::1", None),
        ({"host": "localhost:8081", "origin": "http://localhost:8081"}, "127.0.0.1", None),
        ({"host": "models.localhost", "origin": "http://models.localhost"}, "127.0.0.1", None),
        ({"host": "proxied.example"}, "127.0.0.1", None),  # no page: a proxy's client
        ({"host": "models.example", "origin": "http://models.example"}, "10.0.0.1", None),
        ({"host": "models.example", "origin": "http://models.example"}, "/run/ts.sock", None),
    ],
)
def test_a_name_that_was_made_to_point_here(headers: dict[str, str], server: str, name: str | None) -> None:
    assert rebound_name([(name.encode(), value.encode()) for name, value in headers.items()], server) == name


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_server: StartServer, write_model: WriteModel
) -> RunningServer:
    root: Path = tmp_path_factory.mktemp("models")
    write_model(root, "m", identity("FP32", [1]))
    return start_server(
        root,
        "--model-control-mode=explicit",
        "--load-model=*",
        "--http-cors-allow-origin=https://mine.example",
    )


@pytest.mark.parametrize(
    "path",
    ["/v2/repository/models/m/unload", "/v2/repository/models/m/load", "/v2/logging", "/v2/repository/models/m/release"],
)  # fmt: skip
def test_another_sites_page_changes_nothing(server: RunningServer, path: str) -> None:
    for site in ({}, {"Sec-Fetch-Site": "cross-site"}):
        answer = server.post(
            path, content=b"{}", headers={"Origin": EVIL, "Content-Type": "text/plain", **site}
        )
        assert answer.status_code == 403
        assert answer.json() == {
            "error": f"a page of {EVIL} may not do this: start the server with --http-cors-allow-origin to allow it"
        }
    assert server.get("/v2/models/m/ready").status_code == 200


def test_pages_that_may_and_other_clients_do(server: RunningServer) -> None:
    for headers in (
        {},
        {"Origin": server.rest},
        {"Origin": "https://mine.example", "Sec-Fetch-Site": "cross-site"},
    ):
        assert server.post("/v2/repository/models/m/load", headers=headers).status_code == 200
    # A request to a model changes nothing; the browser hides its answer.
    tensor = {"name": "IN", "datatype": "FP32", "shape": [1], "data": [1.5]}
    answer = server.post("/v2/models/m/infer", json={"inputs": [tensor]}, headers={"Origin": EVIL})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
