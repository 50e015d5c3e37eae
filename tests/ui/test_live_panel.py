"""Live: the panel in a browser, against a server that answers requests meanwhile."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from kserve_v2.ui.live import MOST_MODELS
from tests.conftest import RunningServer, StartServer, WriteModel, launch
from tests.integration.handlers import GATED, identity
from tests.integration.support import Gate, Wire, gated_request, new_tag, pending, wait_until
from tests.ui.conftest import OpenPage
from tests.ui.test_access import TELEPHONE, overflow, violations

# The browser's own words for a stream of events that has broken off, and for a server that is not there.
AWAY = (
    "ERR_CONNECTION_REFUSED",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    root = tmp_path_factory.mktemp("shown")
    write_model(root, "same", identity("FP32", [1], max_batch_size=4))
    write_model(root, "gated", GATED)
    return root


@pytest.fixture(scope="module")
def server(start_server: StartServer, repository: Path) -> RunningServer:
    return start_server(repository, "--allow-grpc=false")


def ask(server: RunningServer, rows: int) -> None:
    tensor: dict[str, Any] = {"name": "IN", "datatype": "FP32", "shape": [rows, 1], "data": [0] * rows}
    assert server.infer("same", {"inputs": [tensor]}).status_code == 200


def row(page: Page, model: str) -> Locator:
    return page.get_by_role("row", name=re.compile(rf"^{model} "))


def chart(page: Page, title: str) -> Locator:
    return page.get_by_role("figure").filter(has=page.get_by_role("heading", name=title))


def test_what_the_server_does_is_shown_in_charts_words_and_a_table(
    server: RunningServer, open_page: OpenPage
) -> None:
    page = open_page(server, "#/live")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    expect(row(page, "gated")).to_contain_text("0 of 1")
    with Gate() as gate, Wire(server) as running, Wire(server) as waiting:
        running.send_infer("gated", gated_request(new_tag(), gate.port))
        gate.await_start()
        waiting.send_infer("gated", gated_request(new_tag()))
        wait_until(lambda: pending(server, "gated") == 1)
        expect(row(page, "gated")).to_contain_text("1 of 1")
        expect(row(page, "gated")).to_contain_text("100 %")
        in_server = chart(page, "Requests in the server")
        expect(in_server.get_by_role("listitem").filter(has_text="waiting")).to_have_text("waiting 1")
        # Who does not see the chart is told what it shows.
        expect(in_server.get_by_role("img")).to_have_accessible_name(
            re.compile(
                r"^Requests in the server\. waiting: now 1, from 0 to 1; executions under way: now 1, .*\.$"
            )
        )
        gate.open()
        assert running.response().status_code == waiting.response().status_code == 200
    for rows in (1, 2, 2):
        ask(server, rows)
    batches = page.get_by_role("table", name="Executed batches by their number of rows")
    expect(batches.get_by_role("row", name=re.compile(r"^2 2 "))).to_contain_text("no_delay 2")
    expect(row(page, "same")).to_contain_text("ms")


def test_a_chart_is_drawn_and_as_wide_as_its_place(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server, "#/live", viewport={"width": 1200, "height": 900})
    canvas = chart(page, "Per second").locator("canvas")
    expect(canvas).to_be_visible()
    wide = canvas.evaluate("each => each.clientWidth")
    # Something is drawn: not all points are transparent.
    page.wait_for_function(
        """() => [...document.querySelectorAll("canvas")].every((each) => each.getContext("2d")
        .getImageData(0, 0, each.width, each.height).data.some((value) => value))"""
    )
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_function("wide => document.querySelector('canvas').clientWidth < wide", arg=wide)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_one_model_alone(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server, "#/live")
    page.get_by_role("link", name="gated", exact=True).click()
    expect(page.get_by_text("Model gated")).to_be_visible()
    expect(row(page, "gated")).to_be_visible()
    expect(row(page, "same")).to_have_count(0)
    page.get_by_role("link", name="Why is it so?").click()
    expect(page.get_by_role("combobox", name="Model")).to_have_value("gated")
    page.goto(f"{server.rest}/#/live/nobody")
    expect(page.get_by_text("Model 'nobody' is not loaded.")).to_be_visible()


def test_nothing_is_asked_for_while_nobody_looks(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server, "#/live")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    # The browser counts a stream that the page has closed as a request that has failed.
    with page.expect_event("requestfailed", lambda request: "/ui/live" in request.url):
        page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    # What was shown stays.
    expect(row(page, "same")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    with page.expect_event("requestfailed", lambda request: "/ui/live" in request.url):
        _hide(page, hidden=True)
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    _hide(page, hidden=False)
    expect(page.get_by_text("live", exact=True)).to_be_visible()


def test_the_charts_library_is_fetched_for_this_panel_alone(
    server: RunningServer, open_page: OpenPage
) -> None:
    page = open_page(server, "#/models")
    expect(page.get_by_role("link", name="same")).to_be_visible()
    assert "uplot" not in json.dumps(_fetched(page))
    page.get_by_role("link", name="Live").click()
    expect(chart(page, "Per second")).to_be_visible()
    assert "vendor/uplot.js" in json.dumps(_fetched(page))


def test_it_goes_on_when_the_server_is_back(repository: Path, tmp_path: Path, open_page: OpenPage) -> None:
    server = launch(tmp_path, repository, "--allow-grpc=false")
    port = server.rest.rpartition(":")[2]
    try:
        page = open_page(server, "#/live", expected=AWAY)
        expect(page.get_by_text("live", exact=True)).to_be_visible()
    finally:
        assert server.stop() == 0
    expect(page.get_by_text("the server does not answer; it is asked again")).to_be_visible()
    again = launch(tmp_path, repository, "--allow-grpc=false", "--http-port", port)
    try:
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)
    finally:
        page.goto("about:blank")
        assert again.stop() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1200, "height": 800}, TELEPHONE], ids=["desk", "telephone"])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    server: RunningServer, open_page: OpenPage, scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(server, "#/live", color_scheme=scheme, viewport=viewport)
    expect(row(page, "same")).to_be_visible()
    for rows in (1, 2):
        ask(server, rows)
    expect(page.get_by_role("table", name="Executed batches")).to_be_visible()
    assert (violations(page), overflow(page)) == ([], 0)


def test_of_many_models_the_busiest_are_shown_and_the_others_counted(
    tmp_path: Path, write_model: WriteModel, open_page: OpenPage
) -> None:
    for number in range(MOST_MODELS + 3):
        write_model(tmp_path / "many", f"m{number:03}", identity("FP32", [1]))
    server = launch(tmp_path, tmp_path / "many", "--allow-grpc=false")
    try:
        page = open_page(server, "#/live")
        expect(page.get_by_text("3 more are loaded, and counted above.")).to_be_visible()
        # Those that do nothing are told apart by their names.
        expect(row(page, f"m{MOST_MODELS - 1:03}")).to_be_visible()
        expect(row(page, f"m{MOST_MODELS:03}")).to_have_count(0)
        tensor = {"name": "IN", "datatype": "FP32", "shape": [1], "data": [0]}
        assert server.infer(f"m{MOST_MODELS:03}", {"inputs": [tensor]}).status_code == 200
        expect(row(page, f"m{MOST_MODELS:03}")).to_be_visible()
        page.goto("about:blank")
    finally:
        assert server.stop() == 0


def _fetched(page: Page) -> list[str]:
    found: list[str] = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    return found


def _hide(page: Page, *, hidden: bool) -> None:
    """As if another tab were in front: a browser without windows has none."""
    page.evaluate(
        """(hidden) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
        document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
