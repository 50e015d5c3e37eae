"""The same request from elsewhere: what the page shows is copied, and run as a person would run it."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningServer
from tests.ui.conftest import OpenPage
from tests.ui.test_try import STROKES, answer, draw, raw, send

Run = Callable[[str, Path], str]


def _command(*command: str) -> Run:
    def run(text: str, folder: Path) -> str:
        done = subprocess.run(
            [*command, text], cwd=folder, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


SHELL = _command("bash", "-ec")
PYTHON = _command(sys.executable, "-W", "error", "-c")
NODE = _command("node", "--input-type=module", "-e")

# Each snippet as if it was alone; what takes long is to import the clients.
ONE_AFTER_ANOTHER = """
import contextlib, io, json

printed = []
for text in json.load(open("snippets.json")):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(text, "snippet", "exec"), {"__name__": "__main__"})
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def snippet(page: Page, title: str, folder: Path) -> str:
    """What is copied of a tab, and beside it the file that it needs, if it needs one."""
    page.get_by_role("tab", name=title, exact=True).click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.locator("#snippet a[download]")
    if link.count():
        with page.expect_download() as waiting:
            link.click()
        waiting.value.save_as(folder / waiting.value.suggested_filename)
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#snippet pre").inner_text()
    return str(copied)


def opened(server: RunningServer, open_page: OpenPage, where: str, **options: object) -> Page:
    return open_page(server, where, permissions=["clipboard-read", "clipboard-write"], **options)


def figures(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


PYTHONS = ("Python", "tritonclient HTTP", "tritonclient gRPC")
OTHERS = {
    "curl": SHELL,
    **({"JavaScript": NODE} if shutil.which("node") else {}),
    **({"grpcurl": SHELL} if shutil.which("grpcurl") else {}),
}


def run_all(page: Page, folder: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
    """What the snippets print, by title: all that can be run on this machine."""
    titles = [title for title in PYTHONS if title not in without]
    (folder / "snippets.json").write_text(json.dumps([snippet(page, title, folder) for title in titles]))
    printed = dict(zip(titles, json.loads(PYTHON(ONE_AFTER_ANOTHER, folder)), strict=True))
    for title, run in OTHERS.items():
        if title not in without:
            printed[title] = run(snippet(page, title, folder), folder)
    return printed


def test_copying_where_there_is_no_https(examples: RunningServer, open_page: OpenPage) -> None:
    """A page has no clipboard then, unless its server is on the same machine."""
    page = open_page(examples, "#/try/digits_onnx")
    page.evaluate('Object.defineProperty(Navigator.prototype, "clipboard", { get: () => undefined })')
    draw(page, STROKES["zero"])
    page.get_by_role("tab", name="curl", exact=True).click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.evaluate('document.body.append(Object.assign(document.createElement("textarea"), { id: "pasted" }))')
    page.locator("#pasted").press("ControlOrMeta+v")
    assert page.locator("#pasted").input_value().startswith("curl ")


def test_a_drawn_digit_is_sent_by_each_language(
    examples: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(examples, open_page, "#/try/digits_onnx")
    draw(page, STROKES["zero"])
    expect(answer(page).locator(".bars .best .bar-name")).to_have_text("zero")
    shown = raw(page)["outputs"][0]["data"]
    for title, printed in run_all(page, tmp_path).items():
        if title == "curl":
            assert json.loads(printed)["outputs"][0]["data"] == shown
        elif title != "grpcurl":
            numbers = figures(printed[printed.find("[") :])
            assert any(abs(number - max(shown)) < 1e-3 for number in numbers), printed


TEXT = "it's \"quoted\" $HOME `id` \\n 🙂 %s 'x' !"


def test_texts_of_any_characters_survive_every_quoting(
    kinds: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(kinds, open_page, "#/try/shout")
    page.get_by_role("textbox", name="text").fill(f"{TEXT}\nsecond line")
    send(page)
    expected = f"{TEXT}\nsecond line".upper()
    expect(answer(page).locator("pre.text")).to_have_text(expected)
    for title, printed in run_all(page, tmp_path).items():
        if title == "curl":
            assert json.loads(printed)["outputs"][0]["data"] == [expected]
        elif title in PYTHONS:
            # An array of bytes, as Python shows it.
            assert repr(expected.encode()) in printed
        elif title == "JavaScript":
            assert "$HOME `ID` " in printed


def test_what_is_too_long_for_a_command_is_in_a_file(
    kinds: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(kinds, open_page, "#/try/same_int64")
    page.get_by_label("IN: shape to fill").fill("40000")
    page.get_by_role("button", name="Random").click()
    send(page)
    expect(answer(page).get_by_role("img", name=re.compile("40,000 values"))).to_be_visible()
    # Node's command line has the limit, too; a browser has none.
    all_printed = run_all(page, tmp_path, without=("JavaScript",))
    sent = json.loads((tmp_path / "request.json").read_text())["inputs"][0]["data"]
    assert len(sent) == 40000
    for title, printed in all_printed.items():
        if title == "curl":
            assert json.loads(printed)["outputs"][0]["data"] == sent
        elif title != "grpcurl":
            assert [int(number) for number in figures(printed)[:3]] == sent[:3]


def test_whole_numbers_are_exact_in_each_language(
    kinds: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(kinds, open_page, "#/try/same_int64")
    page.get_by_role("textbox", name="IN: values").fill("9007199254740993, -9223372036854775808")
    expect(page.get_by_text("shape [2], 2 elements")).to_be_visible()
    for title, printed in run_all(page, tmp_path).items():
        assert "9007199254740993" in printed, title
        assert "-9223372036854775808" in printed, title


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_is_sent_by_those_that_can(
    kinds: RunningServer, open_page: OpenPage, tmp_path: Path, datatype: str
) -> None:
    page = opened(kinds, open_page, f"#/try/same_{datatype.lower()}")
    page.get_by_role("textbox", name="IN: values").fill("1.5, -2, 0.25")
    expect(page.get_by_text("shape [3], 3 elements")).to_be_visible()
    printed = run_all(page, tmp_path, without=("JavaScript",))
    assert b'"OUT"' in (tmp_path / "answer.bin").read_bytes()
    for title in PYTHONS:
        assert figures(printed[title]) == [1.5, -2, 0.25]


def test_a_stream_is_asked_for_by_those_that_can(
    kinds: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    page = opened(kinds, open_page, "#/try/count")
    page.get_by_role("textbox", name="prompt").fill("one two 'three'")
    page.get_by_role("tab", name="tritonclient HTTP").click()
    expect(page.get_by_text("has no streams over HTTP")).to_be_visible()
    for title, printed in run_all(page, tmp_path, without=("tritonclient HTTP",)).items():
        if title != "grpcurl":
            assert printed.index("one") < printed.index("two") < printed.index("three")


def test_files_and_sequences_and_odd_names(
    kinds: RunningServer, examples: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    """Base64, the parameters of a sequence, a version, and a name that has to be quoted."""
    page = opened(kinds, open_page, "#/try/same_bytes")
    (tmp_path / "a.bin").write_bytes("é\0".encode())
    page.get_by_label("IN: how to give it").select_option("file")
    page.get_by_label("IN: file").set_input_files(tmp_path / "a.bin")
    expect(page.get_by_text("a.bin, 3 bytes")).to_be_visible()
    for title, printed in run_all(page, tmp_path).items():
        if title in PYTHONS:
            assert repr("é\0".encode()) in printed
    page = opened(examples, open_page, "#/try/typeahead/1")
    run_all(page, tmp_path)
    page = opened(kinds, open_page, "#/try/odd name-1 é?".replace("?", "%3F"))
    page.get_by_role("textbox", name="IN: values").fill("1.5, 2.5")
    expect(page.get_by_text("shape [2], 2 elements")).to_be_visible()
    for title, printed in run_all(page, tmp_path).items():
        if title in PYTHONS:
            assert figures(printed) == [1.5, 2.5]


# A sample request is a file of the model's, and what it says is pasted into terminals.
HOSTILE = '"); open("pwned", "w"); ("'
MAKE = """async ({ name, inputs }) => {
  const { SNIPPETS, context } = await import("./ui/static/try/snippets.js");
  const form = { name, inputs, outputs: [] };
  const of = context({ form, request: { inputs }, tensors: {}, parameters: {}, place: "http://localhost:1/" });
  return SNIPPETS.slice(0, 3).map(({ make }) => make(of).text);
}"""


def test_no_name_and_no_data_become_code(kinds: RunningServer, open_page: OpenPage) -> None:
    page = open_page(kinds, "#/models")
    encoded = {"datatype": "BYTES", "shape": [1], "data": [HOSTILE], "parameters": {"content_type": "base64"}}
    text = {"datatype": "BYTES", "shape": [1], "data": [HOSTILE]}
    names = ("list", "print", "open", "float", HOSTILE)
    inputs = [{"name": "encoded", **encoded}, *({"name": name, **text} for name in names)]
    _, *pythons = page.evaluate(MAKE, {"name": HOSTILE, "inputs": inputs})
    for snippet_of_python in pythons:
        tree = ast.parse(snippet_of_python)
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assigned = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        assert not called & (assigned | {"open"}), snippet_of_python
        assert HOSTILE in {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
