"""What becomes of a model's mistakes: what its client gets, and that the next good request is answered."""

import json
import queue
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.conftest import RunningServer, StartServer, WriteModel
from tests.integration.grpc_requests import SERVICE, Channel
from tests.integration.support import wait_until
from tests.triton.conftest import isolated
from tests.triton.lab import CONFIG, DECOUPLED, LAB

FAILED = "Failed to process the request(s) for model 'lab_0', message: "
GOOD = "return [answer()]"

# What the model does, the status, and the error or the text that it answers with.
ANSWERS = {
    "one answer": (GOOD, 200, "done"),
    "an exception": ("raise ValueError('boom')", 500, FAILED + "ValueError: boom"),
    "an exit": ("raise SystemExit(3)", 500, FAILED + "SystemExit: 3"),
    "an exception without a text": ("raise KeyboardInterrupt", 500, FAILED + "KeyboardInterrupt"),
    "the exception of the backend": ("raise pb_utils.TritonModelException('own')", 500, FAILED + "TritonModelException: own"),
    "an error that is raised": (
        "raise pb_utils.TritonError('no exception')", 500, FAILED + "TypeError: exceptions must derive from BaseException"
    ),
    "nothing": ("return None", 500, FAILED + "execute has returned None for a request"),
    "nothing in the list": ("return [None]", 500, FAILED + "execute has returned None for a request"),
    "too few": (
        "return []", 500,
        FAILED + "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
        "InferenceRequest(s) size is:1, and InferenceResponse(s) size is:0",
    ),
    "too many": (
        "return [answer(), answer()]", 500,
        FAILED + "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
        "InferenceRequest(s) size is:1, and InferenceResponse(s) size is:2",
    ),
    "a tuple": ("return (answer(),)", 500, FAILED + "Expected a list in the execute return, found type '<class 'tuple'>'."),
    "a text": ("return 'answer'", 500, FAILED + "Expected a list in the execute return, found type '<class 'str'>'."),
    "no response in the list": (
        "return ['answer']", 500,
        FAILED + "Expected an 'InferenceResponse' object in the execute function return list, found type '<class 'str'>'.",
    ),
    "an error": ("return [pb_utils.InferenceResponse(error=pb_utils.TritonError('told'))]", 500, "told"),
    "an error without a text": (
        "return [pb_utils.InferenceResponse(error=pb_utils.TritonError(''))]", 500,
        FAILED + "an error without a text (INTERNAL) (request_id=lab-id in the server's log)"
    ),
    "an error of blanks": (
        "return [pb_utils.InferenceResponse(error=pb_utils.TritonError(' \\n', pb_utils.TritonError.NOT_FOUND))]", 404,
        FAILED + "an error without a text (NOT_FOUND)"
    ),
    "an error with tensors": ("return [answer(error=pb_utils.TritonError('told'))]", 500, "told"),
    "an output twice": (
        "return [pb_utils.InferenceResponse([tensor('OUT', 1), tensor('OUT', 2)])]", 500,
        FAILED + "the response has more than one output 'OUT'",
    ),
    "an output too few": (
        "return [pb_utils.InferenceResponse([tensor('OUT', 1)])]", 500, "model 'lab' gave no output 'NUMBER', got ['OUT']"
    ),
    "an output that is not declared": (
        "response = answer()\nresponse.output_tensors().append(tensor('MORE', 1))\nreturn [response]", 200, "done"
    ),
    "another datatype": (
        "return [pb_utils.InferenceResponse([tensor('OUT', 1), pb_utils.Tensor('NUMBER', np.ones(1))])]", 500,
        "output 'NUMBER' of model 'lab' has data-type FP64, but the model's configuration says INT32",
    ),
    "another shape": (
        "return [pb_utils.InferenceResponse([tensor('OUT', 1), pb_utils.Tensor('NUMBER', np.ones(2, np.int32))])]", 500,
        "output 'NUMBER' of model 'lab' has shape [2], but the model's configuration says [1]",
    ),
    "a sender": ("request.get_response_sender().send(answer('sent'), flags=FINAL)", 200, "sent"),
    "a sender without the final flag": ("request.get_response_sender().send(answer('sent'))", 200, "sent"),
    "a sender and then the flag": (
        "sender = request.get_response_sender()\nsender.send(answer('sent'))\nsender.send(flags=FINAL)", 200, "sent"
    ),
    "a sender, and nothing in the list": (
        "request.get_response_sender().send(answer('sent'), flags=FINAL)\nreturn [None]", 200, "sent"
    ),
    "a sender and an answer": (
        "request.get_response_sender().send(answer('sent'), flags=FINAL)\nreturn [answer('returned')]", 200, "sent"
    ),
    "a sender and an exception": (
        "request.get_response_sender().send(answer('sent'), flags=FINAL)\nraise ValueError('later')", 200, "sent"
    ),
    "a sender that is lost": (
        "request.get_response_sender()", 500, FAILED + "the model has dropped the request without an answer"
    ),
    "a sender on another thread": (
        "sender = request.get_response_sender()\n"
        "threading.Timer(0.05, lambda: sender.send(answer('later'), flags=FINAL)).start()",
        200, "later",
    ),
    "a sender with an error": (
        "request.get_response_sender().send(pb_utils.InferenceResponse(error=pb_utils.TritonError('told', "
        "pb_utils.TritonError.NOT_FOUND)), flags=FINAL)",
        404, "told",
    ),
    "a sender twice": (
        "sender = request.get_response_sender()\nsender.send(answer('first'))\n"
        "self.kept = [attempt(lambda: sender.send(answer('second')))]",
        200, "first",
    ),
    "what came of that": (
        "return [answer(self.kept[0])]", 200,
        "TritonModelException: Unable to send response. Non-decoupled model cannot send more than one response.",
    ),
    "a request whose sender is not used": ("request.get_response_sender()\nreturn [answer()]", 200, "done"),
}  # fmt: skip

CODES = {
    "UNKNOWN": 400,
    "INTERNAL": 500,
    "NOT_FOUND": 404,
    "INVALID_ARG": 400,
    "UNAVAILABLE": 503,
    "UNSUPPORTED": 501,
    "ALREADY_EXISTS": 409,
    "CANCELLED": 499,
}

# What is tried, and what comes of it.
ATTEMPTS = {
    "request.get_response_sender().send(flags=FINAL)":
        "TritonModelException: Unable to send response. Non-decoupled model cannot send complete final before sending a response.",
    "request.get_response_sender().send()":
        "TritonModelException: Inference Response object must be provided when the response flags is set to zero.",
    "request.get_response_sender().send(answer(), flags=2)":
        "TritonModelException: Unable to send response. Unsupported flag provided.",
    "request.get_response_sender().send('text')": "TypeError: send: expected an InferenceResponse, got str",
    "request.get_response_sender().is_cancelled()": "False",
    "request.is_cancelled()": "False",
    "request.request_id()": "'lab-id'",
    "request.correlation_id(), request.flags(), request.timeout()": "(0, 0, 0)",
    "json.loads(request.parameters())": "{'one': 1}",
    "request.requested_output_names() == {'OUT', 'NUMBER'}, type(request.requested_output_names())": "(True, <class 'set'>)",
    "[tensor.name() for tensor in request.inputs()]": "['CODE']",
    "request.trace().get_context()": "None",
    "request.set_release_flags(3)":
        "TritonModelException: Unable to set request release flags. Unsupported flag: 3",
    "request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL)": "None",
    "isinstance(request, pb_utils.InferenceRequest)": "True",
    "pb_utils.get_input_tensor_by_name(request, 'NO')": "None",
    "pb_utils.get_input_tensor_by_name(request, 'CODE').as_numpy().flags.writeable": "True",
    "pb_utils.get_model_dir().endswith('/lab/1')": "True",
    "sorted(self.args)":
        "['model_config', 'model_instance_device_id', 'model_instance_kind', 'model_instance_name', 'model_name', "
        "'model_repository', 'model_version']",
    "set(map(type, self.args.values()))": "{<class 'str'>}",
    "self.args['model_instance_name'], self.args['model_instance_kind'], self.args['model_instance_device_id']":
        "('lab_0', 'CPU', '0')",
    "self.args['model_name'], self.args['model_version']": "('lab', '1')",
    "pb_utils.Logger.log(3)": "TypeError: Logger: expected a string, got int",
    "pb_utils.Logger.log('x', 1)": "TypeError: Logger: expected a level such as Logger.INFO, got 1",
    "pb_utils.Logger.log_warn('lab warns')": "None",
    "pb_utils.Logger.log('lab says', pb_utils.Logger.ERROR)": "None",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    write_model: WriteModel,
    isolation: str,
    serve: StartServer,
) -> RunningServer:
    root = tmp_path_factory.mktemp("lab")
    isolated(write_model(root, "lab", LAB, CONFIG), isolation)
    isolated(write_model(root, "labd", LAB, CONFIG + DECOUPLED), isolation)
    batching = (
        CONFIG
        + "max_batch_size: 8\ndynamic_batching { preferred_batch_size: [ 3 ] max_queue_delay_microseconds: 60000000 }"
    )
    isolated(write_model(root, "labs", LAB, batching), isolation)
    return serve(root)


def run(server: RunningServer, code: str, model: str = "lab", **body: Any) -> tuple[int, str]:
    """The status, and the text or the error, that the lab answers with."""
    tensor = {"name": "CODE", "datatype": "BYTES", "shape": [1], "data": [code]}
    answer = server.infer(model, {"id": "lab-id", "parameters": {"one": 1}, "inputs": [tensor], **body})
    document = answer.json()
    if answer.status_code != 200:
        return answer.status_code, document["error"]
    return 200, next(each["data"][0] for each in document["outputs"] if each["name"] == "OUT")


@pytest.mark.parametrize("case", ANSWERS)
def test_what_a_model_answers(server: RunningServer, case: str) -> None:
    code, status, text = ANSWERS[case]
    got = run(server, code)
    assert got[0] == status, got
    assert got[1].startswith(text)
    assert run(server, GOOD) == (200, "done")


@pytest.mark.parametrize("code", CODES)
def test_codes_of_errors(server: RunningServer, code: str) -> None:
    work = f"return [pb_utils.InferenceResponse(error=pb_utils.TritonError('told', pb_utils.TritonError.{code}))]"
    assert run(server, work) == (CODES[code], "told")


@pytest.mark.parametrize("call", ATTEMPTS)
def test_what_is_tried(server: RunningServer, call: str) -> None:
    assert run(server, f"return [answer(attempt(lambda: ({call})))]") == (200, ATTEMPTS[call])


def test_the_configuration_that_a_model_is_told_is_the_one_that_clients_get(server: RunningServer) -> None:
    _, text = run(server, "return [answer(self.args['model_config'])]")
    assert json.loads(text) == server.get("/v2/models/lab/config").json()


def test_modules_that_are_not_the_model_s_work_for_it(server: RunningServer) -> None:
    code = """
import types
installed = types.ModuleType("installed")
exec("import triton_python_backend_utils as utils\\ndef where(): return utils.get_model_dir()", vars(installed))
return [answer([installed.where().rpartition("/")[2], installed.utils.Tensor is pb_utils.Tensor])]
"""
    assert run(server, code) == (200, "['1', True]")


def test_outputs_that_nobody_asks_for_may_be_missing(server: RunningServer) -> None:
    code = "return [pb_utils.InferenceResponse([tensor('OUT', request.requested_output_names())])]"
    assert run(server, code, outputs=[{"name": "OUT"}]) == (200, "{'OUT'}")
    status, text = run(server, code, outputs=[{"name": "OUT"}, {"name": "NUMBER"}])
    assert (status, text) == (500, "model 'lab' gave no output 'NUMBER', got ['OUT']")


def test_the_log_has_what_clients_do_not_get(server: RunningServer) -> None:
    _, text = run(server, "raise ValueError('for the log')")
    assert "Traceback" not in text
    wait_until(lambda: "ValueError: for the log" in server.log and "in execute" in server.log)
    run(server, "pb_utils.Logger.log_error('the model says so')\nreturn [answer()]")
    wait_until(lambda: "ERROR kserve_v2.model.lab the model says so" in server.log)


def batch(server: RunningServer, *codes: str) -> list[Any]:
    """The outcomes of requests that are one batch, whose first one says what is done."""
    answers: list[queue.Queue[Any]] = []
    with grpcclient.InferenceServerClient(server.grpc) as connection:
        for number, code in enumerate(codes):
            tensor = grpcclient.InferInput("CODE", [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[code.encode()]], np.object_))
            answered: queue.Queue[Any] = queue.Queue()
            connection.async_infer(
                "labs",
                [tensor],
                callback=lambda result, error, to=answered: to.put(error or result),
                request_id=str(number),
            )
            answers.append(answered)
        outcomes = [answered.get(timeout=60) for answered in answers]
    return [
        each.message() if isinstance(each, InferenceServerException) else each.as_numpy("OUT")[0, 0].decode()
        for each in outcomes
    ]


ROWS = """
def row(text):
    out = np.array([[text]], np.object_)
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out), pb_utils.Tensor("NUMBER", np.ones((1, 1), np.int32))])
"""


def test_an_error_in_a_batch_is_that_request_s(server: RunningServer) -> None:
    code = (
        ROWS + "error = pb_utils.InferenceResponse(error=pb_utils.TritonError('only this'))\n"
        "ids = [each.request_id() for each in requests]\n"
        "return [error if number == '1' else row(f'{len(ids)} {number}') for number in ids]"
    )
    assert batch(server, code, code, code) == ["3 0", "only this", "3 2"]


def test_a_wrong_answer_in_a_batch_is_that_request_s(server: RunningServer) -> None:
    code = (
        ROWS + "wrong = pb_utils.InferenceResponse([])\nids = [each.request_id() for each in requests]\n"
        "return [wrong if number == '1' else row(f'{len(ids)} {number}') for number in ids]"
    )
    first, second, third = batch(server, code, code, code)
    assert (first, third) == ("3 0", "3 2")
    assert "gave no output" in second


def test_an_exception_in_a_batch_is_not_the_others(server: RunningServer) -> None:
    """In Triton all of them fail; here each is executed again."""
    code = ROWS + "return [row('alone')]\n"
    bad = "raise ValueError('boom')"
    first, second, third = batch(server, bad, code, code)
    assert "ValueError: boom" in first
    assert (second, third) == ("alone", "alone")


# --- decoupled ----------------------------------------------------------------------------------------------------

SENT = "sender = request.get_response_sender()\n"

# What the model does, and what its client gets: texts of responses and of errors, "final" for the flag alone.
STREAMS = {
    "no response": ("sender.send(flags=FINAL)", ["final"]),
    "two responses": ("sender.send(answer(1))\nsender.send(answer(2))\nsender.send(flags=FINAL)", ["1", "2", "final"]),
    "the last one with the flag": ("sender.send(answer(1))\nsender.send(answer(2), flags=FINAL)", ["1", "2!"]),
    "an error in the middle": (
        "sender.send(answer(1))\nsender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError('bad')))\n"
        "sender.send(answer(3))\nsender.send(flags=FINAL)",
        ["1", "error bad", "3", "final"],
    ),
    "an error at the end": (
        "sender.send(answer(1))\n"
        "sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError('bad')), flags=FINAL)",
        ["1", "error! bad"],
    ),
    "an exception": (
        "sender.send(answer(1))\nraise ValueError('boom')",
        ["1", "error! Failed to process the request(s) for model 'labd_0', message: ValueError: boom"],
    ),
    "an exception behind the last response": ("sender.send(answer(1), flags=FINAL)\nraise ValueError('boom')", ["1!"]),
    "an answer that is returned": (
        "return [answer()]",
        ["error! Failed to process the request(s) for model 'labd_0', message: Python model 'labd_0' is using the "
         "decoupled mode and the execute function must return None."],
    ),
    "a response behind the flag": (
        "sender.send(flags=FINAL)\nself.kept = [attempt(lambda: sender.send(answer()))]", ["final"]
    ),
    "what came of that": (
        "sender.send(answer(self.kept[0]), flags=FINAL)",
        ["TritonModelException: Unable to send response. Response sender has been closed.!"],
    ),
    "a sender that is lost": (
        "pass", ["error! Failed to process the request(s) for model 'labd_0', message: the model has dropped the request"]
    ),
    "a sender that is lost later": ("sender.send(answer(1))", ["1", "final"]),
    "a wrong response": (
        "sender.send(pb_utils.InferenceResponse([pb_utils.Tensor('NUMBER', np.ones(1))]))",
        ["error! output 'NUMBER' of model 'labd' has data-type FP64, but the model's configuration says INT32"],
    ),
    "an output twice": (
        "sender.send(pb_utils.InferenceResponse([tensor('OUT', 1), tensor('OUT', 2)]))\nsender.send(answer(3), FINAL)",
        ["error Failed to process the request(s) for model 'labd_0', message: the response has more than one output 'OUT'",
         "3!"],
    ),
    "some of the outputs": (
        "sender.send(pb_utils.InferenceResponse([pb_utils.Tensor('NUMBER', np.ones(1, np.int32))]), FINAL)", ["None!"]
    ),
    "a thread": (
        "def work():\n    for number in range(40):\n        sender.send(answer(number))\n    sender.send(flags=FINAL)\n"
        "threading.Thread(target=work).start()",
        [*map(str, range(40)), "final"],
    ),
}  # fmt: skip


def stream(server: RunningServer, code: str, model: str = "labd", **metadata: str) -> list[str]:
    """What a client gets until it is told that no more comes: texts; with "!", the last response."""
    length = len(code.encode()).to_bytes(4, "little")
    request = pb.ModelInferRequest(
        model_name=model,
        id="7",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="CODE", datatype="BYTES", shape=[1])],
        raw_input_contents=[length + code.encode()],
    )
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    with Channel(server) as channel:
        call = channel.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        return [
            _told(message) for message in call(iter([request]), timeout=60, metadata=list(metadata.items()))
        ]


def _told(message: pb.ModelStreamInferResponse) -> str:
    response = message.infer_response
    assert response.id == "7"
    final = "!" * response.parameters["triton_final_response"].bool_param
    if message.error_message:
        return f"error{final} {message.error_message}"
    if not response.outputs:
        return "final" if final else "nothing"
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if output.name == "OUT":
            return raw[4:].decode() + final
    return f"None{final}"


@pytest.mark.parametrize("case", STREAMS)
def test_what_a_decoupled_model_answers(server: RunningServer, case: str) -> None:
    code, expected = STREAMS[case]
    got = stream(server, SENT + code)
    assert len(got) == len(expected), got
    assert all(map(str.startswith, got, expected)), got
    assert stream(server, SENT + "sender.send(answer(1), flags=FINAL)") == ["1!"]


def test_a_lost_sender_is_in_the_log(server: RunningServer) -> None:
    stream(server, SENT + "sender.send(answer(1))")
    wait_until(
        lambda: "the response sender of request '7' is gone and has not sent the final flag" in server.log
    )


def test_responses_of_several_threads(server: RunningServer) -> None:
    """What was sent before the final flag is not lost, however full it is."""
    code = SENT + (
        "def work(number):\n    for step in range(30):\n        sender.send(answer(f'{number} {step}'))\n"
        "threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]\n"
        "[thread.start() for thread in threads]\n[thread.join() for thread in threads]\nsender.send(flags=FINAL)"
    )
    *texts, last = stream(server, code)
    assert last == "final"
    for number in range(4):
        assert [text for text in texts if text.startswith(str(number))] == [
            f"{number} {step}" for step in range(30)
        ]
    assert len(texts) == 120


def test_the_first_error_ends_the_stream_of_a_client_that_wants_it(server: RunningServer) -> None:
    code = (
        SENT
        + "sender.send(answer(1))\nsender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError('bad', "
        "pb_utils.TritonError.NOT_FOUND)))\nsender.send(answer(3), flags=FINAL)"
    )
    with pytest.raises(grpc.RpcError) as caught:
        stream(server, code, triton_grpc_error="true")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "bad")


def test_errors_among_events(server: RunningServer) -> None:
    code = SENT + STREAMS["an error in the middle"][0]
    answer = server.post("/v2/models/labd/generate_stream", json={"CODE": code})
    assert answer.status_code == 200
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    assert [event.get("OUT") or event["error"] for event in events] == ["1", "bad", "3"]


def test_a_single_error_of_a_decoupled_model(server: RunningServer) -> None:
    code = SENT + (
        "sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError('bad', pb_utils.TritonError.NOT_FOUND)), FINAL)"
    )
    answer = server.post("/v2/models/labd/generate", json={"CODE": code})
    assert (answer.status_code, answer.json()) == (404, {"error": "bad"})


def test_a_client_that_leaves(server: RunningServer) -> None:
    """The model is told, its responses are dropped, and it can go on."""
    code = (
        SENT
        + "self.kept = []\ndef work():\n    while not sender.is_cancelled():\n        sender.send(answer('x'))\n"
        "    sender.send(flags=FINAL)\n    self.kept.append(request.is_cancelled())\n"
        "threading.Thread(target=work, daemon=True).start()"
    )
    with server.client.stream(
        "POST", server.rest + "/v2/models/labd/generate_stream", json={"CODE": code}
    ) as answer:
        next(answer.iter_lines())
    wait_until(lambda: stream(server, SENT + "sender.send(answer(self.kept), flags=FINAL)") == ["[True]!"])
