"""The pictures of the documentation: made when asked for, with `make screenshots`; looked at for their size otherwise."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningServer
from tests.ui.conftest import OpenPage
from tests.ui.test_try import STROKES, answer, draw

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
MAX_BYTES = 150_000

wanted = pytest.mark.skipif(not os.environ.get("SCREENSHOTS"), reason="made by `make screenshots`")


def take(page: Page, name: str) -> None:
    """Without what differs from run to run: the pointer, and what has the focus."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement?.blur()")
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")


def test_pictures_are_small() -> None:
    sizes = {file.name: file.stat().st_size for file in IMAGES.glob("*.png")}
    assert {"page-models.png", "page-try.png"} <= sizes.keys()
    assert {name: size for name, size in sizes.items() if size > MAX_BYTES} == {}


@wanted
def test_picture_of_a_drawn_digit(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/try/digits_onnx", viewport={"width": 1100, "height": 1130})
    draw(page, STROKES["three"])
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("three")
    take(page, "page-try")


@wanted
def test_picture_of_the_models(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/models", viewport={"width": 1100, "height": 690})
    expect(page.get_by_role("link", name="typeahead")).to_be_visible()
    take(page, "page-models")
