"""`generate` as people use it: arrays, files and forms in, one object out; with curl, as it is typed."""

import base64
import gzip
import json
import shutil
import subprocess
import wave
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.support import error_of, statistics

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="apt-get install curl")

# Two inputs of BYTES, of which one may be left out.
_DESCRIBE = """
from typing import Annotated, TypedDict
import numpy as np
from kserve_v2 import FP32, Image, Request, Text

class Answer(TypedDict):
    caption: Text
    corners: Annotated[np.ndarray, FP32(2, 2)]

class Model:
    def __call__(self, image: Image, language: Text = "en", scale: Annotated[np.ndarray, FP32(1)] = np.ones(1, np.float32)) -> Answer:
        height, width, _ = image.shape
        word = {"en": "by", "de": "mal"}[language]
        return {"caption": f"{width} {word} {height}", "corners": image[:2, :2, 0] * scale[0]}
"""

_SHRINK = """
from kserve_v2 import Image

class Model:
    max_batch_size = 8

    def __call__(self, image: list[Image]) -> list[Image]:
        return [each[::2, ::2] for each in image]
"""

_TWO_FILES = """
from kserve_v2 import Image, Text

class Model:
    def __call__(self, left: Image, right: Image) -> Text:
        return "same" if left.shape == right.shape and (left == right).all() else "different"
"""

_SECONDS = """
import io, wave
import numpy as np

class Model:
    inputs = {"sound": ("BYTES", [1])}
    outputs = {"seconds": ("FP32", [1])}
    max_batch_size = 4

    def __call__(self, inputs):
        found = []
        for (sound,) in inputs["sound"]:
            with wave.open(io.BytesIO(sound)) as read:
                found.append([read.getnframes() / read.getframerate()])
        return {"seconds": np.array(found, np.float32)}
"""

# Everything but BYTES; says what it was given, and its parameters.
_NUMBERS = """
import json
import numpy as np

class Model:
    inputs = {"x": ("FP32", [2, 2]), "n": ("INT64", [1]), "flag": ("BOOL", [1]), "half": ("FP16", [-1])}
    outputs = {"x": ("FP32", [2, 2]), "n": ("INT64", [1]), "flag": ("BOOL", [1]), "half": ("FP16", [-1]), "parameters": ("BYTES", [1])}
    max_batch_size = 4

    def __call__(self, inputs, requests):
        told = [[json.dumps(each.parameters, sort_keys=True).encode()] for each in requests for _ in range(each.rows)]
        return {**inputs, "parameters": np.array(told, object)}
"""

_CLASSES = """
class Model:
    inputs = {"x": ("FP32", [3])}
    outputs = {"scores": ("FP32", [3])}
    max_batch_size = 4

    def __call__(self, inputs):
        return {"scores": inputs["x"]}
"""
_LABELLED = 'output [ { name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]'

_WORDS = """
from collections.abc import Iterator
from kserve_v2 import Text

class Model:
    def __call__(self, prompt: Text) -> Iterator[Text]:
        yield from prompt.split()
"""


_SAME = """
class Model:
    inputs = {"x": ("BYTES", [1])}
    outputs = {"y": ("BYTES", [1])}
    max_batch_size = 4

    def __call__(self, inputs):
        return {"y": inputs["x"]}
"""

LONG_OR_SHORT = [
    each[:size]
    for size in (5, 200_000, 400_000)
    for each in (bytes(range(256)) * 2000, 'é€𝄞\\\n"'.encode() * 40_000, b"A" * 400_000)
]


def any_text(element: bytes) -> str | None:
    """What it is, if it is UTF-8."""
    try:
        return element.decode()
    except UnicodeDecodeError:
        return None


@pytest.fixture(scope="module")
def people(
    start_server: StartServer, write_model: WriteModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    root = tmp_path_factory.mktemp("people")
    for name, code in (
        ("describe", _DESCRIBE), ("shrink", _SHRINK), ("two_files", _TWO_FILES), ("seconds", _SECONDS),
        ("numbers", _NUMBERS), ("unlabelled", _CLASSES), ("words", _WORDS),
    ):  # fmt: skip
        write_model(root, name, code)
    write_model(root, "same", _SAME)
    (write_model(root, "classes", _CLASSES, _LABELLED) / "labels.txt").write_text("cat\ndog\nbird\n")
    return start_server(root, "--http-max-input-size=1000000")


def picture(width: int = 6, height: int = 4, kind: str = "PNG") -> bytes:
    written = BytesIO()
    PIL.Image.fromarray(np.full((height, width, 3), 100, np.uint8)).save(written, kind)
    return written.getvalue()


def sound(seconds: float) -> bytes:
    written = BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * round(8000 * seconds)))
    return written.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files as people have them."""
    (tmp_path / "cat.jpg").write_bytes(picture(kind="JPEG"))
    (tmp_path / "cat.png").write_bytes(picture())
    (tmp_path / "other.png").write_bytes(picture(8, 8))
    (tmp_path / "hello.wav").write_bytes(sound(0.25))
    (tmp_path / "x.json").write_text("[[1, 2], [3, 4]]")
    return tmp_path


def curl(server: RunningServer, folder: Path, model: str, *arguments: str, route: str = "generate") -> Any:
    """What curl prints when it is called in `folder`."""
    url = f"{server.rest}/v2/models/{model}/{route}"
    done = subprocess.run(
        ["curl", "-sS", url, *arguments], cwd=folder, capture_output=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


# --- files ------------------------------------------------------------------------------------------------------------


@needs_curl
@pytest.mark.parametrize(
    ("file", "kind"), [("cat.jpg", "image/jpeg"), ("cat.png", "Image/PNG; charset=binary")]
)
def test_an_image_as_the_body(people: RunningServer, folder: Path, file: str, kind: str) -> None:
    assert curl(people, folder, "describe", "--data-binary", f"@{file}", "-H", f"Content-Type: {kind}") == {
        "caption": "6 by 4", "corners": [[100.0, 100.0], [100.0, 100.0]], "model_name": "describe",
        "model_version": "1",
    }  # fmt: skip


@needs_curl
def test_a_sound_as_the_body(people: RunningServer, folder: Path) -> None:
    answer = curl(people, folder, "seconds", "--data-binary", "@hello.wav", "-H", "Content-Type: audio/wav")
    assert answer == {"seconds": 0.25, "model_name": "seconds", "model_version": "1"}
    assert (
        curl(people, folder, "seconds", "-T", "hello.wav", "-X", "POST", "-H", "Content-Type: audio/wav")
        == answer
    )


@needs_curl
def test_a_form(people: RunningServer, folder: Path) -> None:
    answer = curl(
        people, folder, "describe", "-F", "image=@cat.jpg", "-F", "language=de", "-F", "scale=0.5", "-F", "id=42"
    )  # fmt: skip
    assert (answer["caption"], answer["corners"], answer["id"]) == ("6 mal 4", [[50.0, 50.0]] * 2, "42")
    assert (
        curl(people, folder, "two_files", "-F", "left=@cat.png", "-F", "right=@cat.png")["output"] == "same"
    )
    assert (
        curl(people, folder, "two_files", "-F", "left=@cat.png", "-F", "right=@other.png")["output"]
        == "different"
    )


@needs_curl
def test_several_files_of_one_name_are_rows(people: RunningServer, folder: Path) -> None:
    answer = curl(people, folder, "seconds", "-F", "sound=@hello.wav", "-F", "sound=@hello.wav")
    assert answer["seconds"] == [[0.25], [0.25]]


@needs_curl
def test_numbers_in_a_form(people: RunningServer, folder: Path) -> None:
    answer = curl(
        people, folder, "numbers", "-F", "x=@x.json", "-F", "n=7", "-F", "flag=true", "-F", "half=[0.5, 2]",
        "-F", 'parameters={"temperature": 0.5}',
    )  # fmt: skip
    assert answer == {
        "x": [[1.0, 2.0], [3.0, 4.0]], "n": 7, "flag": True, "half": [0.5, 2.0], "parameters": '{"temperature": 0.5}',
        "model_name": "numbers", "model_version": "1",
    }  # fmt: skip


@pytest.mark.parametrize("size", [100, 400_000])
def test_forms_of_any_size(people: RunningServer, size: int) -> None:
    """Large ones are read in slices."""
    half = [0.5, 2] * (size // 8)
    fields = {"x": b"[[1, 2], [3, 4]]", "n": b"7", "flag": b"true", "half": json.dumps(half).encode()}
    answer = people.post(
        "/v2/models/numbers/generate", files={name: ("f", data) for name, data in fields.items()}
    )
    assert answer.json()["half"] == half
    cut = people.post("/v2/models/numbers/generate", files={**fields, "half": ("f", fields["half"][:-1])})
    assert cut.status_code == 400
    assert "field 'half': the input is FP16, expected JSON (a value, or lists), got the file 'f'" in cut.text
    left = picture() + bytes(range(256)) * (size // 256)
    same = people.post("/v2/models/two_files/generate", files={"left": left, "right": left})
    assert same.json()["output"] == "same"
    body = httpx.Request("POST", "http://x", files={"left": left}, headers=same.request.headers).read()
    kind = same.request.headers["content-type"]
    ended = people.post("/v2/models/two_files/generate", content=body[:-4], headers={"content-type": kind})
    assert (ended.status_code, "the form is cut off" in ended.text) == (400, True)


@pytest.mark.parametrize("element", LONG_OR_SHORT, ids=range(len(LONG_OR_SHORT)))
def test_base64_of_any_length(people: RunningServer, element: bytes) -> None:
    """What is long is read and written in slices."""
    coded = base64.b64encode(element).decode()
    text = any_text(element)
    given = {"b64": coded}
    shown = given if text is None else text

    def answers(path: str, document: Any) -> Any:
        return people.post(f"/{path}", json=document).json()

    assert answers("v2/models/same/generate", {"x": given})["y"] == shown
    assert answers("v2/models/same/generate", {"x": [given]})["y"] == shown
    assert answers("v1/models/same:predict", {"instances": [given]}) == {"predictions": [[shown]]}
    assert answers("v1/models/same:predict", {"inputs": {"x": [[given]]}}) == {"outputs": [[shown]]}
    item = {"name": "x", "datatype": "BYTES", "shape": [1, 1], "data": [coded]}
    encoded = {"parameters": {"content_type": "base64"}}
    wanted = [{"name": "y", **encoded}]
    answer = answers("v2/models/same/infer", {"inputs": [{**item, **encoded}], "outputs": wanted})
    assert answer["outputs"][0] == {
        "name": "y",
        "datatype": "BYTES",
        "shape": [1, 1],
        **encoded,
        "data": [coded],
    }
    assert answers("v2/models/same/infer", {"inputs": [item]})["outputs"][0]["data"] == [coded]
    answer = answers("v2/models/same/infer", {"inputs": [{**item, **encoded}]})
    assert (
        (answer["outputs"][0]["data"] == [text]) if text is not None else ("is not UTF-8" in answer["error"])
    )
    file = people.post("/v2/models/same/generate", content=element, headers={"content-type": "image/png"})
    assert file.json()["y"] == shown


def test_an_image_comes_back_as_base64(people: RunningServer) -> None:
    """And may be sent as such."""
    answer = people.post(
        "/v2/models/shrink/generate", content=picture(6, 4), headers={"content-type": "image/png"}
    ).json()
    shrunk = base64.b64decode(answer["output"]["b64"])
    assert PIL.Image.open(BytesIO(shrunk)).size == (3, 2)
    again = people.post("/v2/models/shrink/generate", json={"image": answer["output"]}).json()
    assert PIL.Image.open(BytesIO(base64.b64decode(again["output"]["b64"]))).size == (2, 1)
    rows = people.post("/v2/models/shrink/generate", json={"image": [[answer["output"]]]}).json()
    assert rows["output"] == [[again["output"]]]


def sent(server: RunningServer, model: str, accept: str, **options: Any) -> Any:
    options = options or {"files": {"image": picture(6, 4)}}
    return server.post(f"/v2/models/{model}/generate", headers={"accept": accept}, **options)


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "image/*",
        "audio/wav;q=0.5, IMAGE/PNG",
        "image/jpeg, image/*;q=0.9, application/json;q=0.8",
    ],
)
def test_an_image_comes_back_as_it_is_if_that_is_asked_for(people: RunningServer, accept: str) -> None:
    answer = sent(people, "shrink", accept)
    assert answer.headers["content-type"] == "image/png"
    assert PIL.Image.open(BytesIO(answer.content)).size == (3, 2)


@pytest.mark.parametrize(
    ("model", "accept"),
    [
        ("shrink", "*/*"),
        ("shrink", ""),
        ("shrink", "application/json"),
        ("shrink", "application/octet-stream"),
        ("shrink", "image/png;q=0.5, application/json"),
        ("shrink", "image/png;q=0, */*"),
        ("shrink", "image/png;q=x"),
        # What there is is not what would be liked best.
        ("shrink", "image/jpeg, */*;q=0.1"),
        ("describe", "image/png, application/json"),
    ],
)
def test_the_answer_is_json_unless_asked_otherwise(people: RunningServer, model: str, accept: str) -> None:
    answer = sent(people, model, accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("model", "accept", "options", "text"),
    [
        ("shrink", "image/jpeg", {}, "output 'output' is image/png, and image/jpeg was asked for; with 'Accept: "
         "application/json' the answer is JSON"),
        ("shrink", "audio/*, video/mp4", {}, "output 'output' is image/png, and audio/*, video/mp4 was asked for"),
        ("shrink", "image/png", {"files": [("image", picture()), ("image", picture())]}, "output 'output' is 2 elements"),
        ("describe", "image/png", {}, "output 'caption' is of no known kind, and image/png was asked for"),
        ("seconds", "audio/wav", {"files": {"sound": sound(0.25)}}, "there is no output of BYTES that could be audio/wav"),
        ("shrink", "image/png", {"files": {"image": b"x"}}, "input 'image': it is neither JPEG nor PNG"),
    ],
)  # fmt: skip
def test_what_cannot_be_given(
    people: RunningServer, model: str, accept: str, options: dict[str, Any], text: str
) -> None:
    answer = sent(people, model, accept, **options)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert text in error_of(answer)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_compressed_file(people: RunningServer, encoding: str) -> None:
    body = gzip.compress(picture()) if encoding == "gzip" else picture()
    headers = {"content-type": "image/png", "content-encoding": encoding}
    answer = people.post("/v2/models/describe/generate", content=body, headers=headers)
    assert answer.json()["caption"] == "6 by 4"
    bomb = gzip.compress(bytes(1_000_001))
    answer = people.post(
        "/v2/models/describe/generate", content=bomb, headers={**headers, "content-encoding": "gzip"}
    )
    assert (answer.status_code, "exceeds the maximum allowed value of 1000000" in error_of(answer)) == (
        413,
        True,
    )


def test_a_form_that_is_a_stream(people: RunningServer) -> None:
    answer = people.post("/v2/models/words/generate_stream", files={"prompt": (None, "three short words")})
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [each["output"] for each in events] == ["three", "short", "words"]


def test_a_body_that_is_too_large(people: RunningServer) -> None:
    answer = people.post("/v2/models/describe/generate", files={"image": bytes(1_000_001)})
    assert answer.status_code == 413
    answer = people.post(
        "/v2/models/describe/generate",
        content=iter([bytes(600_000)] * 2),
        headers={"content-type": "image/png"},
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("model", "content", "kind", "text"),
    [
        ("describe", b"", "image/png", "the body is empty, expected a file for input 'image' (image/png)"),
        ("describe", b"x", "image/png", "input 'image': it is neither JPEG nor PNG"),
        ("two_files", b"x", "image/png", "model 'two_files' has 2 inputs of BYTES: 'left', 'right'; a form "
         "(multipart/form-data) says for which of them a file is"),
        ("classes", b"x", "image/png", "model 'classes' has no input of BYTES that a file could be for; its inputs: 'x' "
         "(FP32)"),
        ("describe", b"x", "multipart/mixed; boundary=a", "Content-Type is 'multipart/mixed', expected JSON, a form"),
        ("describe", b"--a\r\n", "multipart/form-data", "the form's Content-Type needs a boundary"),
        ("describe", b"%PDF-1.7", "application/pdf", "(Content-Type is application/pdf; generate takes JSON, a form (multipart/form-data), or a file with a Content-Type of image/…, "
         "audio/… or video/…)"),
        ("describe", b"a,b", "text/csv", "(Content-Type is text/csv; generate takes JSON, a form"),
        ("describe", picture(), "application/x-www-form-urlencoded", "(the body looks like image/png, and Content-Type is "
         "application/x-www-form-urlencoded: it is taken as 'image/png'; generate takes"),
        ("describe", b"--a\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--a--", "application/json", "(the body "
         "looks like multipart/form-data, and Content-Type is application/json: it is taken as 'multipart/form-data';"),
        ("describe", b"", "application/json", "failed to parse the request JSON buffer: The document is empty. at 0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["generate", "generate_stream"])
def test_bodies_that_are_refused(
    people: RunningServer, model: str, content: bytes, kind: str, text: str, route: str
) -> None:
    answer = people.post(f"/v2/models/{model}/{route}", content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert text in answer.text.replace('\\"', '"')


@pytest.mark.parametrize(
    ("model", "fields", "text"),
    [
        ("describe", {"imgae": ("a.png", b"x")}, "field 'imgae' is no input of model 'describe'; its inputs: 'image', "
         "'language', 'scale'. Parameters are members of a JSON object in the field 'parameters'"),
        ("describe", {"image": ("a.png", b"")}, "field 'image': the file 'a.png' is empty"),
        ("describe", {"language": (None, "en")}, "missing required input(s) ['image']"),
        ("describe", {"image": ("a.png", picture()), "scale": (None, "big")}, "field 'scale': the input is FP32, expected "
         "JSON (a value, or lists), got 'big': "),
        ("numbers", {"x": ("a.png", picture())}, "field 'x': the input is FP32, expected JSON (a value, or lists), got the "
         "file 'a.png': "),
        ("numbers", {"x": (None, "[1, 2, 3]")}, "input 'x' to tensor with proper shape: its shape is [-1,2,2]"),
        ("numbers", {"n": (None, "1.5")}, "non-signed-integer as signed-integer (input 'n')"),
        ("describe", {"parameters": (None, "1")}, "field 'parameters': expected a JSON object"),
        ("describe", {"parameters": (None, "{")}, "field 'parameters': failed to parse"),
        ("describe", {"parameters": (None, '{"a": []}')}, "parameter 'a' has invalid type."),
        ("describe", {"id": (None, b"\xff")}, "field 'id' is not UTF-8"),
        ("describe", {"language": (None, "en", "text/plain; charset=latin-1")}, "field 'language': the charset is 'latin-1'"),
    ],
)  # fmt: skip
def test_fields_that_are_refused(people: RunningServer, model: str, fields: Any, text: str) -> None:
    before = statistics(people, model)["execution_count"]
    answer = people.post(f"/v2/models/{model}/generate", files=fields)
    assert answer.status_code == 400
    assert text in error_of(answer)
    assert statistics(people, model)["execution_count"] == before


def test_a_file_that_was_not_chosen_is_not_there(people: RunningServer) -> None:
    """As browsers send it."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\nContent-Type: application/octet-stream'
        b"\r\n\r\n\r\n--b--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = people.post("/v2/models/describe/generate", content=body, headers=headers)
    assert "missing required input(s) ['image']" in error_of(answer)


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png"])
def test_infer_has_raw_requests_as_before(people: RunningServer, kind: str) -> None:
    headers = {"content-type": kind, "inference-header-content-length": "0"}
    answer = people.post("/v2/models/seconds/infer", content=sound(0.5), headers=headers)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert np.frombuffer(answer.content[-4:], np.float32).tolist() == [0.5]


@pytest.mark.parametrize("kind", ["image/png", "application/x-www-form-urlencoded"])
def test_infer_says_who_takes_files(people: RunningServer, kind: str) -> None:
    answer = people.post("/v2/models/describe/infer", content=picture(), headers={"content-type": kind})
    assert answer.status_code == 400
    assert (
        "the body looks like image/png; infer takes JSON: /v2/models/MODEL/generate takes files"
        in error_of(answer)
    )
    answer = people.post("/v2/models/describe/infer", files={"image": picture()})
    assert "the body looks like multipart/form-data; infer takes JSON" in error_of(answer)


# --- arrays -----------------------------------------------------------------------------------------------------------

X = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # As Triton answers: flat.
        ({"x": [1, 2, 3, 4], "n": 7, "flag": False, "half": [0.5]}, {"x": [1.0, 2.0, 3.0, 4.0], "n": 7, "half": 0.5}),
        # One row, without a batch dimension.
        ({"x": X, "n": 7, "flag": False, "half": [0.5]}, {"x": X, "n": 7, "half": [0.5]}),
        # Rows.
        ({"x": [X], "n": 7, "flag": False, "half": [0.5]}, {"x": [X], "n": [[7]], "half": [[0.5]]}),
        ({"x": [X, X], "n": [7, 8], "flag": [[False], [False]], "half": [[0.5], [1]]},
         {"x": [X, X], "n": [[7], [8]], "half": [[0.5], [1.0]]}),
    ],
)  # fmt: skip
def test_the_answer_has_the_form_of_the_request(people: RunningServer, body: Any, expected: Any) -> None:
    answer = people.post("/v2/models/numbers/generate", json=body).json()
    assert {name: answer[name] for name in expected} == expected


def test_nan_in_lists_in_lists(people: RunningServer) -> None:
    body = b'{"x": [[1, NaN], [-Infinity, 2]], "n": 1, "flag": true, "half": []}'
    answer = people.post("/v2/models/numbers/generate", content=body)
    assert '"x":[[1.0,NaN],[-Infinity,2.0]]' in answer.text
    assert '"half":[],' in answer.text


def test_rows_that_do_not_fit_together(people: RunningServer) -> None:
    answer = people.post("/v2/models/numbers/generate", json={"x": [X, X], "n": 7, "flag": True, "half": [1]})
    assert error_of(answer).endswith("input 'n' batch size does not match other inputs for 'numbers'")


# --- classes ----------------------------------------------------------------------------------------------------------

DOG, BIRD = {"index": 1, "label": "dog", "value": 0.75}, {"index": 2, "label": "bird", "value": 0.25}


@pytest.mark.parametrize(
    ("model", "body", "query", "expected"),
    [
        ("classes", [0, 0.75, 0.25], "classes=2", [DOG, BIRD]),
        ("classes", [0, 0.75, 0.25], "a=b&classes=1", [DOG]),
        ("classes", [[0, 0.75, 0.25]], "classes=1", [[DOG]]),
        ("classes", [0, 0.75, 0.25] * 2, "classes=1", [[DOG], [DOG]]),
        ("classes", [0, 0.75, 0.25], "", [0, 0.75, 0.25]),
        ("unlabelled", [0, 0.75, 0.25], "classes=1", [{"index": 1, "value": 0.75}]),
    ],
)
def test_classes(people: RunningServer, model: str, body: Any, query: str, expected: Any) -> None:
    answer = people.post(f"/v2/models/{model}/generate?{query}", json={"x": body})
    assert answer.json()["scores"] == expected


def test_classes_of_a_stream(people: RunningServer) -> None:
    answer = people.post("/v2/models/classes/generate_stream?classes=1", json={"x": [0, 0.75, 0.25]})
    assert '"scores":[{"index":1,"label":"dog","value":0.75}]' in answer.text


@pytest.mark.parametrize(
    ("model", "query", "text"),
    [
        ("classes", "classes=", "classes: expected how many classes to give, 1 or more, got ''"),
        ("classes", "classes=0", "got '0'"),
        ("classes", "classes=-1", "got '-1'"),
        ("classes", "classes=99999999999", "got '99999999999'"),
        (
            "numbers",
            "classes=1",
            "classes: no output of model 'numbers' has labels, and 3 of them have numbers",
        ),
        (
            "two_files",
            "classes=1",
            "classes: no output of model 'two_files' has labels, and 0 of them have numbers",
        ),
    ],
)
def test_classes_that_cannot_be_given(people: RunningServer, model: str, query: str, text: str) -> None:
    bodies: dict[str, Any] = {
        "numbers": {"x": X, "n": 7, "flag": False, "half": []},
        "classes": {"x": [1, 2, 3]},
    }
    answer = people.post(f"/v2/models/{model}/generate?{query}", json=bodies.get(model, {}))
    assert answer.status_code == 400
    assert text in error_of(answer)
