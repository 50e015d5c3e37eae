"""Who uses the page: with a screen reader, with keys alone, on a telephone, by night, behind a proxy, without internet.

What a screen reader would stumble over is found by axe, which is vendored for these tests alone.
"""

from pathlib import Path

import pytest
import trustme
from playwright.sync_api import Page, expect

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.handlers import identity
from tests.ui.conftest import OpenPage
from tests.ui.models import UNLOADABLE
from tests.ui.test_try import STROKES, answer, draw, send

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
SERIOUS = {"serious", "critical"}
TELEPHONE = {"width": 360, "height": 740}


def violations(page: Page) -> list[str]:
    """What axe finds that is serious: rule, and the elements that break it."""
    # Not as a script of the page, which its policy would forbid.
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]


def overflow(page: Page) -> int:
    """How many pixels the page is broader than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel, start_server: StartServer
) -> RunningServer:
    """With a model that cannot be loaded, and one that can."""
    root = tmp_path_factory.mktemp("models")
    write_model(root, "fine", identity("FP32", [2]))
    write_model(root, "unloadable", UNLOADABLE)
    return start_server(root, "--model-control-mode=explicit", "--load-model=*", "--allow-metrics=false")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [{"width": 1200, "height": 800}, TELEPHONE], ids=["desk", "telephone"])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    examples: RunningServer,
    broken: RunningServer,
    open_page: OpenPage,
    scheme: str,
    viewport: dict[str, int],
) -> None:
    page = open_page(broken, "#/models", color_scheme=scheme, viewport=viewport)
    expect(page.get_by_text("no weights")).to_be_visible()
    assert (violations(page), overflow(page)) == ([], 0)
    page = open_page(examples, "#/try/digits_onnx", color_scheme=scheme, viewport=viewport)
    draw(page, STROKES["zero"])
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("zero")
    answer(page).locator("summary").click()
    assert (violations(page), overflow(page)) == ([], 0)
    for model in ("add_sub", "typeahead"):
        page.goto(f"{examples.rest}/#/try/{model}")
        send(page)
        expect(answer(page).locator(".output").first).to_be_visible()
        assert (violations(page), overflow(page)) == ([], 0)


def test_a_request_is_made_with_keys_alone(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples)
    expect(page.get_by_role("link", name="intent")).to_be_visible()

    def tab_to(name: str) -> None:
        """Go on with Tab until something of that name has the focus; at most once around."""
        for _ in range(80):
            page.keyboard.press("Tab")
            focus = page.evaluate(
                "(e => e.getAttribute('aria-label') || e.textContent || e.value)(document.activeElement)"
            )
            if str(focus).strip() == name:
                return
        raise AssertionError(f"no Tab leads to {name}")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    tab_to("intent")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Try it")).to_be_focused()
    expect(page.get_by_role("textbox", name="text")).to_be_visible()
    tab_to("text")
    page.keyboard.press("Control+A")
    page.keyboard.type("play some jazz")
    tab_to("Send")
    page.keyboard.press("Enter")
    expect(answer(page).locator("pre.text")).to_be_visible()
    tab_to("curl")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python", exact=True)).to_be_focused()
    expect(page.locator("#snippet pre")).to_contain_text("from kserve_v2.client import Client")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="grpcurl")).to_be_focused()


def test_the_page_works_over_tls(
    tmp_path_factory: pytest.TempPathFactory,
    write_model: WriteModel,
    start_server: StartServer,
    open_page: OpenPage,
) -> None:
    """And with origins that may call the server, of which it is none."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    write_model(folder / "models", "m", identity("FP32", [2]))
    server = start_server(
        folder / "models", "--http-use-ssl", f"--http-server-cert={folder / 'server.pem'}",
        f"--http-server-key={folder / 'server.pem'}", "--allow-metrics=false", "--model-control-mode=explicit",
        "--load-model=m", "--http-cors-allow-origin=https://elsewhere.example",
    )  # fmt: skip
    page = open_page(server, "#/try/m", ignore_https_errors=True)
    page.get_by_role("textbox", name="IN: values").fill("1, 2")
    send(page)
    expect(answer(page).locator("td")).to_have_text(["1", "2"])
    expect(page.locator("#snippet pre")).to_contain_text(f"curl -s '{server.rest}/v2/models/m/infer'")
    page.get_by_role("tab", name="tritonclient HTTP").click()
    expect(page.locator("#snippet pre")).to_contain_text("ssl=True")
    page.goto(f"{server.rest}/#/models")
    page.get_by_role("button", name="Reload m").click()
    expect(page.get_by_role("button", name="Reload m")).to_be_visible()


def test_the_page_works_below_a_path(examples: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    """As behind a proxy that has the server at /models/: the browser asks for that, and the proxy leaves it out."""
    page = open_page(examples, "#/models")
    page.context.route(
        f"{examples.rest}/below/**",
        lambda route: route.fulfill(response=route.fetch(url=route.request.url.replace("/below/", "/", 1))),
    )
    page.goto(f"{examples.rest}/below/#/try/intent")
    send(page)
    expect(answer(page).locator("pre.text")).to_be_visible()
    expect(page.locator("#snippet pre")).to_contain_text(f"{examples.rest}/below/v2/models/intent/infer")


def test_nothing_but_this_server_is_asked_for_anything(examples: RunningServer, open_page: OpenPage) -> None:
    """Nor could it be: the policy of the page forbids it, whatever a script tries."""
    page = open_page(
        examples, "#/models", expected=("Content Security Policy", "Fetch API cannot load", "violates")
    )
    expect(page.get_by_role("link", name="intent")).to_be_visible()
    tried = page.evaluate(
        """async () => {
            const failed = [];
            await fetch("https://elsewhere.example/").catch(() => failed.push("fetch"));
            await new Promise((done) => {
                const image = new Image();
                image.onerror = () => { failed.push("image"); done(); };
                image.src = "https://elsewhere.example/x.png";
            });
            const script = document.createElement("script");
            script.textContent = "window.injected = true";
            document.body.append(script);
            if (!window.injected) failed.push("script");
            try { new Function("return 1")(); } catch { failed.push("eval"); }
            return failed;
        }"""
    )
    assert tried == ["fetch", "image", "script", "eval"]


def test_axe_does_look(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/models")
    page.evaluate("document.documentElement.removeAttribute('lang')")
    assert [found.partition(":")[0] for found in violations(page)] == ["html-has-lang"]
