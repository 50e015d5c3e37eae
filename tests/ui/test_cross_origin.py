"""Pages of other origins, in a browser: what `--http-cors-allow-origin` lets them do, and that without it they cannot."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import RunningServer, StartServer, WriteModel

_SIZE = """
import numpy as np

class Model:
    inputs = {"file": ("BYTES", [1])}
    outputs = {"size": ("INT64", [1])}
    max_batch_size = 4

    def __call__(self, inputs):
        return {"size": np.array([[len(each)] for (each,) in inputs["file"]])}
"""

# What a page gets of an answer; `refused` if the browser keeps it from the page.
_ASK = """
async ([url, what]) => {
  const file = new Blob([new Uint8Array(what.bytes || 3)], {type: what.type || 'image/png'});
  let body = file, headers = {};
  if (what.form) { body = new FormData(); body.append(what.form, file, 'a.png'); body.append('id', '42'); }
  if (what.json) { body = JSON.stringify(what.json); headers['Content-Type'] = 'application/json'; }
  try {
    const answer = await fetch(url, {method: 'POST', body, headers});
    const header = answer.headers.get('Inference-Header-Content-Length');
    return {status: answer.status, header, text: await answer.text()};
  } catch (error) {
    return {refused: error.name};
  }
}
"""


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the name is the base class's
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """The port of another web server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield other.server_address[1]
        other.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def open_to_it(
    elsewhere: int,
    start_server: StartServer,
    write_model: WriteModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunningServer:
    root = tmp_path_factory.mktemp("models")
    write_model(root, "size", _SIZE)
    flags = (f"--http-cors-allow-origin=http://127.0.0.1:{elsewhere}", "--http-max-input-size=1000")
    return start_server(root, *flags)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_a_page_of_an_origin_that_is_allowed(page: Page, elsewhere: int, open_to_it: RunningServer) -> None:
    page.goto(f"http://127.0.0.1:{elsewhere}/")
    model = f"{open_to_it.rest}/v2/models/size"

    def ask(url: str, **what: Any) -> Any:
        return page.evaluate(_ASK, [url, what])

    file = ask(f"{model}/generate")
    assert (file["status"], file["text"]) == (200, '{"model_name":"size","model_version":"1","size":3}')
    form = ask(f"{model}/generate", form="file")
    assert form["text"] == '{"id":"42","model_name":"size","model_version":"1","size":3}'
    sound = ask(f"{model}/generate", type="audio/wav", bytes=7)
    assert '"size":7' in sound["text"]
    # Errors can be read, too.
    wrong = ask(f"{model}/generate", form="flie")
    assert (wrong["status"], "field 'flie' is no input" in wrong["text"]) == (400, True)
    large = ask(f"{model}/generate", bytes=1001)
    assert (large["status"], "--http-max-input-size" in large["text"]) == (413, True)
    unknown = ask(f"{open_to_it.rest}/v2/models/nosuch/generate")
    assert unknown["status"] == 404
    # And the header that says where binary tensors begin.
    tensor = {"name": "file", "datatype": "BYTES", "shape": [1, 1], "data": ["abc"]}
    binary = ask(f"{model}/infer", json={"inputs": [tensor], "parameters": {"binary_data_output": True}})
    assert binary["status"] == 200
    assert binary["text"][: int(binary["header"])].endswith("}")


def test_a_page_of_another_origin(page: Page, elsewhere: int, open_to_it: RunningServer) -> None:
    page.goto(f"http://localhost:{elsewhere}/")
    url = f"{open_to_it.rest}/v2/models/size/generate"
    for what in ({}, {"form": "file"}, {"json": {"file": "a"}}):
        assert page.evaluate(_ASK, [url, what]) == {"refused": "TypeError"}
