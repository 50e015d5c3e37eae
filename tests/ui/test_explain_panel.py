"""Explain: the panel in a browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.ui.conftest import OpenPage
from tests.ui.test_access import TELEPHONE, overflow, violations
from tests.ui.test_explain import load

FULL = """
import time

class Model:
    inputs = {"IN": ("FP32", [-1])}
    outputs = {"OUT": ("FP32", [-1])}

    def __call__(self, inputs):
        time.sleep(0.01)
        return {"OUT": inputs["IN"]}
"""


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel
) -> RunningServer:
    root = tmp_path_factory.mktemp("asked")
    write_model(root, "a model", FULL)
    write_model(root, "unbatched", FULL)
    return start_server(root, "--allow-grpc=false")


def explain(page: Page, model: str) -> None:
    page.get_by_role("combobox", name="Model").select_option(model)
    page.get_by_role("combobox", name="Look for").select_option("2 s")
    page.get_by_role("button", name="Explain").click()


def test_a_finding_says_what_was_seen_and_what_to_paste(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server, "#/explain", permissions=["clipboard-read", "clipboard-write"])
    with load(server, "unbatched", 4):
        explain(page, "unbatched")
        expect(page.get_by_text("Looking for 2 s…")).to_be_visible()
        finding = page.get_by_role("article", name=re.compile("Each request is an execution of its own"))
        expect(finding).to_contain_text("max_batch_size is 0")
    expect(page.get_by_role("heading", name=re.compile(r"unbatched 1: \d+ findings"))).to_be_visible()
    expect(finding.get_by_role("region", name="To paste: max_batch_size")).to_have_text(
        "max_batch_size: 8\ndynamic_batching { }"
    )
    finding.get_by_role("button", name="Copy").click()
    expect(finding.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "max_batch_size: 8\ndynamic_batching { }"
    stages = page.get_by_role("table", name="Stages of a request")
    expect(stages.get_by_role("row", name=re.compile("^waiting in the queue"))).to_contain_text("%")
    expect(page.get_by_role("table", name="Executed batches")).to_be_visible()


@pytest.mark.parametrize(
    ("scheme", "viewport"),
    [("light", {"width": 1200, "height": 800}), ("dark", TELEPHONE)],
    ids=["desk", "telephone"],
)
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    server: RunningServer, open_page: OpenPage, scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(server, "#/explain/unbatched", color_scheme=scheme, viewport=viewport)
    assert violations(page) == []
    with load(server, "unbatched", 4):
        explain(page, "unbatched")
        expect(page.get_by_role("article").first).to_be_visible()
    assert (violations(page), overflow(page)) == ([], 0)


def test_of_nothing_there_is_nothing_to_say(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server, "#/explain/a%20model")
    expect(page.get_by_role("combobox", name="Model")).to_have_value("a model")
    explain(page, "a model")
    expect(page.get_by_role("article", name=re.compile("Too few requests were answered"))).to_be_visible()


def test_a_model_that_is_not_there(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server, "#/explain/nobody", expected=("404",))
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("alert")).to_contain_text("'nobody' is not found")


def test_who_leaves_ends_it(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server, "#/explain")
    page.get_by_role("combobox", name="Look for").select_option("30 s")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("Looking for 30 s…")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: "/explain" in request.url):
        page.get_by_role("link", name="Models").click()
