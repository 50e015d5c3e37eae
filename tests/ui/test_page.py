"""The frame of the page."""

from playwright.sync_api import expect

from tests.conftest import RunningServer
from tests.ui.conftest import OpenPage
from tests.ui.test_routes import FIRST_LOAD_BYTES


def test_the_first_load_is_small(examples: RunningServer, open_page: OpenPage) -> None:
    """By what travels: `transferSize` is what the network has brought, headers included."""
    page = open_page(examples)
    expect(page.get_by_role("link", name="digits_onnx")).to_be_visible()
    sizes = page.evaluate(
        """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
        .map((each) => [each.name, each.transferSize])"""
    )
    assert len(sizes) > 8
    assert all(size > 0 for _, size in sizes)
    assert sum(size for _, size in sizes) < FIRST_LOAD_BYTES


def test_colours_are_the_systems_until_others_are_chosen(
    examples: RunningServer, open_page: OpenPage
) -> None:
    page = open_page(examples, color_scheme="dark")

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    button = page.get_by_title("Change the colours")
    expect(button).to_have_text("System colours")
    dark = background()
    button.click()
    expect(button).to_have_text("Light")
    light = background()
    assert dark != light
    page.reload()
    expect(button).to_have_text("Light")
    assert background() == light
    button.click()
    expect(button).to_have_text("Dark")
    assert background() == dark
