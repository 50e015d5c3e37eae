"""The page's form as somebody fills it in by hand, and the answer as they read it there."""

import json
import re
from dataclasses import dataclass

from playwright.sync_api import Page, expect


@dataclass(frozen=True)
class Reading:
    """What stands on the page: of an output the classes with their shares of one, of another one a single figure."""

    shares: dict[int, float]
    label: int
    raw: dict[str, list[float]]


def paste_a_row(page: Page, row: str) -> None:
    """From the list of models to the form of the only one, and into it with what was copied from a table."""
    page.get_by_role("link", name="wine").first.click()
    page.get_by_role("textbox", name="X: values").fill(row)
    page.get_by_role("button", name="Send", exact=True).click()


def read_answer(page: Page) -> Reading:
    """The bars, the figure, and the raw answer below them."""
    answer = page.get_by_role("region", name="Answer")
    expect(answer.locator(".bars li")).to_have_count(3)
    shares = {}
    for bar in answer.locator(".bars li").all():
        name = re.fullmatch(r"class (\d+)", bar.locator(".bar-name").inner_text())
        share = re.fullmatch(r"([\d.]+) %", bar.locator(".bar-value").inner_text())
        assert name is not None
        assert share is not None
        shares[int(name[1])] = float(share[1]) / 100
    label = int(answer.locator(".figure").inner_text())
    answer.locator("details summary").click()
    text = answer.locator("details pre")
    expect(text).not_to_be_empty()
    outputs = json.loads(text.inner_text())["outputs"]
    return Reading(shares, label, {output["name"]: output["data"] for output in outputs})
