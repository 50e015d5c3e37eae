"""A real Chromium, Debian's, driven by Playwright: each test has a profile of its own, and every page of it is watched.

A page that asks any host but the server, breaks its own Content-Security-Policy, or throws, fails its test.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route, expect, sync_playwright

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.ui.models import write_models

MODELS = Path(__file__).parent.parent.parent / "model_repository"

# On a busy machine a page takes its time. While tests are written, less of it.
PATIENCE_MS = int(os.environ.get("UI_PATIENCE_MS", "60000"))

expect.set_options(timeout=PATIENCE_MS)

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A page in a browser takes longer than a quarter of a second; without a browser there is none."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
            if CHROMIUM is None:
                item.add_marker(
                    pytest.mark.skip(reason="no chromium on the PATH: `make test-services` installs it")
                )


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Not for the whole session: as long as it is there, no other test can run an event loop of its own."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """With a camera and a microphone that are made up by the browser, and allowed without a question."""
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    yield started
    started.close()


@pytest.fixture(scope="module")
def kinds(
    tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel, start_server: StartServer
) -> RunningServer:
    """A server with a model of each kind."""
    root = tmp_path_factory.mktemp("models")
    write_models(root, write_model)
    return start_server(root, "--strict-readiness=false")


@dataclass
class Watch:
    """What must not happen on a page, and has; and what may, if a test says so."""

    allowed: set[str]
    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def route(self, route: Route) -> None:
        """Let a request go to the server, and nowhere else: there is no other machine."""
        address = urlsplit(route.request.url)
        if address.scheme in ("data", "blob") or address.netloc in self.allowed:
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def problems(self) -> list[str]:
        unexpected = [text for text in self.complaints if not any(part in text for part in self.expected)]
        return [*self.elsewhere, *unexpected]


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """`open_page(server, "#/models", expected=("404",), **context_options)`. `expected`: parts of what the browser's
    console may say.
    """
    opened: list[tuple[BrowserContext, Watch]] = []

    def open_(
        server: RunningServer, where: str = "", expected: tuple[str, ...] = (), **options: object
    ) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        watch = Watch({urlsplit(server.rest).netloc}, expected=expected)
        opened.append((context, watch))
        context.set_default_timeout(PATIENCE_MS)
        context.route("**/*", watch.route)
        page = context.new_page()
        page.on("console", lambda message: _note(watch, message.type, message.text))
        page.on("pageerror", lambda error: watch.complaints.append(f"thrown: {error}"))
        page.goto(f"{server.rest}/{where}")
        return page

    yield open_
    problems = [problem for _, watch in opened for problem in watch.problems()]
    for context, _ in opened:
        context.close()
    assert problems == []


def _note(watch: Watch, kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        watch.complaints.append(text)


@pytest.fixture(scope="session")
def examples(start_server: StartServer) -> RunningServer:
    """The models of the repository, which clients may load and unload."""
    return start_server(MODELS, "--model-control-mode=explicit", "--load-model=*")
