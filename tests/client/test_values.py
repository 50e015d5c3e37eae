"""Values of Python to arrays: exactly, or not at all."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kserve_v2.client import InvalidArgumentError, images
from kserve_v2.client.call import Call, make_call, make_request
from kserve_v2.client.description import ModelInfo, TensorInfo
from kserve_v2.tensors.datatypes import BY_NAME
from kserve_v2.tensors.values import to_array
from tests.integration.support import same


def array_of(value: Any, datatype: str = "") -> Any:
    return to_array(value, BY_NAME[datatype] if datatype else None, "x")


def bytes_of(*elements: bytes) -> Any:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


@pytest.mark.parametrize(
    ("value", "datatype", "expected"),
    [
        ([1, 2.5], "FP32", np.array([1, 2.5], np.float32)),
        ([[1, 2], [3, 4]], "INT64", np.array([[1, 2], [3, 4]])),
        ((1, 2), "UINT8", np.array([1, 2], np.uint8)),
        (7, "INT32", np.array(7, np.int32)),
        (True, "INT8", np.array(1, np.int8)),
        ([0, 1], "BOOL", np.array([False, True])),
        ([2**63, 1], "UINT64", np.array([2**63, 1], np.uint64)),
        ([2**63 - 1, -(2**63)], "INT64", np.array([2**63 - 1, -(2**63)])),
        ([2**53 + 1, -1], "INT64", np.array([2**53 + 1, -1])),
        ([2**70, 1.5], "FP64", np.array([2.0**70, 1.5])),
        ([], "INT32", np.array([], np.int32)),
        ([[], []], "FP32", np.zeros((2, 0), np.float32)),
        (np.float64(0.1), "FP32", np.array(0.1, np.float32)),
        (np.array([1, 2], np.uint8), "FP32", np.array([1, 2], np.float32)),
        (np.array([True]), "FP32", np.array([1], np.float32)),
        (np.array([np.inf, -np.inf, np.nan]), "FP16", np.array([np.inf, -np.inf, np.nan], np.float16)),
        (np.array([1, -1], ">i4"), "INT64", np.array([1, -1])),
        (torch.tensor([1.5, 2.5], requires_grad=True), "FP32", np.array([1.5, 2.5], np.float32)),
        ([torch.tensor([1, 2]), torch.tensor([3, 4])], "INT32", np.array([[1, 2], [3, 4]], np.int32)),
        (torch.arange(6).reshape(2, 3).T, "INT64", np.arange(6).reshape(2, 3).T),
        (torch.tensor([1.5, -2]).to(torch.bfloat16), "FP32", np.array([1.5, -2], np.float32)),
        (torch.tensor([1.5]).to(torch.bfloat16), "BF16", np.array([1.5]).astype(BY_NAME["BF16"].dtype)),
        (torch.tensor([1j]).conj().imag, "FP32", np.array([-1], np.float32)),
        (memoryview(b"\x01\x02"), "UINT8", None),
        ("text", "BYTES", np.array(b"text", np.object_)),
        ([b"a\0", "ü", bytearray(b"b"), np.str_("c"), np.bytes_(b"d")], "BYTES",
         bytes_of(b"a\0", "ü".encode(), b"b", b"c", b"d")),
        (np.array(["a", "bc"]), "BYTES", bytes_of(b"a", b"bc")),
        (np.array([b"a", b"bc"]), "BYTES", bytes_of(b"a", b"bc")),
        (np.array(["a", b"\xff"], np.object_), "BYTES", bytes_of(b"a", b"\xff")),
        ([np.array(["a"]), np.array(["b"])], "BYTES", bytes_of(b"a", b"b").reshape(2, 1)),
        ([], "BYTES", bytes_of()),
        # Where nobody says what is wanted:
        ([1, 2], "", np.array([1, 2])),
        ([1, 2.5], "", np.array([1, 2.5])),
        ([True], "", np.array([True])),
        (["a", "b"], "", bytes_of(b"a", b"b")),
        (np.array(["a"]), "", bytes_of(b"a")),
        (np.array([1], np.uint16), "", np.array([1], np.uint16)),
        (np.array([1], ">f4"), "", np.array([1], np.float32)),
    ],
)  # fmt: skip
def test_what_becomes_of_a_value(value: Any, datatype: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(InvalidArgumentError):
            array_of(value, datatype)
    else:
        assert same(np.ascontiguousarray(array_of(value, datatype)), np.ascontiguousarray(expected))


@pytest.mark.parametrize(
    ("value", "datatype", "problem"),
    [
        (1.5, "INT32", "input 'x' takes INT32, got 1.5 (float)"),
        ([1.0, 2.0], "INT32", "input 'x' takes INT32, got 1.0 (float)"),
        (np.array([1.0]), "INT32",
         "input 'x' takes INT32, got values of float64; round them yourself if that is meant"),
        ([300], "UINT8", "input 'x' takes UINT8, in which 300 has no place"),
        ([-1], "UINT64", "input 'x' takes UINT64, in which -1 has no place"),
        ([2**64], "UINT64", f"input 'x' takes UINT64, in which {2**64} has no place"),
        ([2], "BOOL", "input 'x' takes BOOL, in which 2 has no place"),
        ([0.5], "BOOL", "input 'x' takes BOOL, got values of float64; round them yourself if that is meant"),
        (1e39, "FP32", "input 'x' takes FP32, in which 1e+39 has no place"),
        (10**400, "FP64", f"input 'x' takes FP64, in which {10**400} has no place"),
        ([65536, 1], "FP16", "input 'x' takes FP16, in which 65536 has no place"),
        ("1", "FP32", "input 'x' takes FP32, got '1' (str)"),
        ([1, "2"], "FP32", "input 'x' takes FP32, got values of <U21"),
        ([None], "FP32", "input 'x' takes FP32, got None (NoneType)"),
        (None, "FP32", "input 'x': a NoneType is no tensor"),
        ({"a": 1}, "FP32", "input 'x': a dict is no tensor"),
        (Path("a"), "BYTES",
         "input 'x': a PosixPath is no tensor; give what is in the file, as path.read_bytes() has it"),
        ([[1], [1, 2]], "FP32", "input 'x': the lists in it have different lengths, which no tensor has"),
        ([["a"], ["a", "b"]], "BYTES", "input 'x': the lists in it have different lengths, which no tensor has"),
        ([1, 2], "BYTES", "input 'x' takes BYTES, which are str or bytes, got 1 (int)"),
        (np.array([1]), "BYTES", "input 'x' takes BYTES, which are str or bytes, got 1 (int)"),
        ([None], "BYTES", "input 'x' takes BYTES, which are str or bytes, got None (NoneType)"),
        ("\ud800", "BYTES", "input 'x': the text '\\ud800' has no form in UTF-8; give bytes"),
        (1j, "FP32", "input 'x' takes FP32, got values of complex128"),
        (np.array(["2020"], "M8[s]"), "INT64", "input 'x' takes INT64, got values of datetime64[s]"),
        (1j, "", "input 'x': the protocol has no datatype for values of complex128"),
        (torch.eye(2).to_sparse(), "FP32",
         "a tensor of torch of layout torch.sparse_coo: give tensor.to_dense()"),
    ],
)  # fmt: skip
def test_what_is_refused(value: Any, datatype: str, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        array_of(value, datatype)
    assert error.value.message == problem


# --- the batch dimension -----------------------------------------------------------------------------------------


def request_to(shape: tuple[int, ...], value: Any, batched: bool | None, datatype: str = "FP32") -> Any:
    info = ModelInfo("m", {"x": TensorInfo("x", datatype, shape)}, {}, batched)
    request, one_row = make_request(Call("m", {"x": value}), info)
    return request.inputs["x"].shape, one_row


@pytest.mark.parametrize(
    ("shape", "batched", "value", "sent", "one_row"),
    [
        ((-1, 4), True, np.zeros(4), (1, 4), True),
        ((-1, 4), True, np.zeros((1, 4)), (1, 4), False),
        ((-1, 4), True, np.zeros((3, 4)), (3, 4), False),
        ((-1, 4), True, np.zeros((0, 4)), (0, 4), False),
        ((-1, -1), True, np.zeros(4), (1, 4), True),
        ((-1, 1), True, 5, (1, 1), True),
        ((-1, -1), True, 5, (1, 1), True),
        ((-1, 1), True, [5, 6], (2, 1), False),
        ((-1, 1), True, [5], (1, 1), False),
        ((-1, 1), True, [[5]], (1, 1), False),
        ((-1,), True, 5, (1,), True),
        ((-1,), True, [5, 6], (2,), False),
        ((-1, 1, 1), True, [[5]], (1, 1, 1), True),
        ((4,), False, np.zeros(4), (4,), False),
        ((1,), False, 5, (1,), False),
        ((), False, 5, (), False),
        ((-1, 4), None, np.zeros((2, 4)), (2, 4), False),
        ((-1, 1), None, 5, (1, 1), False),
        # One that does not fit:
        ((-1, 4), True, np.zeros(3), None, False),
        ((-1, 4), True, np.zeros((2, 2, 4)), None, False),
        ((-1, 4), True, 5, None, False),
        ((-1, 2, 2), True, np.zeros(4), None, False),
        ((-1, 4), False, np.zeros(4), None, False),
        ((-1, 4), None, np.zeros(4), None, False),
        ((4,), False, np.zeros((1, 4)), None, False),
        ((4,), False, 5, None, False),
    ],
)  # fmt: skip
def test_the_batch_dimension(
    shape: tuple[int, ...], batched: bool | None, value: Any, sent: Any, one_row: bool
) -> None:
    if sent is None:
        with pytest.raises(InvalidArgumentError, match="input 'x' takes shape"):
            request_to(shape, value, batched)
    else:
        assert request_to(shape, value, batched) == (sent, one_row)


def test_a_flat_list_of_one_is_a_row_beside_a_row() -> None:
    info = ModelInfo(
        "m", {"x": TensorInfo("x", "FP32", (-1, 4)), "y": TensorInfo("y", "FP32", (-1, 1))}, {}, True
    )
    for y, one_row in (([5], True), (5, True), ([[5]], False)):
        request, found = make_request(Call("m", {"x": [1, 2, 3, 4], "y": y}), info)
        assert (request.inputs["y"].shape, found) == ((1, 1), one_row)


def test_a_server_that_does_not_say_what_it_takes_gets_what_is_given() -> None:
    call = make_call(
        "m", None, {"x": [[1.5]]}, version=3, outputs=None, classes={"y": 2}, parameters=None, request_id="", sequence=None
    )  # fmt: skip
    request, one_row = make_request(call, ModelInfo("m", {}, {}))
    assert (request.version, request.outputs, request.classes, one_row) == ("3", ("y",), {"y": 2}, False)
    assert same(request.inputs["x"], np.array([[1.5]]))


# --- images ------------------------------------------------------------------------------------------------------

GREY = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
COLOUR = Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))


@pytest.mark.parametrize(
    ("shape", "batched", "image", "sent", "one_row"),
    [
        ((-1, -1, 3), False, COLOUR, (2, 3, 3), False),
        ((2, 3, 3), True, COLOUR, None, False),
        ((-1, -1, -1, 3), True, COLOUR, (1, 2, 3, 3), True),
        ((-1, 3, 2, 3), True, COLOUR, None, False),
        ((-1, 3, -1, -1), True, COLOUR, (1, 3, 2, 3), True),
        ((-1, 3, -1, -1), False, COLOUR, (1, 3, 2, 3), False),
        ((1, -1, -1, 3), None, COLOUR, (1, 2, 3, 3), False),
        ((-1, 1, -1, -1), True, GREY, (1, 1, 2, 3), True),
        ((-1, -1), False, GREY, (2, 3), False),
        ((-1, -1, -1), True, GREY, (1, 2, 3), True),
        ((-1, -1, -1, 1), True, COLOUR, (1, 2, 3, 1), True),
        ((-1, 4, -1, -1), True, COLOUR, (1, 4, 2, 3), True),
        ((-1, -1, -1, 3), True, [COLOUR, COLOUR], (2, 2, 3, 3), False),
        ((-1, -1, -1, -1), True, COLOUR, None, False),
        ((-1, -1, -1), False, COLOUR, None, False),
        ((-1, 8, 8), False, COLOUR, None, False),
        ((-1, 224, 224, 3), True, COLOUR, None, False),
    ],
)
def test_images_as_pixels(
    shape: tuple[int, ...], batched: bool | None, image: Any, sent: Any, one_row: bool
) -> None:
    if sent is None:
        with pytest.raises(InvalidArgumentError):
            request_to(shape, image, batched, "UINT8")
    else:
        assert request_to(shape, image, batched, "UINT8") == (sent, one_row)


def pixels(image: Any, dims: tuple[int, ...], dtype: Any = np.uint8) -> Any:
    return images.as_pixels(image, dims, np.dtype(dtype), "x")


def test_pixels_stand_where_they_belong() -> None:
    colour = np.asarray(COLOUR)
    assert same(pixels(COLOUR, (-1, -1, 3)), colour)
    assert same(
        np.ascontiguousarray(pixels(COLOUR, (3, -1, -1))), np.ascontiguousarray(colour.transpose(2, 0, 1))
    )
    assert pixels(GREY, (-1, -1, 3))[1, 2].tolist() == [5, 5, 5]
    assert pixels(GREY.convert("RGBA"), (-1, -1, 3))[1, 2].tolist() == [5, 5, 5]
    assert (
        pixels(Image.fromarray(np.full((2, 2), 0.5, np.float32)), (2, 2), np.float32).tolist()
        == [[0.5] * 2] * 2
    )
    assert (
        pixels(Image.fromarray(np.full((2, 2), 999, np.uint16)), (2, 2), np.uint16).tolist()
        == [[999] * 2] * 2
    )


@pytest.mark.parametrize(
    ("image", "dims", "dtype", "problem"),
    [
        (GREY, (-1, -1), np.float32,
         "input 'x' takes floating point numbers, and the metadata does not say how pixels are scaled: give an array, as "
         "np.asarray(image, np.float32) / 255 makes one"),
        (GREY, (224, -1), np.uint8,
         "input 'x' takes images of any x 224 pixels (width x height), got 3 x 2: image.resize(...) makes it fit"),
        (GREY, (3, 8, 3), np.uint8,
         "input 'x' takes shape [3,8,3], which does not say where the channels of an image are: give an array"),
        (Image.new("RGBA", (2, 2)), (-1, -1, 3), np.uint8,
         "input 'x' takes 3 channels, and the image is transparent in places: paste it onto a background first"),
        (Image.new("I", (2, 2)), (-1, -1, 3), np.uint8,
         "input 'x' takes 3 channels of 8 bits, got an image of mode I: give an array"),
    ],
)  # fmt: skip
def test_images_that_leave_a_doubt(image: Any, dims: tuple[int, ...], dtype: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        pixels(image, dims, dtype)
    assert error.value.message == problem


def test_images_as_files() -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    COLOUR.save(turned, "JPEG", exif=exif)
    for image in (COLOUR, GREY, COLOUR.convert("P"), Image.open(turned)):
        png = Image.open(io.BytesIO(images.as_png(image, "x")))
        assert (png.format, png.mode, png.size) == ("PNG", image.mode, image.size)
        assert same(np.asarray(png.convert("RGB")), np.asarray(image.convert("RGB")))
        assert 0x0112 not in png.getexif()
    assert request_to((-1, 1), COLOUR, True, "BYTES") == ((1, 1), True)
    assert request_to((-1, 1), [COLOUR, GREY], True, "BYTES") == ((2, 1), False)
    assert request_to((1,), COLOUR, False, "BYTES") == ((1,), False)
    with pytest.raises(InvalidArgumentError, match="a PNG cannot hold an image of mode CMYK"):
        images.as_png(Image.new("CMYK", (1, 1)), "x")
