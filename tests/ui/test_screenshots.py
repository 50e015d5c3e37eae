"""The pictures of the documentation: made when asked for, with `make screenshots`; looked at for their size otherwise."""

import json
import os
import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.ui.conftest import MODELS, OpenPage
from tests.ui.test_explain import ALONE, SLEEPER, sending
from tests.ui.test_try import STROKES, answer, draw

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
MAX_BYTES = 150_000

# How many clients ask which models while the picture is taken.
LOADS = {"digits_onnx": 3, "digits_eager": 4, "digits_export": 2}

wanted = pytest.mark.skipif(not os.environ.get("SCREENSHOTS"), reason="made by `make screenshots`")


def take(page: Page, name: str) -> None:
    """Without what differs from run to run: the pointer, and what has the focus."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement?.blur()")
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")


def test_pictures_are_small() -> None:
    sizes = {file.name: file.stat().st_size for file in IMAGES.glob("*.png")}
    assert {"page-models.png", "page-try.png", "page-live.png", "page-explain.png"} <= sizes.keys()
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


@wanted
def test_picture_of_what_the_server_does(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/live", viewport={"width": 1100, "height": 1000})
    with ExitStack() as stack:
        for name, clients in LOADS.items():
            sample = json.loads((MODELS / name / "sample_request.json").read_text())
            stack.enter_context(sending(examples, name, clients, lambda *_, sample=sample: {"json": sample}))
        # So that there is a line to be seen.
        page.wait_for_timeout(20_000)
        take(page, "page-live")


@wanted
def test_picture_of_an_explanation(
    start_server: StartServer, write_model: WriteModel, tmp_path: Path, open_page: OpenPage
) -> None:
    code = SLEEPER.format(rows=8, seconds=0.01)
    declared = re.compile(r"^    (inputs|outputs|max_batch_size) = .*\n", re.MULTILINE)
    write_model(tmp_path, "classifier", declared.sub("", code), ALONE)
    server = start_server(tmp_path, "--allow-grpc=false")
    page = open_page(server, "#/explain/classifier", viewport={"width": 1100, "height": 880})
    tensor = {"name": "IN", "datatype": "FP32", "shape": [1, 1], "data": [0]}
    with sending(server, "classifier", 6, lambda *_: {"json": {"inputs": [tensor]}}):
        page.get_by_role("button", name="Explain").click()
        expect(page.get_by_role("article").first).to_be_visible()
        take(page, "page-explain")
