"""What handlers get of a request, and what becomes of what they answer; known answers observed on TorchServe 0.12."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kserve_v2_child import host
from kserve_v2_child.answers import ModelError
from kserve_v2_child.torchserve.instances import PartsInstance
from kserve_v2_child.torchserve.packing import Field, pack, unpack
from kserve_v2_child.torchserve.rows import rows_of

from kserve_v2 import errors
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.torchserve.rows import Answer, Failure, Row, answer_of, failure_of, request_of
from tests.torchserve.support import Handler, archive, loaded

SEEN = """
import json

class Seen:
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        answers = []
        for index, row in enumerate(data):
            shown = {name: [type(value).__name__, value.decode("latin-1") if isinstance(value, bytearray) else value]
                     for name, value in row.items()}
            answers.append({"row": shown, "headers": context.get_all_request_header(index),
                            "id": context.get_request_id(index), "rows": len(data)})
        return answers
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handler]:
    with loaded(archive(tmp_path_factory.mktemp("seen"), "seen", handler__py=SEEN)) as handler:
        yield handler


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (Field("body", b"\xff\x00"), ["bytearray", "\xff\x00"]),
        (Field("body", b""), ["bytearray", ""]),
        (Field("body", b"x", "application/octet-stream"), ["bytearray", "x"]),
        (Field("body", b'{"a": [1]}', "application/json"), ["dict", {"a": [1]}]),
        (Field("body", b'{"a": 1}', "Application/JSON; charset=utf-8"), ["dict", {"a": 1}]),
        (Field("body", b"[1, 2]", "application/json"), ["list", [1, 2]]),
        (Field("body", b"[1, 2]", "application/jsonlines"), ["bytearray", "[1, 2]"]),
        (Field("body", b"[1, 2]", "text"), ["str", "[1, 2]"]),
        (Field("body", b"{broken", "application/json"), ["bytearray", "{broken"]),
        (Field("body", "é".encode(), "text/plain"), ["str", "é"]),
        (Field("body", b"\xff", "text/plain"), ["bytearray", "\xff"]),
        (Field("body", b"a=1", "application/x-www-form-urlencoded"), ["bytearray", "a=1"]),
        (Field("data", b"x", None), ["bytearray", "x"]),
    ],
)
def test_a_field_is_what_its_content_type_says(seen: Handler, field: Field, expected: Any) -> None:
    (answer,) = seen.json([field])
    assert answer["row"] == {field.name: expected}
    assert answer["headers"] == {field.name: {"content-type": field.content_type or ""}}


def test_a_row_has_all_fields_of_a_form(seen: Handler) -> None:
    fields = [Field("a", b"1"), Field("b", b"{}", "application/json"), Field("a", b"2")]
    (answer,) = seen.json(fields, headers={"X-User": "u", "url_path": "v1"})
    assert answer["row"] == {"a": ["bytearray", "2"], "b": ["dict", {}]}
    assert answer["headers"]["X-User"] == "u"
    assert answer["headers"]["url_path"] == "v1"
    assert answer["id"] == "id-0"


def test_what_has_no_name_in_a_form_leaves_an_empty_row(seen: Handler) -> None:
    element, packed = pack([], {}, "i", decode=True)
    assert (element, packed["fields"]) == (b"", [])
    (answer,) = seen.json([Field("a", b"")])
    assert answer["row"] == {"a": ["bytearray", ""]}


def test_requests_of_a_batch_are_rows_in_their_order(seen: Handler) -> None:
    answers = seen.json(b"a", b"b", b"c")
    assert [each["row"]["body"][1] for each in answers] == ["a", "b", "c"]
    assert [each["id"] for each in answers] == ["id-0", "id-1", "id-2"]
    assert [each["rows"] for each in answers] == [3, 3, 3]


def test_fields_of_another_length_are_refused() -> None:
    element, packed = pack([Field("a", b"12"), Field("b", b"3")], {}, "i", decode=True)
    assert [bytes(each.value) for each in unpack(element, packed["fields"])] == [b"12", b"3"]
    with pytest.raises(ValueError, match="3 bytes"):
        unpack(element + b"4", packed["fields"])


ANSWERS = """
import numpy as np
from ts.utils.util import PredictionException

RESULTS = {
    "dict": {"é": 1}, "list": [1, "a"], "int": 5, "bool": True, "none": None, "nan": float("nan"),
    "str": "plain é", "bytes": b"\\xff\\x00", "bytearray": bytearray(b"ab"), "numpy": np.arange(3), "set": {1},
}

def handle(data, context):
    if data is None:
        return None
    names = [bytes(row["body"]).decode() for row in data]
    if names[0] == "status":
        context.set_response_status(418, "teapot", 0)
        context.set_response_content_type(0, "text/x-tea")
        context.set_response_header(0, "X-Tea", "green")
        return ["tea"]
    if names[0] == "refuse":
        raise PredictionException("not this one", 404)
    if names[0] == "raise":
        raise KeyError("boom")
    if names[0] == "memory":
        raise MemoryError("no room")
    if names[0] == "cuda":
        raise RuntimeError("CUDA error: out of memory")
    if names[0] == "tuple":
        return tuple(names)
    if names[0] == "short":
        return []
    return [RESULTS[name] for name in names]
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handler]:
    with loaded(archive(tmp_path_factory.mktemp("answers"), "answers", handler__py=ANSWERS)) as handler:
        yield handler


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("dict", b'{\n  "\\u00e9": 1\n}', "application/json"),
        ("list", b'[\n  1,\n  "a"\n]', "application/json"),
        ("int", b"5", "application/json"),
        ("bool", b"true", "application/json"),
        ("none", b"null", "application/json"),
        ("nan", b"NaN", "application/json"),
        ("str", "plain é".encode(), ""),
        ("bytes", b"\xff\x00", ""),
        ("bytearray", b"ab", ""),
    ],
)
def test_a_result_is_written_as_torchserve_writes_it(
    answers: Handler, name: str, body: bytes, kind: str
) -> None:
    ((found, told),) = answers.ask(name.encode())
    assert (found, told.get("content_type", "")) == (body, kind)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("numpy", 503, "Unsupported model output data type."),
        ("set", 503, "Unsupported model output data type."),
        ("tuple", 503, "Invalid model predict output"),
        ("short", 503, "number of batch response mismatched"),
        ("raise", 503, "Prediction failed"),
        ("memory", 507, "Out of resources"),
        ("cuda", 507, "Out of resources"),
    ],
)
def test_what_is_no_answer_is_an_error_of_torchserve(
    answers: Handler, name: str, code: int, message: str
) -> None:
    with pytest.raises(Exception) as raised:
        answers.ask(name.encode())
    error = raised.value
    kinds = {"INTERNAL": errors.InternalError, "RESOURCE_EXHAUSTED": errors.ResourceExhaustedError}
    told = (
        kinds[error.code](error.message)
        if isinstance(error, ModelError)
        else errors.InternalError(str(error))
    )
    assert failure_of(told) == Failure(code, "InternalServerException", message)


def test_what_a_handler_says_of_its_answer_goes_beside_it(answers: Handler) -> None:
    ((body, told),) = answers.ask(b"status")
    array = np.array([[body]], object)
    assert answer_of(InferResponse("m", "1", "", {"prediction": array}, told)) == Answer(
        b"tea", "text/x-tea", 418, "teapot", (("X-Tea", "green"),)
    )
    ((_, after),) = answers.ask(b"int")
    assert "status" not in after


def test_a_refusal_is_told_with_its_status(answers: Handler) -> None:
    ((body, told),) = answers.ask(b"refuse")
    array = np.array([[body]], object)
    found = answer_of(InferResponse("m", "1", "", {"prediction": array}, told))
    assert found == Failure(404, "InternalServerException", "not this one")


def test_a_refusal_of_a_batch_is_none_of_each_of_its_requests(answers: Handler) -> None:
    with pytest.raises(ModelError, match="not this one") as raised:
        answers.ask(b"refuse", b"int")
    assert raised.value.code == "NOT_FOUND"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            errors.UnfinishedError("the process of model 'm' exited"),
            (500, "InternalServerException", "Worker died."),
        ),
        (errors.NotFoundError("x"), (404, "ModelNotFoundException", "Model not found: m")),
        (errors.DeadlineExceededError("late"), (408, "RequestTimeoutException", "late")),
        (errors.InvalidArgumentError("x"), (503, "InternalServerException", "Prediction failed")),
    ],
)
def test_errors_of_the_server_have_their_bodies(
    error: errors.ServingError, expected: tuple[int, str, str]
) -> None:
    assert failure_of(error, "m") == Failure(*expected)


@pytest.mark.parametrize("error", [errors.UnavailableError("x"), errors.OverloadedError("x")])
def test_a_model_that_cannot_take_more_has_no_worker(error: errors.ServingError) -> None:
    found = failure_of(error, "m")
    assert (found.code, found.type) == (503, "ServiceUnavailableException")
    assert found.message.startswith('Model "m" has no worker to serve inference request.')


def test_a_request_is_of_one_row_and_marked_as_packed() -> None:
    row = Row([Field("a", b"1", "text/plain")], [("X", "1"), ("X", "2")], "rest", explain=True, id="u")
    request = request_of(row, "m", "2")
    assert isinstance(request, InferRequest)
    assert request.inputs["body"].tolist() == [[b"1"]]
    assert json.loads(json.dumps(request.packed)) == {
        "fields": [["a", "text/plain", 1]],
        "headers": {"X": "2", "url_path": "rest", "explain": "True"},
        "id": "u",
    }


def test_rows_with_an_answer_of_their_own_kind_are_handled_alone(tmp_path: Path) -> None:
    code = """
def handle(data, context):
    return None if data is None else [f"{len(data)} {context.get_request_header(0, 'explain')}" for _ in data]
"""
    with loaded(archive(tmp_path, "alone", handler__py=code)) as handler:
        assert [body for body, _ in handler.ask(b"a", b"b", headers={"explain": "True"})] == [
            b"1 True",
            b"1 True",
        ]
        assert [body for body, _ in handler.ask(b"a", b"b")] == [b"2 None", b"2 None"]


def plain(*elements: bytes, **parameters: Any) -> Any:
    """A request of the v2 protocol."""
    array = np.empty((len(elements), 1), np.object_)
    array[:, 0] = elements
    return host.Request("m", {"body": array}, parameters=parameters)


MOODY = """
from ts.handler_utils.utils import send_intermediate_predict_response
from ts.utils.util import PredictionException

def handle(data, context):
    if data is None:
        return None
    words = [bytes(row["body"]) for row in data]
    if b"refuse" in words:
        raise PredictionException("not this", 404)
    if b"raise" in words:
        raise ValueError("bad")
    if b"swapped" in words:
        ids = {0: context.request_ids[1], 1: context.request_ids[0]}
        send_intermediate_predict_response(["for 1 ", "for 0 "], ids, "Intermediate", 200, context)
    if b"late" in words:
        send_intermediate_predict_response(["wrong"], {0: "of another batch"}, "Intermediate", 200, context)
    return [f"{word.decode()} {context.get_request_header(0, 'explain')}" for word in words]
"""


@pytest.mark.parametrize("bad", [b"refuse", b"raise"])
def test_a_request_that_fails_beside_one_that_is_handled_alone_takes_none_with_it(
    tmp_path: Path, bad: bytes
) -> None:
    with loaded(archive(tmp_path, "moody", handler__py=MOODY)) as handler:
        requests = [plain(b"a"), plain(b"x", b"y", explain="True"), plain(bad), plain(b"b", b"c")]
        outcomes: Any = handler.instance.execute([each.inputs for each in requests], requests)
    assert isinstance(outcomes.pop(2), Exception)
    assert [each["prediction"].ravel().tolist() for each in outcomes] == [
        [b"a None"], [b"x True", b"y True"], [b"b None", b"c None"],
    ]  # fmt: skip


async def _parts(handler: Handler, *requests: Any) -> list[Any]:
    """What comes for each request of a batch, in one text, or the error that ends it."""
    instance = PartsInstance(handler.worker, "moody")

    async def all_of(stream: Any) -> Any:
        try:
            return b"".join([each.outputs["prediction"].item() async for each in stream])
        except Exception as error:  # noqa: BLE001 - it is what is asked for
            return type(error)

    try:
        streams = instance.streams_async([each.inputs for each in requests], requests)
        return await asyncio.gather(*map(all_of, streams))
    finally:
        instance.close()


def test_of_streams_too_only_the_one_that_fails_does(tmp_path: Path) -> None:
    with loaded(archive(tmp_path, "moody", handler__py=MOODY)) as handler:
        for bad, kind in ((b"refuse", ModelError), (b"raise", ValueError)):
            found = asyncio.run(_parts(handler, plain(b"a"), plain(bad), plain(b"b")))
            assert found == [b"a None", kind, b"b None"]


def test_a_part_goes_to_the_request_that_its_id_names(tmp_path: Path) -> None:
    with loaded(archive(tmp_path, "moody", handler__py=MOODY)) as handler:
        assert asyncio.run(_parts(handler, plain(b"swapped"), plain(b"b"))) == [
            b"for 0 swapped None", b"for 1 b None",
        ]  # fmt: skip
        # What a thread of an earlier batch still sends is for nobody of this one.
        assert asyncio.run(_parts(handler, plain(b"late"))) == [RuntimeError]


def test_rows_of_the_v2_protocol_have_ids_of_their_own() -> None:
    """Handlers keep what belongs to a request by its id."""
    requests = [plain(b"a"), plain(b"b"), plain(b"c", b"d")]
    requests[2].id = "mine"
    rows = rows_of(requests, [each.inputs for each in requests])
    assert len({row.id for row in rows}) == 4
    assert [row.id for row in rows[2:]] == ["mine-0", "mine-1"]
    requests[0].id = "its own"
    assert rows_of(requests[:1], [requests[0].inputs])[0].id == "its own"
