"""What is under way in a version that is replaced finishes there, within a limit; then it ends with an error."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from kserve_v2._generated import grpc_service_pb2 as pb
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.grpc_requests import Channel
from tests.integration.sequence_models import accumulator, batching, grpc_step, read
from tests.integration.support import wait_until
from tests.integration.test_infer_streams import Stream

pytestmark = pytest.mark.slow

OVER = "was replaced or unloaded, and the 1 s in which it finishes what it has begun are over"

# Answers for as long as somebody listens, and then says so.
ENDLESS = """
import time

class Model:
    inputs = {{"IN": ("INT32", [1])}}
    outputs = {{"VERSION": ("INT32", [1])}}

    def __call__(self, inputs):
        while True:
            yield {{"VERSION": [{number}]}}
            time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def impatient(start_explicit: StartExplicit) -> ExplicitServer:
    return start_explicit("--drain-timeout-secs=1")


@pytest.fixture
def channel(impatient: ExplicitServer) -> Iterator[Channel]:
    with Channel(impatient.server) as made:
        yield made


def state(server: ExplicitServer, name: str) -> list[tuple[str, str]]:
    return [(entry["version"], entry["state"]) for entry in server.index(name)]


def test_a_stream_that_does_not_end_gets_an_error_and_its_version_goes(impatient: ExplicitServer) -> None:
    request = pb.ModelInferRequest(model_name="endless")
    request.inputs.add(name="IN", datatype="INT32", shape=[1])
    request.raw_input_contents.append(np.array([1], np.int32).tobytes())
    impatient.write("endless", ENDLESS.format(number=1))
    assert impatient.load("endless").status_code == 200
    with Stream(impatient.server) as stream:
        stream.send(request)
        first = next(stream.answers)
        assert not first.error_message
        impatient.write("endless", ENDLESS.format(number=2) + "#")
        assert impatient.load("endless").status_code == 200
        # Until then it goes on where it has begun.
        numbers = set()
        for answer in stream.answers:
            if answer.error_message:
                break
            numbers.add(int(np.frombuffer(answer.infer_response.raw_output_contents[0], np.int32)[0]))
        assert numbers == {1}
        assert answer.error_message == f"version 1 of model 'endless' {OVER}"
        stream.send(request)
        for answer in stream.answers:
            if len(answer.infer_response.raw_output_contents):
                break
        assert np.frombuffer(answer.infer_response.raw_output_contents[0], np.int32)[0] == 2
    wait_until(lambda: "unloaded: endless version 1" in impatient.server.log)
    impatient.unload("endless")
    wait_until(lambda: state(impatient, "endless") == [("1", "UNAVAILABLE")])


def test_a_sequence_that_does_not_end_is_told_why_it_has(impatient: ExplicitServer, channel: Channel) -> None:
    config = batching("oldest { max_candidate_sequences: 4 }", extra="")
    impatient.write("m", accumulator(1), config)
    assert impatient.load("m").status_code == 200
    assert read(channel.infer(grpc_step("m", 7, 1, "+")))[0] == 1
    impatient.write("m", accumulator(22), config)
    assert impatient.load("m").status_code == 200
    assert read(channel.infer(grpc_step("m", 8, 5, "+")))[1]["version"] == 22
    wait_until(lambda: "unloaded: m version 1" in impatient.server.log)
    code, text = channel.infer_fails(grpc_step("m", 7, 3))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "must specify the START flag" in text
    assert text.endswith(f": version 1 of model 'm' {OVER}")
    # An id that was never there is told nothing of that.
    assert OVER not in channel.infer_fails(grpc_step("m", 9, 3))[1]
    assert read(channel.infer(grpc_step("m", 8, 5, ".")))[0] == 10
    # It may begin anew.
    assert read(channel.infer(grpc_step("m", 7, 4, "+.")))[0] == 4
