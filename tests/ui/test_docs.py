"""The description of the API for people: without any other machine, and with what is loaded."""

import re

from playwright.sync_api import expect

from tests.conftest import RunningServer, StartServer
from tests.ui.conftest import MODELS, OpenPage
from tests.ui.test_routes import BROWSER


def test_a_request_to_a_loaded_model_is_sent_and_answered(
    examples: RunningServer, open_page: OpenPage
) -> None:
    """`open_page` fails for whatever asks another host, or breaks the page's Content-Security-Policy."""
    page = open_page(examples, "docs")
    block = page.locator(".opblock", has_text="/v2/models/digits_onnx/infer")
    block.get_by_role("button").first.click()
    block.get_by_role("button", name="Try it out").click()
    expect(block.locator("textarea")).to_have_value(re.compile('"name": "image"'))
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table")
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text('"model_name": "digits_onnx"')


def test_the_page_and_the_description_lead_to_each_other(
    examples: RunningServer, open_page: OpenPage
) -> None:
    page = open_page(examples, "docs", color_scheme="dark")
    expect(page.get_by_role("heading", name="kserve-v2")).to_be_visible()
    assert "dark-mode" in (page.locator("html").get_attribute("class") or "")
    page.get_by_role("link", name="the server's page").click()
    expect(page.get_by_role("heading", name="Models", level=1)).to_be_visible()
    page.get_by_role("link", name="API").click()
    expect(page.get_by_role("heading", name="kserve-v2")).to_be_visible()


def test_browsers_are_told_the_same_of_the_description(examples: RunningServer) -> None:
    page, docs = (
        examples.client.get(f"{examples.rest}{path}", headers={"accept": BROWSER}) for path in ("/", "/docs")
    )
    assert docs.status_code == 200
    assert docs.headers["content-security-policy"] == page.headers["content-security-policy"]
    head = examples.client.head(f"{examples.rest}/docs")
    assert (head.status_code, head.content) == (200, b"")
    bundle = examples.client.get(f"{examples.rest}/ui/static/vendor/swagger-ui.js")
    assert bundle.headers["content-encoding"] == "gzip"


def test_without_the_page_the_description_is_for_programs_alone(start_server: StartServer) -> None:
    server = start_server(MODELS, "--allow-ui=false", "--allow-grpc=false", "--model-control-mode=explicit")
    assert server.get("/docs").status_code == 404
    # As with the page, for whoever does not read HTML.
    assert server.get("/").json() == {**server.get("/v2").json(), "status": "alive"}
    assert "/v2/models/{model_name}/infer" in server.get("/openapi.json").json()["paths"]
    assert not any("docs" in line for line in server.output)
