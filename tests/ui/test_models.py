"""The panel of models: what is shown of each, what may be done with them, a thousand of them, and a server that goes."""

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration.handlers import identity, versioned
from tests.ui.conftest import OpenPage
from tests.ui.models import UNLOADABLE

MANY = 1000


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "fine", identity("FP32", [2]), "instance_group { kind: KIND_CPU count: 2 }")
    write_model(root, "unloadable", UNLOADABLE)
    for number in (1, 2):
        write_model(root, "versions", versioned(number), "version_policy { all { } }", number)
    (root / "versions" / "release.json").write_text('{"labels": {"stable": 1}}')
    return root


@pytest.fixture(scope="module")
def explicit(repository: Path, start_server: StartServer) -> RunningServer:
    flags = ("--model-control-mode=explicit", "--load-model=*", "--allow-grpc=false", "--allow-metrics=false")
    return start_server(repository, *flags)


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True))


def test_each_version_is_shown_with_what_is_known_of_it(explicit: RunningServer, open_page: OpenPage) -> None:
    page = open_page(explicit, "#/models")
    fine = row(page, "fine")
    expect(fine.locator(".badge")).to_have_text("ready")
    expect(fine.get_by_role("cell", name="python")).to_be_visible()
    expect(fine.get_by_role("cell", name="2 × CPU")).to_be_visible()
    expect(row(page, "versions")).to_have_count(2)
    expect(row(page, "versions").first.locator(".tag")).to_have_text("stable")
    broken = row(page, "unloadable")
    expect(broken.locator(".badge")).to_have_text("unavailable")
    # As text, whatever a model says.
    expect(broken.locator(".reason")).to_contain_text("no weights <b>here</b>")
    explicit.infer("fine", {"inputs": [{"name": "IN", "shape": [2], "datatype": "FP32", "data": [1, 2]}]})
    page.reload()
    expect(fine.locator(".number")).to_have_text("1")


def test_models_are_unloaded_loaded_and_reloaded(explicit: RunningServer, open_page: OpenPage) -> None:
    page = open_page(explicit, "#/models")
    page.get_by_role("button", name="Unload fine").click()
    expect(row(page, "fine").locator(".badge")).to_have_text("unavailable")
    assert explicit.get("/v2/models/fine/ready").status_code == 400
    page.get_by_role("button", name="Load fine", exact=True).click()
    expect(row(page, "fine").locator(".badge")).to_have_text("ready")
    assert explicit.get("/v2/models/fine/ready").status_code == 200
    page.get_by_role("button", name="Reload fine").click()
    expect(page.get_by_role("button", name="Reload fine")).to_be_visible()
    expect(row(page, "fine").locator(".badge")).to_have_text("ready")


def test_a_load_that_fails_shows_the_servers_text(explicit: RunningServer, open_page: OpenPage) -> None:
    page = open_page(explicit, "#/models", expected=("400", "500"))
    page.get_by_role("button", name="Load unloadable").click()
    expect(row(page, "unloadable").get_by_role("alert")).to_contain_text("no weights <b>here</b>")


def test_where_models_may_not_be_loaded_it_says_why(
    repository: Path, start_server: StartServer, open_page: OpenPage
) -> None:
    server = start_server(repository, "--allow-grpc=false", "--allow-metrics=false")
    page = open_page(server, "#/models")
    expect(page.get_by_text("start the server with --model-control-mode=explicit")).to_be_visible()
    expect(row(page, "fine").locator(".badge")).to_have_text("ready")
    expect(page.get_by_role("button", name=re.compile("oad"))).to_have_count(0)


def test_a_thousand_models_are_found_and_turned_over(
    tmp_path_factory: pytest.TempPathFactory,
    write_model: WriteModel,
    start_server: StartServer,
    open_page: OpenPage,
) -> None:
    root = tmp_path_factory.mktemp("many")
    for number in range(MANY):
        write_model(root, f"model_{number:04}", identity("FP32", [2]))
    flags = ("--model-control-mode=on-demand", "--allow-grpc=false", "--allow-metrics=false")
    server = start_server(root, *flags)
    page = open_page(server, "#/models")
    expect(page.get_by_text("1–50 of 1,000 rows")).to_be_visible()
    # Few enough to be drawn at once.
    expect(page.get_by_role("row")).to_have_count(51)
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("51–100 of 1,000 rows")).to_be_visible()
    page.get_by_label("Filter").fill("0777")
    expect(page.get_by_text("1–1 of 1 row")).to_be_visible()
    page.get_by_role("button", name="Load model_0777").click()
    expect(row(page, "model_0777").locator(".badge")).to_have_text("ready")
    page.get_by_label("Filter").fill("")
    page.get_by_role("combobox", name=re.compile("^State")).select_option("READY")
    expect(page.get_by_text("1–1 of 1 row")).to_be_visible()
    page.get_by_role("link", name="model_0777").click()
    # Of what is not loaded, too: it is when it is asked for.
    page.get_by_role("combobox", name=re.compile("^Model")).select_option("model_0003")
    page.get_by_role("textbox", name="IN: values").fill("3, 4")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("region", name="Answer").locator("td")).to_have_text(["3", "4"])


def test_the_page_goes_on_when_the_server_comes_back(
    tmp_path: Path, write_model: WriteModel, open_page: OpenPage
) -> None:
    root = tmp_path / "models"
    write_model(root, "first", identity("FP32", [2]))
    flags = ("--allow-grpc=false", "--allow-metrics=false")
    server = launch(tmp_path, root, *flags)
    try:
        page = open_page(
            server,
            "#/models",
            expected=("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"),
        )
        expect(row(page, "first").locator(".badge")).to_have_text("ready")
    finally:
        server.stop(signal.SIGKILL)
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    write_model(root, "second", identity("FP32", [2]))
    port = server.rest.rpartition(":")[2]
    again = launch(tmp_path, root, *flags, "--http-port", port)
    try:
        expect(row(page, "second").locator(".badge")).to_have_text("ready")
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator(".server-state")).to_contain_text("ready")
    finally:
        again.stop()
