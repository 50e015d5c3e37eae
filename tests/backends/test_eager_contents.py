"""Texts, JSON and images: decoded for handlers, and encoded for clients; by themselves, in rows, and in batches in which one
is wrong.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image
import pytest
from kserve_v2_backends.eager import images as eager_images
from kserve_v2_backends.eager.annotations import Declared
from kserve_v2_backends.eager.backend import EagerBackend
from kserve_v2_backends.eager.contents import Contents

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import ConfigurationError, InternalError, InvalidArgumentError
from kserve_v2.handlers.declared import ContentType
from kserve_v2.messages import InferRequest
from tests.backends.test_eager_typed import TOP, complete, execute, failure, png, requests_of, serve, texts

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def jpeg(array: Any, **options: Any) -> bytes:
    written = BytesIO()
    PIL.Image.fromarray(array).save(written, "JPEG", **options)
    return written.getvalue()


def picture(mode: str, array: Any) -> bytes:
    """As PNG, with this mode of Pillow's."""
    written = BytesIO()
    image = PIL.Image.fromarray(array)
    (image if image.mode == mode else image.convert(mode)).save(written, "PNG")
    return written.getvalue()


# Answers with what it is given, as the kind that it is, and with what that is.
ECHO = """
class Out(TypedDict):
    back: {one}
    kind: {json}

class Model:
    max_batch_size = {size}

    {kind} __call__(self, given: {one}) -> Out:
        return {{"back": given, "kind": {describe}}}
"""
ONE = {"size": 0, "kind": "def", "json": "Json", "describe": "describe(given)"}
ROWS = {"size": 4, "kind": "def", "json": "list[Json]", "describe": "[describe(each) for each in given]"}
DESCRIBE = """
def describe(value):
    return [type(value).__name__, list(getattr(value, "shape", [])), str(getattr(value, "dtype", ""))]
"""


def echo(loader: Any, kind: str, form: dict[str, Any], text: str = "", **others: Any) -> Any:
    one = f"list[{kind}]" if form["size"] else kind
    return serve(loader, DESCRIBE + ECHO.format(**{"one": one, **form, **others}), text)


# --- values ----------------------------------------------------------------------------------------------------------

TEXTS = ["", "plain", "ŝ – \U0001f600", "nul \0 inside", "line\r\nends", "x" * 100_000]
JSONS = [None, True, 1, -(2**70), 0.5, "ŝ", [], {"a": [1, {"b": None}]}, [[]] * 3]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_and_goes_as_it_is(loader: Any, text: str) -> None:
    answer = execute(echo(loader, "Text", ONE), {"given": texts(text)})
    assert answer["back"].tolist() == [text.encode()]
    assert json.loads(answer["kind"][0]) == ["str", [], ""]


@pytest.mark.parametrize("value", JSONS, ids=str)
def test_json_comes_and_goes_as_what_it_means(loader: Any, value: Any) -> None:
    answer = execute(echo(loader, "Json", ONE), {"given": texts(json.dumps(value))})
    assert json.loads(answer["back"][0]) == value
    assert json.loads(answer["kind"][0])[0] == type(value).__name__


def test_rows_come_as_lists(loader: Any) -> None:
    answer = execute(
        echo(loader, "Text", ROWS), {"given": texts("a", "", "c", rows=True)}, requests_of([2, 1])
    )
    assert answer["back"].tolist() == [[b"a"], [b""], [b"c"]]
    assert [json.loads(each) for each in answer["kind"].ravel()] == [["str", [], ""]] * 3


def test_several_of_one_request_come_as_a_list_without_batching_too(loader: Any) -> None:
    code = """
class Model:
    def __call__(self, words: list[Text], more: Sequence[Json]) -> list[Text]:
        return [word * len(more) for word in words]
"""
    config = complete(loader, code)
    assert [list(each.dims) for each in (*config.input, *config.output)] == [[-1], [-1], [-1]]
    instance = serve(loader, code)
    answer = execute(instance, {"words": texts("a", "b", "c"), "more": texts("1", "[]")})
    assert answer["output"].tolist() == [b"aa", b"bb", b"cc"]
    assert execute(instance, {"words": texts(), "more": texts()})["output"].tolist() == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(RGB), RGB),
        (picture("L", np.array([[0, 200]], np.uint8)), [[[0] * 3, [200] * 3]]),
        (picture("1", np.array([[0, 255]], np.uint8)), [[[0] * 3, [255] * 3]]),
        (picture("RGBA", np.array([[[1, 2, 3, 0]]], np.uint8)), [[[1, 2, 3]]]),
        (picture("P", np.array([[[255, 0, 0]]], np.uint8)), [[[255, 0, 0]]]),
        # Sixteen bits, of which the upper eight are kept.
        (picture("I;16", np.array([[0, 255, 256, 0x1234, 0xFFFF]], np.uint16)), [[[v] * 3 for v in (0, 0, 1, 0x12, 255)]]),
    ],
    ids=["RGB", "grey", "black and white", "with transparency", "palette", "16 bits"],
)  # fmt: skip
def test_a_png_is_rgb_whatever_it_was(loader: Any, data: bytes, expected: Any) -> None:
    answer = execute(echo(loader, "Image", ONE), {"given": texts(data)})
    shape = list(np.shape(expected))
    assert json.loads(answer["kind"][0]) == ["ndarray", shape, "uint8"]
    assert np.asarray(PIL.Image.open(BytesIO(answer["back"][0]))).tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_rgb_whatever_it_was(mode: str, progressive: bool) -> None:
    written = BytesIO()
    PIL.Image.new("RGB", (16, 8), (200, 40, 90)).convert(mode).save(
        written, "JPEG", quality=95, progressive=progressive
    )
    array = eager_images.decode_image(written.getvalue(), 128)
    assert (array.shape, array.dtype, array.flags.writeable) == ((8, 16, 3), np.uint8, True)
    expected = (200, 40, 90) if mode != "L" else (round(0.299 * 200 + 0.587 * 40 + 0.114 * 90),) * 3
    assert np.abs(array.astype(int) - expected).max() <= 4


def test_images_of_a_batch_are_of_any_size(loader: Any) -> None:
    images = [png(np.zeros((n, 2 * n, 3), np.uint8)) for n in (1, 2, 3)]
    answer = execute(echo(loader, "Image", ROWS), {"given": texts(*images, rows=True)}, requests_of([1, 2]))
    assert [json.loads(each)[1] for each in answer["kind"].ravel()] == [[n, 2 * n, 3] for n in (1, 2, 3)]
    assert [PIL.Image.open(BytesIO(each)).size for each in answer["back"].ravel()] == [(2, 1), (4, 2), (6, 3)]


def test_attributes_declare_them_as_well(loader: Any) -> None:
    code = """
class Model:
    inputs = {"image": Image, "question": Text, "x": ("FP32", [1])}
    outputs = {"answer": Text, "size": ("INT64", [2])}
    max_batch_size = %d

    def __call__(self, inputs):
        if not self.max_batch_size:
            return {"answer": inputs["question"] + "!", "size": list(inputs["image"].shape[:2])}
        return {
            "answer": [each + "!" for each in inputs["question"]],
            "size": [each.shape[:2] for each in inputs["image"]],
        }
"""
    one = execute(serve(loader, code % 0), {"image": texts(png(RGB)), "question": texts("what")})
    assert (one["answer"].tolist(), one["size"].tolist()) == ([b"what!"], [2, 3])
    given = {"image": texts(png(RGB), png(RGB), rows=True), "question": texts("a", "b", rows=True)}
    rows = execute(serve(loader, code % 4), given, requests_of([1, 1]))
    assert (rows["answer"].tolist(), rows["size"].tolist()) == ([[b"a!"], [b"b!"]], [[2, 3], [2, 3]])


def test_handlers_with_torch_have_them_beside_their_tensors(loader: Any) -> None:
    code = """
import torch

class Model:
    def __call__(self, image: Image, x: Annotated[torch.Tensor, FP32(1)]) -> Image:
        assert type(image) is np.ndarray and type(x) is torch.Tensor
        return torch.from_numpy(image) * 2
"""
    answer = execute(serve(loader, code), {"image": texts(png(RGB)), "x": np.ones(1, np.float32)})
    assert np.asarray(PIL.Image.open(BytesIO(answer["output"][0]))).tolist() == (RGB * 2).tolist()


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_streams_and_ragged_batches_have_them_as_well(loader: Any, kind: str) -> None:
    stream = f"""
class Model:
    {kind} __call__(self, prompt: Text) -> {"Iterator" if kind == "def" else "AsyncIterator"}[Text]:
        for word in prompt.split():
            yield word
"""
    instance = serve(loader, stream)
    assert [each["output"].tolist() for each in execute(instance, {"prompt": texts("a b")})] == [
        [b"a"],
        [b"b"],
    ]
    with pytest.raises(InvalidArgumentError, match="input 'prompt': it is not UTF-8"):
        execute(instance, {"prompt": texts(b"\xff")})
    ragged = f"""
class Model:
    inputs = {{"text": Text, "x": ("INT64", [-1])}}
    outputs = {{"back": Text}}
    max_batch_size = 4
    ragged = True

    {kind} __call__(self, inputs, requests):
        assert len(inputs) == len(requests)
        return [{{"back": [text + str(len(each["x"][0])) for text in each["text"]]}} for each in inputs]
"""
    members = [
        {"text": texts(*rows, rows=True), "x": np.zeros((len(rows), length), np.int64)}
        for rows, length in (([b"a"], 2), ([b"b", b"\xff"], 1), ([b"c", b"d"], 3))
    ]
    answers = execute(serve(loader, ragged), members, requests_of([1, 2, 2]))
    assert [answers[0]["back"].tolist(), answers[2]["back"].tolist()] == [[[b"a2"]], [[b"c3"], [b"d3"]]]
    assert str(answers[1]).startswith("input 'text', row 1: it is not UTF-8")
    alone = execute(serve(loader, ragged), members[1:2], requests_of([2]))
    assert str(alone[0]).startswith("input 'text', row 1: it is not UTF-8")


# --- what is wrong ----------------------------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that says that it is so large."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


WRONG_IMAGES: list[tuple[bytes, str]] = [
    (b"", "it is empty, expected a JPEG or PNG image"),
    (b"GIF89a" + bytes(20), "it is neither JPEG nor PNG: it begins with b'GIF89a\\x00"),
    (b"iVBORw0KGgoAAAA", '; if it is base64, say so in the parameters of the input, "content_type": "base64"'),
    (b"/9j/4AAQSkZJRg", "if it is base64"),
    (png(RGB)[:40], "it cannot be decoded as PNG: "),
    (png(RGB)[:-30], "it cannot be decoded as PNG: "),
    (jpeg(np.zeros((64, 64, 3), np.uint8))[:-300], "it cannot be decoded as JPEG: "),
    (b"\xff\xd8\xff" + bytes(100), "it cannot be decoded as JPEG: "),
    (b"\x89PNG\r\n\x1a\n" + bytes(100), "it cannot be decoded as PNG: "),
    (png_of(0, 0), "it cannot be decoded as PNG: "),
    (png_of(100_000, 100_000), "an image of 100000 x 100000 has 10000000000 pixels, and this model takes up to 50000000"),
    (png_of(2**31 - 1, 2**31 - 1), "pixels, and this model takes up to"),
    (png_of(4, 4, bytes(3)), "it cannot be decoded as PNG: "),
]  # fmt: skip


@pytest.mark.parametrize(("data", "text"), WRONG_IMAGES)
def test_what_is_no_image(loader: Any, data: bytes, text: str) -> None:
    instance = echo(loader, "Image", ONE)
    with pytest.raises(InvalidArgumentError) as caught:
        execute(instance, {"given": texts(data)})
    assert caught.value.message.startswith("input 'given': ")
    assert text in caught.value.message
    assert " object at 0x" not in caught.value.message
    assert json.loads(execute(instance, {"given": texts(png(RGB))})["kind"][0])[1] == [2, 3, 3]


def test_nothing_of_a_bomb_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_: object) -> None:
        raise AssertionError("it is decoded")

    monkeypatch.setattr(eager_images, "_rgb", decode)
    big = np.zeros((100, 101, 3), np.uint8)
    for data in (png(big), jpeg(big)):
        with pytest.raises(InvalidArgumentError, match="an image of 101 x 100 has 10100 pixels"):
            eager_images.decode_image(data, 10_099)


def test_pillow_s_own_limit_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one for the process, and for a handler's own use of Pillow."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1)
    for data in (png(RGB), jpeg(RGB)):
        assert eager_images.decode_image(data, 6).shape == (2, 3, 3)


def test_the_configuration_says_how_many_pixels(loader: Any) -> None:
    text = 'parameters { key: "max_image_pixels" value { string_value: "%s" } }'
    small = echo(loader, "Image", ONE, text % 6)
    assert json.loads(execute(small, {"given": texts(png(RGB))})["kind"][0])[1] == [2, 3, 3]
    with pytest.raises(
        InvalidArgumentError, match="this model takes up to 6; its parameter max_image_pixels says so"
    ):
        execute(small, {"given": texts(png(np.zeros((7, 1, 3), np.uint8)))})
    for wrong in ("0", "-1", "many", "1e6", ""):
        with pytest.raises(ConfigurationError, match=r"parameters\['max_image_pixels'\]: expected"):
            echo(loader, "Image", ONE, text % wrong)


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("Text", b"\xff\xfe", "it is not UTF-8: 'utf-8' codec can't decode byte 0xff in position 0"),
        ("Json", b"\xff\xfe", "it is not UTF-8: "),
        ("Json", b"", "it is no JSON: Expecting value: line 1 column 1 (char 0); it is b''"),
        ("Json", b"{'a': 1}", "it is no JSON: Expecting property name enclosed in double quotes"),
        ("Json", b"1 2", "it is no JSON: Extra data"),
        ("Json", b"x" * 100, "it is b'" + "x" * 60 + "'..."),
        ("Json", b"[" * 200_000, "its JSON is nested too deeply"),
    ],
)
def test_what_is_no_text(loader: Any, kind: str, data: bytes, text: str) -> None:
    instance = echo(loader, kind, ONE)
    with pytest.raises(InvalidArgumentError) as caught:
        execute(instance, {"given": texts(data)})
    assert caught.value.message.startswith("input 'given': ")
    assert text in caught.value.message
    assert execute(instance, {"given": texts('"right"')})["back"].tolist() == [b'"right"']


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_one_that_is_wrong_fails_its_request_alone(loader: Any, kind: str) -> None:
    code = f"""
class Out(TypedDict):
    back: list[Text]
    together: Annotated[np.ndarray, INT64(1)]

class Model:
    max_batch_size = 8

    {kind} __call__(self, text: list[Text], x: Annotated[np.ndarray, INT64(2)], requests: Sequence[Request]) -> Out:
        assert len(text) == len(x) == sum(request.rows for request in requests)
        return {{
            "back": [f"{{each}}{{row[0]}}" for each, row in zip(text, x)],
            "together": np.full((len(x), 1), len(x)),
        }}
"""
    instance = serve(loader, code)
    x = np.repeat(np.arange(6)[:, None], 2, axis=1)
    given = {"text": texts("a", "b", b"\xff", "d", b"\xff", "f", rows=True), "x": x}
    answers = execute(instance, given, requests_of([1, 2, 1, 1, 1]))
    assert [each["back"].tolist() for each in (answers[0], answers[2], answers[4])] == [
        [[b"a0"]],
        [[b"d3"]],
        [[b"f5"]],
    ]
    assert [each["together"].item() for each in (answers[0], answers[2], answers[4])] == [3, 3, 3]
    # A row is that of its request, which has one or several.
    assert str(answers[1]).startswith("input 'text', row 1: it is not UTF-8")
    assert str(answers[3]).startswith("input 'text': it is not UTF-8")
    none = execute(instance, {"text": texts(b"\xff", b"\xff", rows=True), "x": x[:2]}, requests_of([1, 1]))
    assert [type(each).__name__ for each in none] == ["UndecodableError"] * 2
    with pytest.raises(InvalidArgumentError, match="input 'text', row 0: it is not UTF-8"):
        execute(instance, {"text": texts(b"\xff", "b", rows=True), "x": x[:2]}, requests_of([2]))
    assert execute(instance, {"text": texts("a", rows=True), "x": x[:1]}, requests_of([1]))[
        "back"
    ].tolist() == [[b"a0"]]


def test_a_list_and_errors_of_both_kinds_in_one_batch(loader: Any) -> None:
    code = """
class Out(TypedDict):
    back: list[Text]

class Model:
    max_batch_size = 8

    def __call__(self, text: list[Text], requests: Sequence[Request]) -> list[Out | Exception]:
        return [ValueError("no") if each == "b" else {"back": [each]} for each in text]
"""
    answers = execute(
        serve(loader, code), {"text": texts("a", b"\xff", "b", rows=True)}, requests_of([1, 1, 1])
    )
    assert answers[0]["back"].tolist() == [[b"a"]]
    assert [type(each).__name__ for each in answers[1:]] == ["UndecodableError", "ValueError"]


@pytest.mark.parametrize(
    ("kind", "returned", "text"),
    [
        ("Text", "1", "output 'output': expected str, got int"),
        ("Text", "b'a'", "output 'output': expected str, got bytes"),
        ("Text", "chr(0xd800)", "output 'output': it cannot be written in UTF-8"),
        ("Text", "None", "output 'output': expected str, got NoneType"),
        ("Json", "object()", "output 'output': it has no form in JSON: object is neither a dict"),
        ("Json", "float('nan')", "output 'output': it has no form in JSON: Out of range float values"),
        ("Json", "{'a': np.array([np.inf])}", "output 'output': it has no form in JSON: Out of range"),
        ("Json", "{(1, 2): 3}", "output 'output': it has no form in JSON: keys must be str"),
        (
            "Image",
            "np.zeros((2, 2, 3))",
            "expected an image, an array of UINT8 of shape [height, width, 3], ",
        ),
        ("Image", "np.zeros((2, 2, 5), np.uint8)", "got uint8 of shape [2, 2, 5]"),
        ("Image", "np.zeros((0, 2, 3), np.uint8)", "got uint8 of shape [0, 2, 3]"),
        ("Image", "None", "got object of shape []"),
        ("list[Text]", "'ab'", "output 'output': expected a list, of any length, got str"),
        ("list[Text]", "['a', 2]", "output 'output', row 1: expected str, got int"),
        ("list[Json]", "{'a': 1}", "output 'output': expected a list, of any length, got dict"),
    ],
)
def test_what_cannot_be_encoded_is_the_handler_s_mistake(
    loader: Any, kind: str, returned: str, text: str
) -> None:
    code = f"class Model:\n    def __call__(self, x: Text) -> {kind}:\n        return {returned}\n"
    with pytest.raises(InternalError) as caught:
        execute(serve(loader, code), {"x": texts("a")})
    assert text in caught.value.message


def test_a_row_for_each_row_and_as_a_list(loader: Any) -> None:
    code = "class Model:\n    max_batch_size = 4\n    def __call__(self, x: list[Text]) -> list[Text]:\n        return {}\n"
    with pytest.raises(InternalError, match="output 'output': expected a list, one for each row, got str"):
        execute(serve(loader, code.format("'a'")), {"x": texts("a", rows=True)})


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("np.float32(0.5)", b"0.5"),
        ("{'a': np.arange(3), 'b': [np.int64(1)]}", b'{"a": [0, 1, 2], "b": [1]}'),
        ("'ŝ'", '"ŝ"'.encode()),
        ("chr(0xd800)", b'"\\ud800"'),
    ],
)
def test_json_takes_numpy_s_values_and_half_characters(loader: Any, returned: str, expected: bytes) -> None:
    code = f"class Model:\n    def __call__(self, x: Json) -> Json:\n        return {returned}\n"
    assert execute(serve(loader, code), {"x": texts("1")})["output"].tolist() == [expected]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3), (2, 3, 4)])
def test_images_go_as_png(shape: Sequence[int]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    # Not contiguous, as slices of a batch may be.
    data = eager_images.encode_image(np.flip(np.flip(array, 0).copy(), 0), "x")
    assert (
        np.asarray(PIL.Image.open(BytesIO(data))).tolist()
        == array.reshape(shape[:2] if shape[-1] == 1 else shape).tolist()
    )


# --- what does not fit together --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "config", "text"),
    [
        (
            "class Model:\n    max_batch_size = 8\n    def __call__(self, image: Image) -> Json:\n        return 1\n",
            "",
            "'image' is Image in model.py, which is one, but max_batch_size is 8: write list[Image], with one for each row, "
            "or max_batch_size = 0",
        ),
        (
            "class Model:\n    def __call__(self, x: list[Text]) -> Text:\n        return 1\n",
            "max_batch_size: 4",
            "'output' is Text in model.py, which is one, but max_batch_size is 4",
        ),
        (
            "class Model:\n    def __call__(self, x: Text) -> Text:\n        return 1\n",
            'input { name: "x" data_type: TYPE_FP32 }',
            "input[0].data_type: 'x' is TYPE_STRING in model.py, the configuration says TYPE_FP32",
        ),
        (
            "class Model:\n    def __call__(self, x: Text) -> Text:\n        return 1\n",
            'input { name: "x" dims: [ 2 ] }',
            "input[0].dims: 'x' has dims [1] in model.py, the configuration says [2]",
        ),
        (
            "class Model:\n    max_batch_size = 4\n    def __call__(self, x: list[Text]) -> list[Text]:\n        return 1\n",
            "sequence_batching { direct { } }",
            "inputs that are texts, JSON or images, as in model.py, need its strategy 'oldest'",
        ),
        (
            "class Model:\n    def __call__(self, x: Text) -> Text:\n        return 1\n",
            'parameters { key: "content_types" value { string_value: "{}" } }',
            "parameters['content_types']: model.py says",
        ),
        (
            "class Model:\n    inputs = {'x': ('BYTES', [1])}\n    outputs = {'y': ('BYTES', [1])}\n"
            "    def __call__(self, inputs):\n        return {'y': inputs['x']}\n",
            'parameters { key: "content_types" value { string_value: "x" } }',
            "parameters['content_types']: model.py says {}, the configuration says x; leave it out",
        ),
    ],
)  # fmt: skip
def test_contradictions_name_both(loader: Any, code: str, config: str, text: str) -> None:
    assert text in failure(loader, code, config)


@pytest.mark.parametrize(
    ("size", "several", "shape", "text"),
    [
        (0, False, (2,), r"input 'x' has shape \[2\], expected one element$"),
        (0, False, (0,), r"input 'x' has shape \[0\], expected one element$"),
        (4, True, (1, 2), r"input 'x' has shape \[1, 2\], expected one element in each row$"),
        (4, True, (2, 0), r"input 'x' has shape \[2, 0\], expected one element in each row$"),
    ],
)
def test_shapes_that_a_configuration_may_let_through(
    size: int, several: bool, shape: tuple[int, ...], text: str
) -> None:
    declared = Declared("x", ContentType("text"), several=several)
    contents = Contents([declared], [], ModelConfig(max_batch_size=size))
    with pytest.raises(InvalidArgumentError, match=text):
        contents.decode({"x": np.full(shape, b"a", object)})


def test_without_pillow_there_are_no_images_but_texts(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager_images, "find_spec", lambda name: None)
    code = "class Model:\n    def __call__(self, x: {0}) -> {0}:\n        return x\n"
    message = failure(loader, code.format("Image"))
    assert message == "images need Pillow, which is not installed: pip install pillow"
    assert execute(serve(loader, code.format("Text")), {"x": texts("a")})["output"].tolist() == [b"a"]


def test_a_configuration_that_the_server_does_not_complete_is_checked_at_load(loader: Any) -> None:
    code = TOP + "class Model:\n    def __call__(self, x: Text) -> Text:\n        return x\n"
    source = loader.source({"model.py": code})
    text = """input { name: "x" data_type: TYPE_FP32 dims: 1 } output { name: "output" data_type: TYPE_STRING dims: 1 }"""
    config = loader.config(EagerBackend(), source, text)
    with pytest.raises(
        InvalidArgumentError, match=r"'x' is Text in model.py, which is TYPE_STRING in the configuration"
    ):
        EagerBackend().load(source, config)


def test_an_input_that_may_be_left_out(loader: Any) -> None:
    code = """
class Model:
    max_batch_size = 4

    def __call__(self, x: list[Text], prefix: list[Text] | None = None) -> list[Text]:
        return [first + each for first, each in zip(prefix or ["no "] * len(x), x)]
"""
    instance = serve(loader, code)
    assert execute(instance, {"x": texts("a", rows=True)}, requests_of([1]))["output"].tolist() == [[b"no a"]]
    both = {"x": texts("a", rows=True), "prefix": texts("b", rows=True)}
    assert execute(instance, both, requests_of([1]))["output"].tolist() == [[b"ba"]]


def test_the_request_s_own_tensors_stay_as_they_are(loader: Any) -> None:
    given = {"given": texts("a", rows=True)}
    given["given"].flags.writeable = False
    request = InferRequest("m", given, rows=1, checked=True)
    execute(echo(loader, "Text", ROWS), given, [request])
    assert given["given"].tolist() == [[b"a"]]
