"""Warm-up: what models execute before they are ready, and that nothing of it is taken for a client's request."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper

from tests.conftest import StartServer, WriteModel
from tests.integration.conftest import ExplicitServer, StartExplicit
from tests.integration.lifecycle_requests import post_load
from tests.integration.support import error_of, json_tensor, statistics, wait_until

# Writes down what it is given: the instance, the shapes, the values, and of what request.
SEEN = """
import json, os

class Model:
    inputs = {"IN": ("FP32", [3]), "TEXT": ("BYTES", [1])}
    outputs = {"OUT": ("FP32", [3])}
    max_batch_size = 4

    def load(self, context):
        self.name = context.placement.name

    BEFORE __call__(self, inputs, requests):
        told = {
            "instance": self.name, "process": os.getpid(), "requests": len(requests),
            "in": inputs["IN"].tolist(), "text": [[text.decode() for text in row] for row in inputs["TEXT"].tolist()],
        }
        with open(PATH, "a") as file:
            file.write(json.dumps(told) + "\\n")
        return {"OUT": inputs["IN"]}
"""

KINDS = {"plain": "def", "async": "async def"}

ZERO = "zero_data: true"


def seen_code(path: Path, kind: str = "plain") -> str:
    return SEEN.replace("PATH", repr(str(path))).replace("BEFORE", KINDS[kind])


def sample(name: str, *inputs: str, batch_size: int = 1, count: int = 1) -> str:
    return f'model_warmup {{ name: "{name}" batch_size: {batch_size} count: {count} {" ".join(inputs)} }}\n'


def tensor(name: str, data_type: str, dims: list[int], data: str) -> str:
    return f'inputs {{ key: "{name}" value {{ data_type: TYPE_{data_type} dims: {dims} {data} }} }}'


def isolation(kind: str) -> str:
    return f'parameters {{ key: "isolation" value {{ string_value: "{kind}" }} }}\n'


def write_onnx(
    explicit: ExplicitServer,
    name: str,
    nodes: list[NodeProto],
    tensors: tuple[list[str], list[str]],
    dims: list[int | str | None],
    opset: int = 17,
) -> Path:
    """An ONNX model of FP32 tensors, inputs and outputs, without a configuration. Returns its directory."""
    inputs, outputs = (
        [helper.make_tensor_value_info(each, TensorProto.FLOAT, dims) for each in names] for names in tensors
    )
    graph = helper.make_graph(nodes, name, inputs, outputs)
    directory = explicit.root / name
    (directory / "1").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, directory / "1" / "model.onnx")
    return directory


IN = tensor("IN", "FP32", [3], ZERO)
TEXT = tensor("TEXT", "STRING", [1], ZERO)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def loaded(explicit: ExplicitServer, name: str) -> None:
    answer = explicit.load(name)
    assert answer.status_code == 200, answer.text


def refused(explicit: ExplicitServer, name: str) -> str:
    answer = explicit.load(name)
    assert answer.status_code == 400
    return error_of(answer)


# --- samples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", ["none", "process"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_instance_executes_every_sample(
    explicit: ExplicitServer, tmp_path: Path, kind: str, isolate: str
) -> None:
    """Zeros, random values and files; `batch_size` requests together, `count` times, in order, and nothing of it in
    the statistics.
    """
    name, path = f"seen_{kind}_{isolate}", tmp_path / "seen"
    files = tensor("IN", "FP32", [3], 'input_data_file: "in.raw"') + tensor(
        "TEXT", "STRING", [1], 'input_data_file: "deep/text.raw"'
    )
    config = (
        isolation(isolate)
        + "instance_group { count: 2 }\n"
        + sample("zeros", IN, TEXT, batch_size=3, count=2)
        + sample("left_out", IN, TEXT, batch_size=0, count=9)
        + sample("random", tensor("IN", "FP32", [3], "random_data: true"), TEXT, count=0)
        + sample("files", files, batch_size=2)
    )
    directory = explicit.write(name, seen_code(path, kind), config)
    (directory / "warmup" / "deep").mkdir(parents=True)
    # A longer file is cut.
    (directory / "warmup" / "in.raw").write_bytes(np.arange(5, dtype=np.float32).tobytes())
    (directory / "warmup" / "deep" / "text.raw").write_bytes(b"\x03\0\0\0abc")
    loaded(explicit, name)
    told = lines(path)
    assert Counter(line["instance"] for line in told) == {f"{name}_0_0": 4, f"{name}_0_1": 4}
    one = [line for line in told if line["instance"] == f"{name}_0_0"]
    assert [line["requests"] for line in one] == [3, 3, 1, 2]
    assert [np.shape(line["in"]) for line in one] == [(3, 3), (3, 3), (1, 3), (2, 3)]
    assert one[0]["in"] == [[0.0] * 3] * 3
    assert one[0]["text"] == [[""]] * 3
    assert len(set(one[2]["in"][0])) == 3
    assert one[3]["in"] == [[0.0, 1.0, 2.0]] * 2
    assert one[3]["text"] == [["abc"]] * 2
    assert (one[0]["process"] == explicit.server.process.pid) is (isolate == "none")
    counted = statistics(explicit.server, name)
    assert (counted["execution_count"], counted["inference_count"], counted["batch_stats"]) == (0, 0, [])
    assert counted["inference_stats"]["success"]["count"] == counted["inference_stats"]["fail"]["count"] == 0
    text = explicit.server.client.get(explicit.server.metrics).text
    assert f'kserve_v2_warm_up_executions{{model="{name}",version="1"}} 8' in text
    assert f'kserve_v2_batch_rows_count{{model="{name}",version="1"}} 0' in text
    assert f'nv_inference_exec_count{{model="{name}",version="1"}} 0' in text
    answer = explicit.server.infer(
        name,
        {
            "inputs": [
                json_tensor("IN", "FP32", [1, 3], [1, 2, 3]),
                json_tensor("TEXT", "BYTES", [1, 1], ["x"]),
            ]
        },
    )
    assert answer.json()["outputs"][0]["data"] == [1, 2, 3]
    assert "warmed up for " in explicit.server.log.split(f"ready: {name}")[1].splitlines()[0]


WRONG = {
    "batch": (
        sample("w1", IN, TEXT, batch_size=9),
        "failed to run warmup sample 'w1': batch size 9 for 'wrong', max allowed is 4",
    ),
    "dims": (
        sample("w", tensor("IN", "FP32", [-1], ZERO), TEXT),
        "warmup setting expects all variable-size dimensions are specified for input 'IN'",
    ),
    "no kind": (
        sample("w", tensor("IN", "FP32", [3], ""), TEXT),
        "warmup setting expects input 'IN' to have input_data_type set",
    ),
    "no type": (
        'model_warmup { name: "w" batch_size: 1 inputs { key: "IN" value { dims: [3] zero_data: true } } }',
        "warmup setting expects input 'IN' to have data_type set",
    ),
    "another type": (
        sample("w", tensor("IN", "FP64", [3], ZERO), TEXT),
        "failed to run warmup sample 'w': inference input 'IN' data-type is 'FP64', but model 'wrong' expects 'FP32'",
    ),
    "another shape": (
        sample("w", tensor("IN", "FP32", [4], ZERO), TEXT),
        "failed to run warmup sample 'w': unexpected shape for input 'IN' for model 'wrong'. Expected [-1,3], got [1,4].",
    ),
    "one missing": (
        sample("w", IN),
        "failed to run warmup sample 'w': expected 2 inputs but got 1 inputs for model 'wrong'",
    ),
    "one too many": (
        sample("w", IN, TEXT, tensor("OTHER", "FP32", [3], ZERO)),
        "unexpected input 'OTHER' of warmup sample 'w', model 'wrong' has ['IN', 'TEXT']",
    ),
    "no file": (
        sample("w", tensor("IN", "FP32", [3], 'input_data_file: "nosuch"'), TEXT),
        "failed to run warmup sample 'w': input 'IN': file 'warmup/nosuch' cannot be read: No such file or directory",
    ),
    "a folder": (
        sample("w", tensor("IN", "FP32", [3], 'input_data_file: "folder"'), TEXT),
        "failed to run warmup sample 'w': input 'IN': file 'warmup/folder' is no file",
    ),
    "short file": (
        sample("w", tensor("IN", "FP32", [3], 'input_data_file: "short"'), TEXT),
        "warmup setting expects 12 bytes, but the data provided from short only has 2 bytes",
    ),
    "no text": (
        sample("w", IN, tensor("TEXT", "STRING", [1], 'input_data_file: "short"')),
        "file 'warmup/short': incomplete string length indicator for inference input 'TEXT'",
    ),
    "outside": (
        sample("w", tensor("IN", "FP32", [3], 'input_data_file: "../1/model.py"'), TEXT),
        "'../1/model.py' must be a relative path without '..' inside the model's directory",
    ),
    "link outside": (
        sample("w", tensor("IN", "FP32", [3], 'input_data_file: "link"'), TEXT),
        "warmup sample 'w': file 'link' is outside of the model's directory",
    ),
    "huge": (
        sample("w", tensor("IN", "FP32", [2**40], ZERO), TEXT),
        "at most 2147483648 are supported",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_sample(explicit: ExplicitServer, tmp_path: Path, case: str) -> None:
    config, text = WRONG[case]
    directory = explicit.write("wrong", seen_code(tmp_path / "seen"), config)
    folder = directory / "warmup"
    (folder / "folder").mkdir(parents=True, exist_ok=True)
    (folder / "short").write_bytes(b"ab")
    (folder / "link").unlink(missing_ok=True)
    (folder / "link").symlink_to("/etc/passwd")
    told = refused(explicit, "wrong")
    assert told.startswith(
        "load failed for model 'wrong': version 1 is at UNAVAILABLE state: Invalid argument: "
    )
    assert text in told
    assert told.endswith(";\n")
    assert lines(tmp_path / "seen") == []


FAILING = """
class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}
    max_batch_size = 8

    BEFORE __call__(self, inputs):
        if len(inputs["IN"]) > 1:
            raise ValueError("boom")
        THEN
"""

FAILURES = {"plain": ("def", "none"), "async": ("async def", "none"), "isolated": ("def", "process")}


def failing_code(then: str = 'return {"OUT": inputs["IN"]}', before: str = "def") -> str:
    """Fails where several requests come together, and answers to one with `then`."""
    return FAILING.replace("BEFORE", before).replace("THEN", then)


@pytest.mark.parametrize("kind", FAILURES)
def test_a_sample_that_fails_fails_the_load(explicit: ExplicitServer, kind: str) -> None:
    """Also where only several requests together fail: they are not tried one by one."""
    before, isolate = FAILURES[kind]
    code = failing_code(before=before)
    config = isolation(isolate) + "instance_group { count: 2 }\n"
    value = tensor("IN", "FP32", [1], ZERO)
    explicit.write("failing", code, config + sample("one", value) + sample("two", value, batch_size=2))
    told = refused(explicit, "failing")
    assert "Invalid argument: failed to run warmup sample 'two': " in told
    assert "ValueError: boom" in told
    # The same model without that sample, and a request to it.
    explicit.write("failing", code, config + sample("one", value))
    loaded(explicit, "failing")
    answer = explicit.server.infer("failing", {"inputs": [json_tensor("IN", "FP32", [1, 1], [5])]})
    assert answer.json()["outputs"][0]["data"] == [5]


def test_outputs_that_do_not_fit_are_found_before_the_first_request(explicit: ExplicitServer) -> None:
    code = failing_code('return {"OUT": inputs["IN"].sum()}')
    explicit.write("scalar", code, sample("w", tensor("IN", "FP32", [1], ZERO)))
    assert "failed to run warmup sample 'w': output 'OUT' of model 'scalar'" in refused(explicit, "scalar")


DYING = """
import os

class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}

    def __call__(self, inputs):
        os._exit(3)
"""


def test_a_process_that_dies_in_its_warm_up_fails_the_load(explicit: ExplicitServer) -> None:
    explicit.write("dying", DYING, isolation("process") + sample("w", tensor("IN", "FP32", [1], ZERO)))
    told = refused(explicit, "dying")
    assert "failed to run warmup sample 'w': " in told
    assert explicit.index("dying")[0]["state"] == "UNAVAILABLE"


# --- every kind of model --------------------------------------------------------------------------------------------

STREAMS = """
class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}
    decoupled = True

    BEFORE __call__(self, inputs):
        for number in range(3):
            with open(PATH, "a") as file:
                file.write("1\\n")
            if number == 2 and inputs["IN"][0] == 0.25:
                raise ValueError("the last one")
            yield {"OUT": inputs["IN"] + number}
"""


@pytest.mark.parametrize("before", ["def", "async def"])
@pytest.mark.parametrize("isolate", ["none", "process"])
def test_streams_are_read_to_their_end(
    explicit: ExplicitServer, tmp_path: Path, before: str, isolate: str
) -> None:
    path = tmp_path / "seen"
    code = STREAMS.replace("BEFORE", before).replace("PATH", repr(str(path)))
    value = tensor("IN", "FP32", [1], ZERO)
    explicit.write("streams", code, isolation(isolate) + sample("w", value, count=2))
    loaded(explicit, "streams")
    assert lines(path) == [1] * 6
    bad = tensor("IN", "FP32", [1], 'input_data_file: "quarter"')
    directory = explicit.write("streams", code, isolation(isolate) + sample("bad", bad))
    (directory / "warmup").mkdir(exist_ok=True)
    (directory / "warmup" / "quarter").write_bytes(np.float32(0.25).tobytes())
    told = refused(explicit, "streams")
    assert "failed to run warmup sample 'bad': " in told
    assert "the last one" in told
    # The one before goes on serving.
    assert explicit.index("streams")[0]["state"] == "READY"


SEQUENCES = """
import json

class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}
    max_batch_size = 4

    def __call__(self, inputs, requests):
        told = {name: array.tolist() for name, array in inputs.items()}
        told["flags"] = [[each.sequence.start, each.sequence.end] for each in requests]
        told["ids"] = len({each.sequence.id for each in requests})
        with open(PATH, "a") as file:
            file.write(json.dumps(told) + "\\n")
        return {"OUT": inputs["IN"]}
"""

CONTROLS = """
sequence_batching {
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
  control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } }
}
"""


def test_controls_of_sequences_are_given_or_made(explicit: ExplicitServer, tmp_path: Path) -> None:
    path = tmp_path / "seen"
    value = tensor("IN", "FP32", [1], ZERO)
    config = (
        CONTROLS
        + sample("made", value, batch_size=2)
        # With and without the batch dimension.
        + sample("given", value, tensor("START", "INT32", [1], ZERO), batch_size=2)
        + sample("batched", value, tensor("START", "INT32", [1, 1], "random_data: true"))
    )
    explicit.write("sequences", SEQUENCES.replace("PATH", repr(str(path))), config)
    loaded(explicit, "sequences")
    made, given, batched = lines(path)
    assert made == {
        "IN": [[0.0]] * 2, "START": [[1]] * 2, "READY": [[1]] * 2, "flags": [[True, True]] * 2, "ids": 2,
    }  # fmt: skip
    assert given["START"] == [[0]] * 2
    assert given["READY"] == [[1]] * 2
    assert np.shape(batched["START"]) == (1, 1)
    assert batched["START"] != [[1]]


def test_a_control_of_another_type_is_refused(explicit: ExplicitServer, tmp_path: Path) -> None:
    value = tensor("IN", "FP32", [1], ZERO)
    config = CONTROLS + sample("w", value, tensor("START", "FP32", [1], ZERO))
    explicit.write("sequences", SEQUENCES.replace("PATH", repr(str(tmp_path / "seen"))), config)
    assert "input 'START' has data-type float32, but the model's configuration says INT32" in refused(
        explicit, "sequences"
    )


def test_a_batch_that_was_none_is_warmed_up_as_what_it_is(explicit: ExplicitServer) -> None:
    """The first dimension of this model is not the batch, which is found out by trying: it is loaded once more."""
    twice = [helper.make_node("Concat", ["x", "x"], ["y"], axis=0)]
    directory = write_onnx(explicit, "no_rows", twice, (["x"], ["y"]), [None, 2], opset=11)
    (directory / "config.pbtxt").write_text(sample("w", tensor("x", "FP32", [2], ZERO), batch_size=3))
    loaded(explicit, "no_rows")
    assert "model 'no_rows': served without a batch dimension" in explicit.server.log
    assert explicit.server.get("/v2/models/no_rows/config").json()["max_batch_size"] == 0
    text = explicit.server.client.get(explicit.server.metrics).text
    assert 'kserve_v2_warm_up_executions{model="no_rows",version="1"}' in text


STATEFUL_CONFIG = """
sequence_batching {
  state { input_name: "BEFORE" output_name: "AFTER" data_type: TYPE_FP32 dims: [ 1 ] }
}
"""


def test_states_are_given_to_an_onnx_model_and_kept_from_sequences(explicit: ExplicitServer) -> None:
    nodes = [
        helper.make_node("Add", ["IN", "BEFORE"], ["AFTER"]),
        helper.make_node("Identity", ["AFTER"], ["OUT"]),
    ]
    directory = write_onnx(explicit, "stateful", nodes, (["IN", "BEFORE"], ["AFTER", "OUT"]), [None, 1])
    value, state = (
        tensor("IN", "FP32", [1], "random_data: true"),
        tensor("BEFORE", "FP32", [1], "random_data: true"),
    )
    (directory / "config.pbtxt").write_text(
        'max_batch_size: 4 input { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] } '
        'output { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] }'
        + STATEFUL_CONFIG + sample("given", value, state, batch_size=2) + sample("made", value)
    )  # fmt: skip
    loaded(explicit, "stateful")
    step = {"sequence_id": 7, "sequence_start": True, "sequence_end": True}
    request = {"parameters": step, "inputs": [json_tensor("IN", "FP32", [1, 1], [2])]}
    assert explicit.server.infer("stateful", request).json()["outputs"][0]["data"] == [2]


def test_a_loop_that_a_handler_has_found_is_still_its_loop(explicit: ExplicitServer) -> None:
    """What an async handler begins in its warm-up goes on, as an HTTP client's connections would."""
    explicit.write(
        "loops",
        """
import asyncio

class Model:
    inputs = {"IN": ("FP32", [1])}
    outputs = {"OUT": ("FP32", [1])}
    lock = None

    async def __call__(self, inputs):
        if self.lock is None:
            self.loop, self.lock, self.ended = asyncio.get_running_loop(), asyncio.Lock(), asyncio.Event()
            self.task = asyncio.create_task(self.later())
        else:
            await asyncio.wait_for(self.ended.wait(), 60)
        async with self.lock:
            return {"OUT": inputs["IN"] + (self.loop is asyncio.get_running_loop())}

    async def later(self):
        await asyncio.sleep(0)
        self.ended.set()
""",
        sample("w", tensor("IN", "FP32", [1], ZERO)),
    )
    loaded(explicit, "loops")
    answer = explicit.server.infer("loops", {"inputs": [json_tensor("IN", "FP32", [1], [5])]})
    assert answer.json()["outputs"][0]["data"] == [6]


# --- READY only after it, and a word in between ---------------------------------------------------------------------


def test_a_model_is_not_ready_before_it_is_warm(explicit: ExplicitServer, tmp_path: Path) -> None:
    """It waits in its warm-up for a file; the generation before answers meanwhile."""
    path = tmp_path / "go"
    value = tensor("IN", "FP32", [1], ZERO)
    explicit.write("gated_warmup", failing_code('return {"OUT": inputs["IN"] + 1}'), sample("w", value))
    loaded(explicit, "gated_warmup")
    waiting = (
        "\n        import os, time\n"
        f"        open({str(path)!r} + '.waits', 'w').close()\n"
        f"        while not os.path.exists({str(path)!r}): time.sleep(0.005)\n"
        '        return {"OUT": inputs["IN"] + 2}'
    )
    explicit.write("gated_warmup", failing_code(waiting), sample("w", value))
    ask = {"inputs": [json_tensor("IN", "FP32", [1, 1], [0])]}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post_load, explicit.server, "gated_warmup")
        wait_until((tmp_path / "go.waits").exists)
        assert explicit.server.infer("gated_warmup", ask).json()["outputs"][0]["data"] == [1]
        assert not answer.done()
        path.touch()
        assert answer.result().status_code == 200
    assert explicit.server.infer("gated_warmup", ask).json()["outputs"][0]["data"] == [2]


def test_instances_that_come_later_are_warmed_up_by_themselves(
    explicit: ExplicitServer, tmp_path: Path
) -> None:
    path = tmp_path / "seen"
    group = "instance_group {{ count: {} }}\n"
    written = sample("w", IN, TEXT, batch_size=2)
    directory = explicit.write("more", seen_code(path))
    for count, fresh in ((1, {"more_0_0"}), (3, {"more_0_1", "more_0_2"}), (2, set())):
        (directory / "config.pbtxt").write_text(group.format(count) + written)
        loaded(explicit, "more")
        told = lines(path)
        assert {line["instance"] for line in told} == fresh
        assert len(told) == len(fresh)
        path.unlink(missing_ok=True)
    # Of one that fails, nothing has changed.
    failing = seen_code(path).replace(
        "        told = {", "        if self.name.endswith('_1'): raise ValueError('boom')\n        told = {"
    )
    directory = explicit.write("more_failing", failing, group.format(1) + written)
    loaded(explicit, "more_failing")
    (directory / "config.pbtxt").write_text(group.format(2) + written)
    assert "failed to run warmup sample 'w': ValueError: boom" in refused(explicit, "more_failing")
    request = {
        "inputs": [json_tensor("IN", "FP32", [1, 3], [1, 2, 3]), json_tensor("TEXT", "BYTES", [1, 1], ["x"])]
    }
    assert explicit.server.infer("more_failing", request).status_code == 200


# --- made-up samples ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def automatic(start_explicit: StartExplicit) -> ExplicitServer:
    return start_explicit(
        "--auto-warmup", "--rate-limit=execution_count", "--cache-config=local,size=1000000"
    )


def executed(explicit: ExplicitServer, name: str) -> int:
    text = explicit.server.client.get(explicit.server.metrics).text
    found = [line for line in text.splitlines() if f'kserve_v2_warm_up_executions{{model="{name}"' in line]
    return int(found[0].split()[-1]) if found else 0


def test_made_up_samples_have_the_sizes_that_matter(automatic: ExplicitServer, tmp_path: Path) -> None:
    path = tmp_path / "seen"
    batching = (
        'parameters { key: "try_batching" value { string_value: "false" } } '
        'dynamic_batching { preferred_batch_size: [ 2 ] } response_cache { enable: true } instance_group { count: 2 rate_limiter { resources { name: "R" count: 1 } } }'
    )
    automatic.write("sizes", seen_code(path), batching)
    loaded(automatic, "sizes")
    one = [line for line in lines(path) if line["instance"] == "sizes_0_0"]
    assert [line["requests"] for line in one] == [1, 1, 1, 2, 2, 2, 4, 4, 4]
    assert executed(automatic, "sizes") == 18
    counted = statistics(automatic.server, "sizes")
    assert (counted["execution_count"], counted["inference_count"]) == (0, 0)
    assert counted["inference_stats"]["cache_miss"]["count"] == 0


def test_a_made_up_sample_that_fails_is_a_warning(automatic: ExplicitServer) -> None:
    code = failing_code()
    automatic.write("picky", code)
    loaded(automatic, "picky")
    assert "model 'picky': automatic warm-up: failed to run warmup sample 'batch of 8': ValueError: boom" in (
        automatic.server.log
    )
    assert executed(automatic, "picky") == 3


@pytest.mark.parametrize(
    ("code", "config", "executions"),
    [
        ("[-1]", "", 0),
        ("[2]", 'parameters { key: "auto_warmup" value { string_value: "false" } }', 0),
        ("[2]", sample("w", tensor("IN", "FP32", [2], ZERO)), 1),
        ("[2]", "", 3),
    ],
)
def test_which_models_have_made_up_samples(
    automatic: ExplicitServer, code: str, config: str, executions: int
) -> None:
    handler = (
        f'class Model:\n    inputs = {{"IN": ("FP32", {code})}}\n    outputs = {{"OUT": ("FP32", {code})}}\n'
        '    def __call__(self, inputs):\n        return {"OUT": inputs["IN"]}\n'
    )
    name = f"which_{executions}_{len(code)}_{len(config)}"
    automatic.write(name, handler, config)
    loaded(automatic, name)
    assert executed(automatic, name) == executions


class Counting(torch.nn.Module):
    """Its answers tell how often it was executed."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return x * 0 + self.count


class Doubling(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


@pytest.mark.slow
def test_models_of_the_other_backends(automatic: ExplicitServer) -> None:
    """A model that changes with what it executes is not changed by what was made up."""
    write_onnx(automatic, "onnx", [helper.make_node("Add", ["x", "x"], ["y"])], (["x"], ["y"]), ["N", 2])
    for name in ("script", "exported", "counting"):
        (automatic.root / name / "1").mkdir(parents=True)
    tensors = 'input { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } output { name: "y" data_type: TYPE_FP32 dims: [ 2 ] }'
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        for name, module in (("script", Doubling()), ("counting", Counting())):
            torch.jit.script(module).save(automatic.root / name / "1" / "model.pt")
            (automatic.root / name / "config.pbtxt").write_text(f"max_batch_size: 4 {tensors}")
    program = torch.export.export(
        Doubling(), (torch.ones(2, 2),), dynamic_shapes={"x": {0: torch.export.Dim("batch", max=64)}}
    )
    torch.export.save(program, automatic.root / "exported" / "1" / "model.pt2")
    ask = {"inputs": [json_tensor("x", "FP32", [1, 2], [1, 2])]}
    for name in ("onnx", "script", "exported", "counting"):
        loaded(automatic, name)
        assert executed(automatic, name) >= 3, name
        answer = automatic.server.infer(name, ask).json()["outputs"][0]["data"]
        assert answer == ([1, 1] if name == "counting" else [2, 4])
        counted = statistics(automatic.server, name)
        assert counted["execution_count"] == 1


def test_the_table_tells_of_it(start_server: StartServer, write_model: WriteModel, tmp_path: Path) -> None:
    handler = failing_code()
    write_model(tmp_path, "warm", handler, sample("w", tensor("IN", "FP32", [1], ZERO)))
    write_model(tmp_path, "cold", handler)
    server = start_server(tmp_path)
    table = "".join(server.output)
    assert "| Notes" in table
    assert "warmed up in " in next(line for line in table.splitlines() if line.startswith("| warm "))
