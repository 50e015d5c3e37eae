"""Models that call other models, and what they get of whatever those do."""

from typing import Any

import pytest

from tests.conftest import RunningServer, StartServer, WriteModel
from tests.triton.conftest import isolated
from tests.triton.lab import CONFIG, DECOUPLED, LAB
from tests.triton.test_lab import SENT

# What it can see of its request.
ECHO = """
import json
class Model:
    inputs = {"CODE": ("BYTES", [1])}
    outputs = {"OUT": ("BYTES", [1])}
    def __call__(self, inputs, requests):
        request = requests[0]
        seen = [request.id, request.parameters, request.control]
        request.response_parameters["half"] = 0.5
        return {"OUT": [json.dumps(seen)]}
"""

FAILING = """
from kserve_v2 import errors
class Model:
    inputs = {"CODE": ("BYTES", [1])}
    outputs = {"OUT": ("BYTES", [1])}
    def __call__(self, inputs):
        raise getattr(errors, inputs["CODE"][0].decode())("so it failed")
"""

SEQUENCE = """
class Model:
    inputs = {"CODE": ("BYTES", [1])}
    outputs = {"OUT": ("BYTES", [1])}
    max_batch_size = 4
    def __call__(self, inputs):
        return {"OUT": [[f"{start[0]} {end[0]} {number[0]}"] for start, end, number in zip(
            inputs["START"], inputs["END"], inputs["ID"])]}
"""

SEQUENCE_CONFIG = """
sequence_batching {
  control_input [
    { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } },
    { name: "END" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } },
    { name: "ID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
  ]
}
"""

# For the model that calls: `call` makes a request whose callee does what `code` says, `said` tells what a response is.
CALLS = """
def call(name, code, **options):
    given = {"requested_output_names": [], "inputs": [tensor("CODE", code)], **options}
    return pb_utils.InferenceRequest(model_name=name, **given)

def said(response):
    if response.has_error():
        return f"{response.error().code().name} {response.error().message()}"
    texts = [text.decode() for each in response.output_tensors() if each.name() == "OUT"
             for text in each.as_numpy().ravel()]
    return texts[0] if texts else ("empty" if not response.output_tensors() else "no text")
"""


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    write_model: WriteModel,
    isolation: str,
    serve: StartServer,
) -> RunningServer:
    root = tmp_path_factory.mktemp("bls")
    for name in ("lab", "other"):
        isolated(write_model(root, name, LAB + CALLS, CONFIG), isolation)
    isolated(write_model(root, "labd", LAB + CALLS, CONFIG + DECOUPLED), isolation)
    asynchronous = LAB.replace("    def execute", "    async def execute").replace(
        'f"def run(', 'f"async def run('
    )
    asynchronous = asynchronous.replace("return space[", "return await space[")
    isolated(write_model(root, "laba", asynchronous + CALLS, CONFIG), isolation)
    write_model(root, "echo", ECHO)
    write_model(root, "failing", FAILING)
    write_model(root, "sequence", SEQUENCE, SEQUENCE_CONFIG)
    return serve(root)


def run(server: RunningServer, code: str, model: str = "lab", **body: Any) -> str:
    """What the lab makes of some code: the text that it has answered with, or its error."""
    tensor = {"name": "CODE", "datatype": "BYTES", "shape": [1], "data": [code]}
    answer = server.infer(model, {"inputs": [tensor], **body})
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.json()['error']}"
    return next(each["data"][0] for each in answer.json()["outputs"] if each["name"] == "OUT")


def one(server: RunningServer, call: str, **body: Any) -> str:
    """What a call comes to."""
    return run(server, f"return [answer(said({call}.exec()))]", **body)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("InvalidArgumentError", "INVALID_ARG"),
        ("NotFoundError", "NOT_FOUND"),
        ("AlreadyExistsError", "ALREADY_EXISTS"),
        ("UnavailableError", "UNAVAILABLE"),
        ("OverloadedError", "UNAVAILABLE"),
        ("UnsupportedError", "UNSUPPORTED"),
        ("RequestCancelledError", "CANCELLED"),
        ("UnknownError", "UNKNOWN"),
        ("InternalError", "INTERNAL"),
    ],
)
def test_codes_are_kept(server: RunningServer, kind: str, code: str) -> None:
    """In Triton they are all INTERNAL."""
    assert one(server, f"call('failing', '{kind}')") == f"{code} so it failed"


def test_codes_of_triton_errors_are_kept(server: RunningServer) -> None:
    for name in ("UNKNOWN", "INTERNAL", "NOT_FOUND", "UNAVAILABLE"):
        code = f"return [pb_utils.InferenceResponse(error=pb_utils.TritonError('so', pb_utils.TritonError.{name}))]"
        assert one(server, f"call('other', {code!r})") == f"{name} so"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("call('nosuch', '')", "NOT_FOUND Model nosuch - Error when running inference: Failed for execute the inference "
         "request. Model 'nosuch' is not ready."),
        ("call('echo', '', model_version=7)", "NOT_FOUND Model echo - Error when running inference: "),
        ("call('echo', '', requested_output_names=['NO'])", "INVALID_ARG Model echo - Error when running inference: "
         "unexpected inference output 'NO' for model 'echo'"),
        ("call('echo', '', inputs=[])", "INVALID_ARG Model echo - Error when running inference: "),
        ("call('labd', '')", "UNSUPPORTED Model labd - Error when running inference: Model labd is using the decoupled. "
         "The current BLS request call doesn't support models using the decoupled transaction policy. Please use "
         "'decoupled=True' argument to the 'exec' or 'async_exec' calls for decoupled models.'"),
        ("call('lab', '')", "INTERNAL Model lab - Error when running inference: it would wait for itself"),
        ("call('other', \"raise ValueError('boom')\")",
         "INTERNAL Failed to process the request(s) for model 'other_0', message: ValueError: boom"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered(server: RunningServer, call: str, expected: str) -> None:
    assert one(server, call).startswith(expected)


def test_what_the_other_model_sees(server: RunningServer) -> None:
    call = "call('echo', '', request_id='inner', parameters={'a': 1, 'b': True, 'c': 'x'}, timeout=9000000)"
    assert one(server, call) == '["inner", {"a": 1, "b": true, "c": "x"}, {"timeout": 9000000}]'
    assert one(server, "call('echo', '', model_version=1)", parameters={"mine": 1}) == '["", {}, {}]'


def test_parameters_of_a_response(server: RunningServer) -> None:
    assert run(server, "return [answer(call('echo', '').exec().parameters())]") == '{"half": 0.5}'


def test_sequences(server: RunningServer) -> None:
    code = """
start, end = pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START, pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
inputs = [pb_utils.Tensor("CODE", np.array([["x"]], np.object_))]
steps = [call("sequence", "", inputs=inputs, correlation_id=7, flags=flags) for flags in (start, 0, end)]
return [answer([said(step.exec()) for step in steps])]
"""
    assert run(server, code) == "['1 0 7', '0 0 7', '0 1 7']"


def test_inputs_are_as_they_were(server: RunningServer) -> None:
    code = """
mine = np.array(["return [answer(request.inputs()[0].as_numpy().fill(b'') or 'wrote')]"], np.object_)
inputs = [pb_utils.Tensor("CODE", mine)]
response = call("other", "", inputs=inputs).exec()
tensors = response.output_tensors()
tensors[0].as_numpy()[0] = b"mine"
return [answer([said(response), mine[0][:6]])]
"""
    assert run(server, code) == "['mine', 'return']"


def test_threads_of_a_model(server: RunningServer) -> None:
    code = """
told = []
threads = [threading.Thread(target=lambda: told.append(said(call("echo", "").exec()))) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
return [answer(len(told))]
"""
    assert run(server, code) == "4"


# --- decoupled ------------------------------------------------------------------------------------------------------


def responses(server: RunningServer, code: str, name: str = "labd") -> str:
    """What a call of a decoupled model comes to."""
    return run(
        server, f"return [answer([said(each) for each in call({name!r}, {code!r}).exec(decoupled=True)])]"
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sender.send(flags=FINAL)", ["empty"]),
        ("sender.send(answer(1))\nsender.send(flags=FINAL)", ["1", "empty"]),
        ("sender.send(answer(1))\nsender.send(answer(2), flags=FINAL)", ["1", "2"]),
        # In Triton the error in the middle is lost.
        (
            "sender.send(answer(1))\n"
            "sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError('bad', pb_utils.TritonError.NOT_FOUND)))\n"
            "sender.send(answer(3))\nsender.send(flags=FINAL)",
            ["1", "NOT_FOUND bad", "3", "empty"],
        ),
        ("sender.send(answer(1))\nraise ValueError('boom')",
         ["1", "INTERNAL Failed to process the request(s) for model 'labd_0', message: ValueError: boom"]),
    ],
)  # fmt: skip
def test_responses_of_a_decoupled_model(server: RunningServer, code: str, expected: list[str]) -> None:
    told = responses(server, SENT + code)
    if "boom" in code:
        assert "ValueError: boom" in told
    else:
        assert told == str(expected)


def test_an_ordinary_model_called_as_a_decoupled_one(server: RunningServer) -> None:
    assert responses(server, "return [answer('once')]", "other") == "['once']"
    assert "NOT_FOUND Model nosuch - Error when running inference: " in responses(server, "x", "nosuch")


def test_responses_can_be_iterated_again(server: RunningServer) -> None:
    code = SENT + "sender.send(answer(1))\nsender.send(answer(2), flags=FINAL)"
    work = (
        f"responses = call('labd', {code!r}).exec(decoupled=True)\n"
        "return [answer([[said(each) for each in responses] for _ in range(2)])]"
    )
    assert run(server, work) == "[['1', '2'], ['1', '2']]"


def test_a_call_that_is_cancelled(server: RunningServer) -> None:
    code = SENT + (
        "def work():\n    while not sender.is_cancelled():\n        sender.send(answer('x'))\n    sender.send(flags=FINAL)\n"
        "threading.Thread(target=work, daemon=True).start()"
    )
    work = (
        f"responses = call('labd', {code!r}).exec(decoupled=True)\nfirst = said(next(responses))\nresponses.cancel()\n"
        "return [answer([first, len(list(responses))])]"
    )
    first, _, rest = run(server, work).strip("[]").partition(", ")
    assert first == "'x'"
    assert int(rest) <= 1


# --- async ----------------------------------------------------------------------------------------------------------


def test_calls_at_the_same_time(server: RunningServer) -> None:
    code = """
import asyncio
calls = [call("echo", "").async_exec(), call("failing", "NotFoundError").async_exec()]
return [answer([said(each) for each in await asyncio.gather(*calls)])]
"""
    assert run(server, code, "laba") == "['[\"\", {}, {}]', 'NOT_FOUND so it failed']"


def test_async_calls_of_a_decoupled_model(server: RunningServer) -> None:
    code = SENT + "sender.send(answer(1))\nsender.send(answer(2), flags=FINAL)"
    work = f"""
import asyncio
streams = await asyncio.gather(*[call("labd", {code!r}).async_exec(decoupled=True) for _ in range(3)])
return [answer([[said(each) for each in responses] for responses in streams])]
"""
    assert run(server, work, "laba") == "[['1', '2'], ['1', '2'], ['1', '2']]"


def test_a_blocking_call_in_an_async_execute(server: RunningServer) -> None:
    assert run(server, "return [answer(said(call('echo', '').exec()))]", "laba") == '["", {}, {}]'


def test_an_async_call_without_a_loop(server: RunningServer) -> None:
    told = run(server, "return [answer(attempt(lambda: call('echo', '').async_exec()))]")
    assert told == "RuntimeError: no running event loop"


def test_a_decoupled_model_that_calls(server: RunningServer) -> None:
    code = (
        "sender = request.get_response_sender()\n"
        "def work():\n    sender.send(answer(said(call('echo', '').exec())), flags=FINAL)\n"
        "threading.Thread(target=work).start()"
    )
    assert responses(server, code) == "['[\"\", {}, {}]']"
