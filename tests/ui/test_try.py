"""Try it: each kind of input and of answer, in a browser, against models that run."""

import json
import math
import re
import struct
import wave
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.conftest import RunningServer
from tests.ui.conftest import OpenPage


def answer(page: Page) -> Locator:
    return page.get_by_role("region", name="Answer")


def send(page: Page) -> None:
    page.get_by_role("button", name="Send", exact=True).click()


def raw(page: Page) -> dict:
    """The raw answer that is shown."""
    details = answer(page).locator("details")
    if details.get_attribute("open") is None:
        details.locator("summary").click()
    text = details.locator("pre")
    expect(text).not_to_be_empty()
    return json.loads(text.inner_text())


Point = tuple[float, float]


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
    angles = [math.radians(start + (end - start) * step / 12) for step in range(13)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


# As people write them, on a sheet of 280 x 280.
STROKES: dict[str, list[list[Point]]] = {
    "zero": [arc(140, 140, 65, 95, -90, 270)],
    "one": [[(105, 85), (145, 45), (145, 235)]],
    "three": [arc(130, 90, 55, 45, 190, 450) + arc(130, 187, 60, 50, -90, 170)],
    "four": [[(160, 45), (75, 170), (215, 170)], [(165, 110), (165, 240)]],
    "seven": [[(70, 55), (205, 55), (125, 235)]],
}


def draw(page: Page, strokes: list[list[Point]]) -> None:
    """With the mouse."""
    box = page.locator("canvas.sheet").bounding_box()
    assert box is not None
    for (x, y), *others in strokes:
        page.mouse.move(box["x"] + x, box["y"] + y)
        page.mouse.down()
        for to_x, to_y in others:
            page.mouse.move(box["x"] + to_x, box["y"] + to_y, steps=2)
        page.mouse.up()


def test_a_drawn_digit_is_recognised_without_a_click(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/try/digits_onnx")
    for label, strokes in STROKES.items():
        draw(page, strokes)
        expect(answer(page).locator(".bars .best .bar-name")).to_have_text(label)
        page.get_by_role("button", name="Clear").click()


def test_a_digit_is_recognised_by_models_without_labels_and_of_other_sizes(
    examples: RunningServer, open_page: OpenPage
) -> None:
    page = open_page(examples, "#/try/digits_export")
    draw(page, STROKES["three"])
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("class 3")
    for model in ("digits_eager", "digits_torchscript"):
        page = open_page(examples, f"#/try/{model}")
        draw(page, STROKES["seven"])
        expect(answer(page).locator(".bars .best .bar-name")).to_have_text("seven")
    # Dark is low for this one, as its sample says.
    page = open_page(examples, "#/try/digits_scan")
    draw(page, STROKES["four"])
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("four")


def test_a_digit_is_drawn_by_keys_alone(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/try/digits_onnx")
    page.locator("canvas.sheet").focus()
    page.keyboard.down("Space")
    for _ in range(22):
        page.keyboard.press("ArrowDown")
    page.keyboard.up("Space")
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("one")


def test_the_time_of_a_request_is_split(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/try/intent")
    send(page)
    legend = answer(page).locator(".legend li")
    expect(legend).to_have_count(4)
    texts = legend.all_inner_texts()
    durations = {
        match[1].strip(): float(match[2]) for text in texts if (match := re.match(r"(.+?) ([\d.]+) ms", text))
    }
    assert list(durations) == ["network and browser", "server", "queue", "compute"]
    total = float(re.findall(r"[\d.]+", answer(page).locator("figcaption").inner_text())[0])
    assert sum(durations.values()) == pytest.approx(total, rel=0.05)
    assert durations["compute"] > 0


def test_the_sample_is_there_and_comes_back(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/try/intent")
    text = page.get_by_role("textbox", name="text")
    expect(text).to_have_value("could you wake me at half past seven?")
    text.fill("play some jazz")
    send(page)
    expect(answer(page).locator("pre.text")).to_have_text(re.compile("music"))
    page.get_by_role("button", name="Sample").click()
    expect(text).to_have_value("could you wake me at half past seven?")


def test_the_sample_of_a_picture_is_shown_and_sent(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/try/digits_photo")
    picture = page.get_by_role("img", name="The picture of the sample")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 0
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("seven")
    # Of those that draw, when it is asked for.
    page = open_page(examples, "#/try/digits_onnx")
    draw(page, STROKES["zero"])
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("zero")
    page.get_by_role("button", name="Sample").click()
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("seven")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("image: draw something")).to_be_visible()


def test_characters_go_to_a_model_of_sequences(examples: RunningServer, open_page: OpenPage) -> None:
    page = open_page(examples, "#/try/typeahead")
    # Not the number of the sample, which others may have under way.
    assert json.loads(page.get_by_label("Parameters of the request").input_value())["sequence_id"] > 1
    page.get_by_role("textbox", name="text").fill("def f(x):\n    retur")
    send(page)
    expect(answer(page).locator(".bars .best .bar-name").first).to_have_text("n")


TOTALS = {
    "1, 2, 3, 4.5": [10.5],
    "1 2 3 4": [10],
    "1;2;3;4\n5;6;7;8\n": [10, 26],
    "a,b,c,d\n1,2,3,6": [12],
    "[1, 2, 3, 7]": [13],
    "[[1, 2, 3, 8], [0, 0, 0, 1]]": [14, 1],
    "[1, 2, 3, 4, 5, 6, 7, 9]": [10, 27],
}
PROBLEMS = {
    "1, 2, 3": "expected the shape [n, 4], got [3]",
    "[[1, 2], [3]]": "the lists are not of the same length",
    "1, 2, cat, 4": 'line 1: "cat" is no FP32',
    "[1, 2,": "this is no JSON",
    '["a", 2, 3, 4]': "expected FP32, got the string",
    "": "there is nothing in it",
}


def test_numbers_are_pasted_as_json_or_csv(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/sum")
    for text, total in TOTALS.items():
        page.get_by_role("textbox", name="x: values").fill(text)
        send(page)
        expect(answer(page).locator(".figure")).to_have_text([f"{each:g}" for each in total])


def test_what_is_wrong_with_numbers_is_said_before_they_are_sent(
    kinds: RunningServer, open_page: OpenPage
) -> None:
    page = open_page(kinds, "#/try/sum")
    field = page.get_by_role("textbox", name="x: values")
    for text, problem in PROBLEMS.items():
        field.fill(text)
        expect(page.locator(".note.bad")).to_contain_text(problem)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()


def test_a_shape_is_filled(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/sum")
    page.get_by_label("x: shape to fill").fill("3, 4")
    page.get_by_role("button", name="Zeros").click()
    send(page)
    expect(answer(page).locator(".figure")).to_have_text(["0", "0", "0"])
    page.get_by_role("button", name="Random").click()
    send(page)
    expect(answer(page).locator(".figure").first).not_to_have_text("0")
    page.get_by_label("x: shape to fill").fill("5")
    page.get_by_role("button", name="Zeros").click()
    expect(page.locator(".note.bad")).to_contain_text("expected the shape [n, 4], got [5]")


def test_integers_of_64_bits_are_exact(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/same_int64")
    numbers = [9223372036854775807, -9223372036854775808, 9007199254740993, 1]
    page.get_by_role("textbox", name="IN: values").fill(json.dumps(numbers))
    send(page)
    expect(answer(page).locator("td")).to_have_text([str(number) for number in numbers])
    assert raw(page)["outputs"][0]["data"] == numbers


@pytest.mark.parametrize("datatype", ["fp16", "bf16"])
def test_half_precision_goes_there_and_back(kinds: RunningServer, open_page: OpenPage, datatype: str) -> None:
    page = open_page(kinds, f"#/try/same_{datatype}")
    page.get_by_role("textbox", name="IN: values").fill("1, -2.5, 0.1, 65504, 1e-7, 0")
    send(page)
    expect(answer(page).locator("td")).to_have_count(6)
    got = raw(page)["outputs"][0]["data"]
    kept = np.array([1, -2.5, 0.1, 65504, 1e-7, 0], np.float32)
    if datatype == "fp16":
        expected = kept.astype(np.float16).astype(np.float32)
    else:
        ml_dtypes = pytest.importorskip("ml_dtypes")
        expected = kept.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array(got, np.float32).tolist() == expected.tolist()


def test_truth_is_a_box_to_tick_or_a_list(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/flag")
    page.get_by_label("true").check()
    send(page)
    expect(answer(page).locator(".figure")).to_have_text("true")
    page = open_page(kinds, "#/try/same_bool")
    page.get_by_role("textbox", name="IN: values").fill("true, false, 1, 0")
    send(page)
    expect(answer(page).locator("td")).to_have_text(["true", "false", "true", "false"])


def test_texts_keep_every_character(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/shout")
    page.get_by_role("textbox", name="text").fill("grüße 'a' \"b\" <b>\n\\n 🙂")
    send(page)
    expect(answer(page).locator("pre.text")).to_have_text("GRÜSSE 'A' \"B\" <B>\n\\N 🙂")
    page = open_page(kinds, "#/try/same_bytes")
    page.get_by_label("IN: how to give it").select_option("list")
    page.get_by_role("textbox", name="IN: a text on each line").fill("a\n\nc")
    send(page)
    expect(answer(page).locator("pre.text")).to_have_text(["a", "", "c"])


def test_a_file_is_sent_as_it_is(kinds: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(kinds, "#/try/same_bytes")
    file = tmp_path / "letter.txt"
    file.write_bytes("naïve\r\n\0end".encode())
    page.get_by_label("IN: how to give it").select_option("file")
    page.get_by_label("IN: file").set_input_files(file)
    send(page)
    expect(answer(page).locator("pre.text")).to_contain_text("naïve")
    assert raw(page)["outputs"][0]["data"] == ["naïve\r\n\0end"]


def _picture(path: Path, width: int, height: int, colour: tuple[int, int, int]) -> Path:
    PIL.Image.new("RGB", (width, height), colour).save(path)
    return path


def test_a_picture_is_sent_as_file_to_those_who_decode_it(
    kinds: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(kinds, "#/try/describe")
    page.get_by_label("image: picture").set_input_files(_picture(tmp_path / "a.png", 30, 20, (200, 10, 20)))
    # Live, without a click.
    expect(answer(page).locator("pre.text")).to_have_text("30 x 20, 200 10 20")
    turned = answer(page).get_by_role("img", name="turned: picture 1")
    expect(turned).to_be_visible()
    assert turned.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [20, 30]


def test_a_picture_becomes_the_numbers_that_a_model_takes(
    kinds: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(kinds, "#/try/colours")
    page.get_by_label("image: picture").set_input_files(_picture(tmp_path / "a.png", 64, 48, (255, 51, 0)))
    expect(answer(page).locator("td")).to_have_text(["1", "0.2", "0"])
    expect(answer(page).get_by_role("img", name="edges: a picture of 16 × 16")).to_be_visible()
    page.get_by_role("combobox", name=re.compile("^Values")).select_option("0 to 255")
    expect(answer(page).locator("td")).to_have_text(["255", "51", "0"])
    page.get_by_role("combobox", name=re.compile("^Values")).select_option("ImageNet's mean and deviation")
    expect(answer(page).locator("td")).to_have_text(["2.2489", "-1.1429", "-1.8044"])


def test_what_is_no_picture_is_said(kinds: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(kinds, "#/try/describe")
    (tmp_path / "a.png").write_bytes(b"nothing")
    page.get_by_label("image: picture").set_input_files(tmp_path / "a.png")
    expect(page.get_by_role("alert")).to_contain_text("cannot read a.png as a picture")


def test_the_camera_takes_pictures(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/describe")
    page.get_by_role("button", name="Camera").click()
    page.get_by_label("Send as I change it").uncheck()
    page.get_by_role("button", name="Take a picture").click()
    send(page)
    expect(answer(page).locator("pre.text")).to_contain_text(" x ")


def test_bytes_that_are_no_text_are_shown_as_what_they_are(kinds: RunningServer, open_page: OpenPage) -> None:
    """The server refuses them in JSON; the page then asks for base64, and so do the snippets."""
    page = open_page(kinds, "#/try/paint", expected=("400",))
    page.get_by_role("textbox", name="side: values").fill("24")
    send(page)
    picture = answer(page).get_by_role("img", name="file: picture 1")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 24
    expect(answer(page).get_by_text("4 bytes")).to_be_visible()
    expect(page.locator("#snippet pre")).to_contain_text('"content_type": "base64"')


def test_a_defect_leaves_the_page_alive(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/models", expected=("thrown", "TypeError"))
    expect(page.get_by_role("link", name="sum")).to_be_visible()
    page.context.route("**/ui/models/sum", lambda route: route.fulfill(json={"name": "sum", "versions": []}))
    page.get_by_role("link", name="sum").click()
    expect(page.get_by_role("alert")).to_contain_text("This panel has failed")
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("link", name="sum")).to_be_visible()


def test_a_stream_comes_piece_by_piece(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/count")
    page.get_by_role("textbox", name="prompt").fill("one two three")
    send(page)
    expect(answer(page).get_by_role("status")).to_contain_text("3 responses, complete")
    expect(answer(page).locator("pre.text")).to_have_text("one two three")


def test_a_stream_is_stopped(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/endless")
    send(page)
    expect(answer(page).locator("pre.text")).to_contain_text("again again again")
    page.get_by_role("button", name="Stop").click()
    expect(answer(page).get_by_role("status")).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


def test_a_sound_is_sent_as_samples(kinds: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(kinds, "#/try/loudness")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(struct.pack("<1600h", *([0, 16384] * 800)))
    page.get_by_label("audio: sound file").set_input_files(tmp_path / "a.wav")
    expect(page.get_by_text("1,600 samples, 0.10 s")).to_be_visible()
    send(page)
    expect(answer(page).locator("ol.responses").first.locator("li")).to_have_text(
        [re.compile(r"^0\.500\d* "), re.compile(r"^1(\.000\d*)? ")]
    )
    expect(answer(page).locator("ol.responses").last.locator("li").first).to_have_text(re.compile("^1600 "))


def test_the_microphone_is_recorded(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/loudness")
    page.get_by_role("button", name="Record").click()
    stop = page.get_by_role("button", name="Stop recording")
    expect(stop).to_be_visible()
    expect(page.get_by_text("Recording: there is sound.")).to_be_visible()
    stop.click()
    expect(page.get_by_text(re.compile(r"[\d,]+ samples, "))).to_be_visible()
    send(page)
    expect(answer(page).get_by_role("status")).to_contain_text("2 responses, complete")


def test_many_numbers_are_a_strip_and_odd_ones_are_shown(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/strip")
    page.get_by_role("textbox", name="n: values").fill("1000")
    send(page)
    expect(answer(page).get_by_role("img", name="strip: 1,000 values from 0 to 999")).to_be_visible()
    expect(answer(page)).to_contain_text("no elements")
    expect(answer(page).locator("td")).to_have_text(["NaN", "Infinity", "-Infinity"])


def test_the_servers_text_is_shown_when_a_request_fails(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/broken", expected=("500",))
    send(page)
    expect(answer(page).get_by_role("alert")).to_contain_text("the reactor is too hot")
    page.get_by_text("Parameters", exact=True).click()
    page.get_by_label("Parameters of the request").fill("[1]")
    expect(page.get_by_text("parameters: parameters are a JSON object")).to_be_visible()


def test_a_version_is_chosen(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/versions")
    for version in ("1", "2"):
        page.get_by_role("combobox", name=re.compile("^Version")).select_option(version)
        expect(page).to_have_url(re.compile(f"#/try/versions/{version}$"))
        send(page)
        expect(answer(page).locator(".output")).to_be_visible()
        assert raw(page)["model_version"] == version


def test_a_model_that_is_not_there_is_said(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/try/nosuch", expected=("404",))
    expect(page.get_by_role("alert")).to_contain_text("'nosuch' is not found")
    page.get_by_role("combobox", name=re.compile("^Model")).select_option("sum")
    expect(page.get_by_role("textbox", name="x: values")).to_be_visible()


def test_a_name_of_any_characters_works(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/models")
    page.get_by_role("link", name="odd name-1 é?").click()
    page.get_by_role("textbox", name="IN: values").fill("1.5, 2")
    send(page)
    expect(answer(page).locator("td")).to_have_text(["1.5", "2"])
