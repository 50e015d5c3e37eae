"""Broken repositories: files as text. What a check says of each, word for word, is in `findings.txt`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from zipfile import ZipFile, ZipInfo

from onnx import TensorProto, helper


class Link(str):
    """Leads there."""


class Pipe(str):
    """Has no end for whoever reads from it."""


Files = Mapping[str, str | bytes | None]
"""By path; None for a directory."""

HANDLER = """\
class Model:
    inputs = {"x": ("FP32", [4])}
    outputs = {"y": ("FP32", [4])}
    max_batch_size = 8

    def __call__(self, inputs):
        return {"y": inputs["x"]}
"""

PLAIN = HANDLER.replace("    max_batch_size = 8\n", "").replace("[4]", "[-1, 4]")

YIELDS = PLAIN.replace("return", "yield")

SILENT = """\
class Model:
    def __call__(self, inputs):
        return inputs
"""


def onnx(*, x: Any = ("N", 4), y: Any = ("N", 4), kind: int = TensorProto.FLOAT) -> bytes:
    """A model from x to y."""
    inputs = [helper.make_tensor_value_info("x", kind, x)]
    outputs = [helper.make_tensor_value_info("y", kind, y)]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


@dataclass(frozen=True)
class Case:
    """`machine`: CPUs and GPUs."""

    files: Files
    machine: tuple[int, int] = (4, 0)
    flags: Mapping[str, Any] = field(default_factory=dict)


def handler(config: str | bytes, code: str = HANDLER, **files: str | bytes) -> Case:
    """A model `m` with this configuration."""
    return Case({"m/config.pbtxt": config, "m/1/model.py": code, **files})


def graph(config: str, content: bytes | None = None, machine: tuple[int, int] = (4, 0)) -> Case:
    """The same for an ONNX file."""
    return Case({"m/config.pbtxt": config, "m/1/model.onnx": onnx() if content is None else content}, machine)


def script(config: str) -> Case:
    """The same for a TorchScript file, of which the table of contents is looked at."""
    return Case({"m/config.pbtxt": config, "m/1/model.pt": packed("m/constants.pkl")})


def packed(*members: str) -> bytes:
    """A zip with empty files."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name in members:
            archive.writestr(ZipInfo(name), b"")
    return buffer.getvalue()


def files(**given: str | bytes | None) -> Case:
    """`a__b_c` stands for the path `a/b.c`."""
    return Case(given)


def ensemble(steps: str, extra: str = "", **others: str | bytes | None) -> Case:
    """An ensemble `e` of `m`, a handler."""
    config = f"""\
platform: "ensemble"
max_batch_size: 8
input {{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] }}
{extra}ensemble_scheduling {{
{steps}
}}
"""
    return Case({"e/config.pbtxt": config, "e/1": None, "m/1/model.py": HANDLER, **others})


def step(model: str = "m", given: str = "x", out: str = "y", own: str = "x", version: int = -1) -> str:
    return (
        f'  step {{ model_name: "{model}" model_version: {version}\n'
        f'    input_map {{ key: "{own}" value: "{given}" }}\n'
        f'    output_map {{ key: "y" value: "{out}" }} }}'
    )


TENSORS = """\
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }
"""

TORCH_STATE = b"\x80\x02}q\x00."

CASES: dict[str, Case] = {
    # --- the text -----------------------------------------------------------------------------------------------------
    "a value that is no number": handler("max_batch_size: eight\n"),
    "a datatype without its prefix": handler('input {\n  name: "x"\n  data_type: FP32\n  dims: [ 4 ]\n}\n'),
    "a value in quotation marks": handler('instance_group { kind: "KIND_CPU" }\n'),
    "a misspelt field": handler("max_batchsize: 8\n"),
    "a field of another message": handler("dynamic_batching {\n  max_batch_size: 8\n}\n"),
    "a field of a newer schema": handler(
        "brand_new: { thing: 3 }\nmax_batch_size: 8\ndynamic_batching { }\n"
    ),
    "several mistakes": handler(
        'max_batch_size: "8"\nmax_queue: 3\ninput { nme: "x" data_type: float32 dims: [ four ] }\nplatfrm: "x"\n'
    ),
    "a bracket that is not closed": handler('max_batch_size: 8\ninput [\n  { name: "x" dims: [ 4 ] }\n'),
    "a bracket too many": handler("max_batch_size: 8 }\n"),
    "a string that is not closed": handler('backend: "python\n'),
    "a number in a string that is not closed": handler('max_batch_size: "8\nbackend: "python"\n'),
    "strings that are not begun or not closed": handler(
        'backend: python"\nmax_batchsize: 8\nparameters { key: "a value { string_value: "b" } }\n'
    ),
    "JSON": handler('{ "max_batch_size": 8 }\n'),
    "comments of another language": handler("// batches\nmax_batch_size: 8\n"),
    "YAML": handler('max_batch_size: 8\ninput:\n  - name: "x"\n'),
    "a field twice": handler("max_batch_size: 8\nmax_batch_size: 4\n"),
    "two schedulers": handler("dynamic_batching { }\nsequence_batching { }\n"),
    "a parameter like a field": handler('parameters { isolation: "process" }\n'),
    "a parameter without its message": handler('parameters { key: "isolation" value: "process" }\n'),
    "a parameter with another value": handler('parameters { key: "isolation" value { int_value: 3 } }\n'),
    "a number out of range": handler("max_batch_size: 3000000000\n"),
    "a colon is missing": handler("max_batch_size 8\n"),
    "UTF-16": handler("max_batch_size: 8\n".encode("utf-16")),
    "Latin-1": handler(
        'name: "m"\nparameters { key: "a" value { string_value: "\xfc" } }\n'.encode("latin-1")
    ),
    "a zero byte": handler("max_batch_size:\0 8\n"),
    # --- what is said -------------------------------------------------------------------------------------------------
    "another name": handler('name: "n"\n'),
    "a platform of another backend": handler('backend: "python"\nplatform: "onnxruntime_onnx"\n'),
    "a platform that nobody knows": files(**{"m/config.pbtxt": 'platform: "caffe2"\n', "m/1/x.bin": "x"}),
    "a backend that nobody has": handler('backend: "tensorrt"\n'),
    "a negative batch size": handler("max_batch_size: -1\n"),
    "batches larger than any": handler("max_batch_size: 1000000000\n"),
    "preferred sizes": handler(
        "max_batch_size: 8\ndynamic_batching {\n  preferred_batch_size: [ 0, 4,\n    16 ]\n"
        "  max_queue_delay_microseconds: 100\n}\n"
    ),
    "a delay of days": handler("dynamic_batching { max_queue_delay_microseconds: 86400000000 }\n"),
    "version 0": handler("version_policy { specific { versions: [ 0, 1 ] } }\n"),
    "a version that is not there": handler("version_policy { specific { versions: [ 3 ] } }\n"),
    "a negative number of instances": handler("instance_group { count: -2 }\n"),
    "instances without end": handler("instance_group { count: 800 }\ninstance_group { count: 800 }\n"),
    "a GPU where none is": handler("instance_group [\n  { kind: KIND_GPU }\n]\n"),
    "GPUs that are not there": Case(
        {"m/config.pbtxt": "instance_group { kind: KIND_GPU gpus: [ 1, 1, 2 ] }\n", "m/1/model.py": HANDLER},
        (4, 2),
    ),
    "GPUs of a CPU": handler("instance_group { kind: KIND_CPU gpus: [ 0 ] }\n"),
    "a kind for other backends": handler("instance_group { kind: KIND_MODEL }\n"),
    "metric tags": handler(
        'metric_tags { key: "1st" value: "a" }\nmetric_tags { key: "model" value: "b" }\n'
        'metric_tags { key: "fine" value: "c" }\n'
    ),
    "an entry without a key": handler('parameters { value { string_value: "a" } }\n'),
    "files by GPU": handler('cc_model_filenames { key: "9.0" value: "a.py" }\n'),
    "files outside": handler(
        'default_model_filename: "../model.py"\noutput { name: "y" label_filename: "/etc/passwd" }\n'
        'sequence_batching { state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 2 ]\n'
        '  initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2 ] data_file: "../x" } } }\n'
    ),
    "an input without a name": handler("input { data_type: TYPE_FP32 dims: [ 4 ] }\n"),
    "an input twice": handler(TENSORS + 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'),
    "a dimension of 0": handler('input { name: "x" dims: [ 4, 0 ] }\n'),
    "a reshape that does not fit": handler(
        'input {\n  name: "x" dims: [ 4 ]\n  reshape { shape: [ 3, 2 ] } }\n'
    ),
    "a scalar without a batch": handler('input { name: "x" dims: [ 1 ] reshape { shape: [ ] } }\n', PLAIN),
    "an image without channels": handler('input { name: "x" format: FORMAT_NCHW dims: [ 4 ] }\n'),
    "too many dimensions": handler(f'input {{ name: "x" dims: [ {", ".join(["1"] * 40)} ] }}\n'),
    "priorities": handler(
        "dynamic_batching {\n  priority_levels: 2\n  default_priority_level: 3\n"
        "  priority_queue_policy { key: 5 value { max_queue_size: 1 } }\n}\n"
    ),
    "priorities in order": handler(
        "dynamic_batching {\n  preserve_ordering: true\n  priority_levels: 2\n  default_priority_level: 1\n"
        "  default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 }\n}\n"
    ),
    "resources": handler(
        'instance_group {\n  rate_limiter {\n    resources [ { count: 1 }, { name: "R" count: 1 }, { name: "R" count: 2 },\n'
        '      { name: "R" global: true count: 1 } ]\n  }\n}\n'
    ),
    "switches": handler(
        'parameters { key: "try_batching" value { string_value: "maybe" } }\n'
        'parameters { key: "split_large_requests" value { string_value: "yes" } }\n'
    ),
    "isolation": handler(
        'parameters { key: "isolation" value { string_value: "container" } }\n'
        'parameters { key: "isolation_processes" value { string_value: "0" } }\n'
        'parameters { key: "execution_timeout" value { string_value: "soon" } }\n'
    ),
    "isolation in vain": handler('parameters { key: "isolation_processes" value { string_value: "2" } }\n'),
    "a misspelt parameter of a handler": handler(
        'parameters { key: "Isolations" value { string_value: "process" } }\n'
    ),
    "a latency budget": handler(
        'parameters { key: "latency_budget_ms" value { string_value: "-5" } }\n'
        "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 10 }\n"
    ),
    "a cache of sequences": handler("response_cache { enable: true }\nsequence_batching { }\n"),
    "ragged batches": handler(
        'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" source_input: "q" data_type: TYPE_INT8 }\n'
        'batch_output { target_name: "z" kind: BATCH_SCATTER_WITH_INPUT_SHAPE }\n'
    ),
    "ragged sequences": handler('input { name: "x" allow_ragged_batch: true }\nsequence_batching { }\n'),
    "padding that is no JSON": handler(
        'parameters { key: "pad_variable_dims" value { string_value: "{\'x\': 0}" } }\n'
    ),
    "padding": handler(
        'parameters {\n  key: "pad_variable_dims"\n'
        '  value { string_value: \'{"inputs": {"q": 0, "x": 0}, "wrong": {}, "lengths": {"x": "x"}}\' }\n}\n'
    ),
    "controls": handler(
        "sequence_batching {\n  control_input {\n    control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 1 ] } }\n"
        '  control_input { name: "a" control { kind: CONTROL_SEQUENCE_START } }\n'
        '  control_input { name: "x" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 } }\n'
        '  control_input { name: "b" }\n}\n'
    ),
    "candidates": handler(
        "max_batch_size: 8\nsequence_batching {\n  oldest { max_candidate_sequences: -1 preferred_batch_size: [ 9 ] }\n}\n"
    ),
    "slots": handler("sequence_batching { direct { minimum_slot_utilization: 1.5 } }\n"),
    "states": handler(
        'sequence_batching {\n  state { input_name: "s" dims: [ 0 ] }\n'
        '  state { input_name: "x" output_name: "t" data_type: TYPE_FP32 dims: [ 2 ]\n'
        "    initial_state { data_type: TYPE_INT32 dims: [ 3 ] } }\n}\n"
    ),
    "a file of a state that is missing": handler(
        'sequence_batching {\n  state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 2 ]\n'
        '    initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2 ]\n      data_file: "zeros" } }\n}\n'
    ),
    "fields that are refused": handler(
        'input { name: "x" is_shape_tensor: true }\n'
        'model_repository_agents { agents { name: "checksum" } }\n'
        'runtime: "libtriton_python.so"\n'
        "instance_group { passive: true secondary_devices { device_id: 1 } }\n"
    ),
    "fields without effect": handler(
        "optimization { cuda { graphs: true } priority: PRIORITY_MAX }\n"
        'instance_group { host_policy: "a" profile: "b" }\n'
        "dynamic_batching { default_priority_level: 1 }\n"
    ),
    "a decoupled graph": graph("model_transaction_policy { decoupled: true }\n"),
    "parameters of another backend": graph(
        'parameters { key: "INTRA_OP_THREAD_COUNT" value { string_value: "2" } }\n'
        'parameters { key: "intra_op_threads_count" value { string_value: "2" } }\n'
        "max_batch_size: 8\n"
    ),
    "threads that are no number": graph(
        'max_batch_size: 8\nparameters {\n  key: "intra_op_thread_count" value { string_value: "all" } }\n'
    ),
    "a level that is not there": graph("optimization { graph { level: 7 } }\n"),
    "an accelerator that is not there": graph(
        'optimization { execution_accelerators {\n  cpu_execution_accelerator { name: "turbo" } } }\n'
    ),
    # --- more of the same: what only few people write ---------------------------------------------------------------
    "numbers for names": handler(
        'input { name: "x" data_type: 99 }\ninstance_group { kind: 9 }\n'
        "batch_input { kind: 9 }\nbatch_output { kind: 9 }\n"
        'sequence_batching {\n  control_input { name: "c" control { kind: 17 int32_false_true: [ 0, 1 ] } }\n'
        '  state { input_name: "s" output_name: "t" data_type: 99 dims: [ 1 ] }\n}\n'
    ),
    "too many elements": handler('input { name: "x" dims: [ 1048576, 1048577 ] }\n'),
    "too many priorities": handler("dynamic_batching { priority_levels: 5000 default_priority_level: 1 }\n"),
    "a link to labels somewhere else": handler(
        'output { name: "y" label_filename: "labels.txt" }\n',
        **{"labels": "a\n", "m/labels.txt": Link("../labels")},
    ),
    "a link to a state somewhere else": handler(
        'sequence_batching {\n  state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 2 ]\n'
        '    initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2 ] data_file: "zeros" } }\n}\n',
        **{"zeros": "00000000", "m/initial_state/zeros": Link("../../zeros")},
    ),
    "a budget of sequences": handler(
        'sequence_batching { }\nparameters { key: "latency_budget_ms" value { string_value: "5" } }\n'
    ),
    "a budget without batches": handler(
        'parameters { key: "latency_budget_ms" value { string_value: "5" } }\n', PLAIN
    ),
    "a budget without a batcher": graph(
        'max_batch_size: 8\nparameters { key: "latency_budget_ms" value { string_value: "5" } }\n' + TENSORS
    ),
    "a generator and batches": handler(
        "model_transaction_policy { decoupled: true }\nresponse_cache { enable: true }\n"
        'parameters { key: "latency_budget_ms" value { string_value: "5" } }\n'
        'parameters { key: "try_batching" value { string_value: "true" } }\n'
        'parameters { key: "pad_variable_dims" value { string_value: \'{"inputs": {"x": 0}}\' } }\n'
        'sequence_batching { state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 2 ] } }\n',
        YIELDS,
    ),
    "switches without batches": handler(
        'parameters { key: "try_batching" value { string_value: "true" } }\n', PLAIN
    ),
    "ragged inputs without batches": handler(
        'input { name: "x" allow_ragged_batch: true }\n'
        'batch_input { kind: BATCH_ELEMENT_COUNT source_input: "x" target_name: "n" data_type: TYPE_FP32 }\n'
        'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" target_name: "y" }\n',
        PLAIN,
    ),
    "ragged inputs": graph(
        'max_batch_size: 8\ninput [\n  { name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true optional: true }\n]\n'
        'batch_input [\n  { kind: BATCH_ELEMENT_COUNT source_input: "x" data_type: TYPE_FP32 },\n'
        '  { kind: BATCH_ELEMENT_COUNT source_input: "x" target_name: [ "x", "n" ] data_type: TYPE_FP32 },\n'
        '  { kind: BATCH_ELEMENT_COUNT source_input: "x" target_name: "n" data_type: TYPE_FP32 }\n]\n'
        'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }\n'
        'parameters { key: "try_batching" value { string_value: "true" } }\n'
        'parameters { key: "split_large_requests" value { string_value: "true" } }\n'
    ),
    "ragged outputs": handler(
        'input { name: "x" dims: [ 4 ] }\noutput { name: "y" dims: [ 4, -1 ] }\n'
        'batch_output [\n  { kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" target_name: "y" },\n'
        '  { kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" target_name: "y" },\n'
        '  { kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" target_name: "q" }\n]\n'
    ),
    "a ragged output": handler(
        'input { name: "x" dims: [ 4 ] }\noutput { name: "y" dims: [ 4, -1 ] }\n'
        'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" target_name: "y" }\n'
    ),
    "more controls": handler(
        "sequence_batching {\n"
        '  control_input { name: "a" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] fp32_false_true: [ 0, 1 ] },\n'
        "    { kind: CONTROL_SEQUENCE_READY bool_false_true: [ false, true ] data_type: TYPE_BOOL } ] }\n"
        '  control_input { name: "x" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 int32_false_true: [ 0, 1 ] } }\n'
        "}\n" + TENSORS
    ),
    "preferred sizes of sequences": handler(
        "max_batch_size: 8\nsequence_batching { oldest { preferred_batch_size: [ 0, 4 ] } }\n"
    ),
    "sequences without effect": handler(
        "sequence_batching {\n  direct { max_queue_delay_microseconds: 5 }\n"
        '  control_input { name: "a" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] data_type: TYPE_INT32 } }\n}\n'
    ),
    "slots without a delay": handler("sequence_batching { direct { minimum_slot_utilization: 0.5 } }\n"),
    "sequences of single rows": handler(
        "sequence_batching { oldest { max_queue_delay_microseconds: 5 } }\n", PLAIN
    ),
    "more states": handler(
        "sequence_batching {\n"
        '  state { input_name: "s" output_name: "y" data_type: TYPE_INT32 dims: [ 2 ] }\n'
        '  state { input_name: "s" output_name: "t" data_type: TYPE_FP32 }\n'
        '  state { input_name: "u" output_name: "u" data_type: TYPE_FP32 dims: [ -1 ]\n'
        '    initial_state { name: "i" data_type: TYPE_FP32 dims: [ -1 ] zero_data: true }\n'
        '    initial_state { name: "j" data_type: TYPE_FP32 dims: [ 1, 2 ] data_file: "" } }\n'
        '  state { input_name: "x" output_name: "v" data_type: TYPE_FP32 dims: [ 1 ] }\n'
        "}\n" + TENSORS
    ),
    "a file of a state that is too short": handler(
        'sequence_batching {\n  state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 2 ]\n'
        '    initial_state { name: "i" data_type: TYPE_FP32 dims: [ 2 ] data_file: "zeros" } }\n'
        '  state { input_name: "u" output_name: "v" data_type: TYPE_STRING dims: [ 1 ]\n'
        '    initial_state { name: "i" data_type: TYPE_STRING dims: [ 1 ] data_file: "text" } }\n}\n',
        **{"m/initial_state/zeros": "0000", "m/initial_state/text": "abc"},
    ),
    "queues without effect": handler(
        "dynamic_batching {\n  preserve_ordering: true\n"
        "  default_queue_policy { timeout_action: DELAY allow_timeout_override: true } }\n"
    ),
    "time-outs that nobody has": handler(
        "dynamic_batching {\n  default_queue_policy { timeout_action: DELAY } }\n"
    ),
    "batches of a model without": handler("dynamic_batching {\n  max_queue_delay_microseconds: 9 }\n", PLAIN),
    "a library of batches": handler(
        'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "b.so" } }\n'
    ),
    "a device for tensors": handler(
        'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }\n'
    ),
    "one answer for many without a cache": handler(
        'parameters { key: "coalesce_requests" value { string_value: "true" } }\n'
    ),
    "padding by other things": handler(
        'parameters {\n  key: "pad_variable_dims"\n'
        '  value { string_value: \'{"inputs": {"t": "long", "x": 1.5, "b": 1}, "inputs": {}}\' }\n}\n'
    ),
    "padding by wrong values": handler(
        'input [ { name: "i" data_type: TYPE_INT8 dims: [ -1 ] }, { name: "b" data_type: TYPE_BOOL dims: [ -1 ] },\n'
        '  { name: "s" data_type: TYPE_STRING dims: [ -1 ] }, { name: "h" data_type: TYPE_FP16 dims: [ -1, -1 ] } ]\n'
        'output { name: "y" data_type: TYPE_FP32 dims: [ -1, 3 ] }\nmax_batch_size: 8\n'
        'parameters {\n  key: "pad_variable_dims"\n  value { string_value:\n'
        '    \'{"inputs": {"i": 300, "b": 1, "s": 0, "h": 1e9}, "masks": {"m": "h", "i": "i"},\'\n'
        '    \' "lengths": {"l": {"input": "i", "data_type": "INT8"}, "n": {"input": "i", "dims": [2], "size": 1}},\'\n'
        '    \' "outputs": {"y": {"0": "x", "1": "i"}}}\' }\n}\n'
    ),
    "a TorchScript file with a dimension of 0": script(
        "max_batch_size: 8\n" + TENSORS.replace("[ 4 ]", "[ 0 ]")
    ),
    "a TorchScript file that is to be compiled": script(
        TENSORS + 'parameters { key: "compile" value { string_value: "default" } }\n'
    ),
    "parameters of torch": script(
        TENSORS + 'parameters { key: "INTRA_OP_THREAD_COUNT" value { string_value: "two" } }\n'
    ),
    "threads of torch": script(
        TENSORS
        + 'instance_group { count: 3 }\nparameters { key: "INTRA_OP_THREAD_COUNT" value { string_value: "2" } }\n'
    ),
    # --- labels -------------------------------------------------------------------------------------------------------
    "labels that are missing": handler(
        'output {\n  name: "y" label_filename: "labels.txt" }\n', **{"m/1/labels.txt": "a\nb\n"}
    ),
    "labels that are no text": handler(
        'output { name: "y" label_filename: "labels.txt" }\n', **{"m/labels.txt": b"caf\xe9\n"}
    ),
    "labels and other things": handler(
        'max_batch_size: -3\noutput { name: "y" label_filename: "labels.txt" }\n'
    ),
    # --- the model's file says something else -------------------------------------------------------------------------
    "names that the graph does not have": graph(
        'input {\n  name: "image" data_type: TYPE_FP32 dims: [ 4 ] }\noutput {\n  name: "label" }\n'
    ),
    "datatypes and dims of a graph": graph(
        "max_batch_size: 8\n"
        'input { name: "x" data_type: TYPE_INT64 dims: [ 5 ] }\noutput { name: "y" dims: [ -1, 4 ] }\n'
    ),
    "a contradiction and other things": graph(
        'max_batch_size: 8\nversion_policy { specific { versions: [ 1, -1 ] } }\ninput { name: "image" }\n'
        'output { name: "y" label_filename: "none.txt" }\ndynamic_batching { preferred_batch_size: [ 9 ] }\n'
    ),
    "a graph that cannot batch": graph("max_batch_size: 8\n", onnx(x=(1, 4), y=(1, 4))),
    "dims of a handler": handler('input { name: "x" dims: [ 3 ] }\noutput { name: "z" }\n'),
    "a larger batch than the handler's": handler("max_batch_size: 64\n"),
    "a handler that says nothing": files(**{"m/1/model.py": SILENT}),
    # --- the model's file ---------------------------------------------------------------------------------------------
    "a syntax error": files(
        **{"m/1/model.py": "class Model:\n    def __call__(self, inputs)\n        return inputs\n"}
    ),
    "a module that is missing": files(**{"m/1/model.py": "import numpy\nimport no_such_module\n"}),
    "a module that is missing to a model for Triton": handler(
        TENSORS,
        "import numpy\nimport no_such_module\nclass TritonPythonModel:\n    def execute(self, requests): ...\n",
    ),
    "a misspelt method of a model for Triton": handler(
        TENSORS, "class TritonPythonModel:\n    def excecute(self, requests):\n        return []\n"
    ),
    "an error in a module beside": files(
        **{"m/1/model.py": "import helper\n" + HANDLER, "m/1/helper.py": "\n\nvalue = 1 / 0\n"}
    ),
    "no class": files(**{"m/1/model.py": "class Handler:\n    pass\n"}),
    "declarations that mean nothing": files(
        **{"m/1/model.py": HANDLER.replace('("FP32", [4])', '("float", 4)').replace("= 8", "= -1")}
    ),
    "an empty file": files(**{"m/1/model.onnx": b""}),
    "half a file": files(**{"m/1/model.onnx": onnx()[:-20]}),
    "a pointer": files(
        **{"m/1/model.onnx": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"}
    ),
    "a web page": files(**{"m/1/model.onnx": "<!DOCTYPE html><html><body>Sign in</body></html>\n"}),
    "weights in the place of TorchScript": files(
        **{"m/config.pbtxt": TENSORS, "m/1/model.pt": packed("m/data.pkl", "m/data/0")}
    ),
    "a pickle": files(**{"m/1/model.onnx": TORCH_STATE}),
    # --- directories --------------------------------------------------------------------------------------------------
    "no version": files(**{"m/model.onnx": onnx()}),
    "no version, and a wrong configuration": files(
        **{"m/model.onnx": onnx(), "m/config.pbtxt": "max_batch: 8\n"}
    ),
    "nothing but a configuration": files(**{"m/config.pbtxt": "max_batch_size: 8\n"}),
    "a version with a letter": files(**{"m/v1/model.onnx": onnx()}),
    "a version with a zero": files(**{"m/1/model.onnx": onnx(), "m/02/model.onnx": onnx()}),
    "a version that is named and not there": files(
        **{
            "m/1/model.onnx": onnx(),
            "m/config.pbtxt": "version_policy {\n  specific { versions: [ 1, 9 ] }\n}\n",
        }
    ),
    "several models in a model": files(
        **{f"m/{name}/1/model.onnx": onnx() for name in ("a", "b", "c")}, **{"n/1/model.onnx": onnx()}
    ),
    "several models in a version": files(**{f"m/1/{name}/model.onnx": onnx() for name in ("a", "b")}),
    "several folders that are nearly versions": files(
        **{f"m/v{number}/model.onnx": onnx() for number in (1, 2, 10)}
    ),
    "folders that are nearly one version": files(**{"m/v1/model.onnx": onnx(), "m/01/model.onnx": onnx()}),
    "a level too deep": files(**{"m/1/resnet/model.onnx": onnx()}),
    "an empty version": files(**{"m/1": None, "m/config.pbtxt": 'backend: "onnxruntime"\n'}),
    "a model beside its version": files(
        **{"m/1": None, "m/model.onnx": onnx(), "m/config.pbtxt": 'backend: "onnxruntime"\n'}
    ),
    "an empty version in front of a model": files(**{"m/1/model.onnx": onnx(), "m/2": None}),
    "an empty directory": files(**{"m": None, "m/config.pbtxt": None}),
    "a directory that should be the repository": files(**{"1/model.onnx": onnx()}),
    "a release": handler(
        'parameters {\n  key: "release"\n  value { string_value: \'{"split": {"1": 90, "2": 30}, "labels": {"PROD": 1}}\' }\n}\n'
    ),
    "a release that is no JSON": handler('parameters { key: "release" value { string_value: "PROD=1" } }\n'),
    "a release of a version that is not there": handler(
        'parameters { key: "release" value { string_value: \'{"labels": {"PROD": 7}}\' } }\n'
    ),
    "a file of a release of versions that are not there": files(
        **{
            "m/1/model.py": HANDLER,
            "m/release.json": '{"labels": {"PROD": 1, "STG": 3}, "shadow": {"version": 2}}',
        }
    ),
    "a file of a release that is no JSON": files(**{"m/1/model.py": HANDLER, "m/release.json": "PROD=1"}),
    "warm-up": handler(
        'max_batch_size: 8\nmodel_warmup [\n  { name: "a" batch_size: 9 },\n'
        '  { name: "b" batch_size: 1\n'
        '    inputs { key: "x" value { dims: [ -1 ] } }\n'
        '    inputs { key: "q" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } } },\n'
        f'  {{ name: "c" inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: [ {", ".join(["1"] * 40)} ] zero_data: true }} }} }},\n'
        '  { name: "d" batch_size: 8 inputs { key: "x" value { data_type: TYPE_FP64 dims: [ 100000000 ] zero_data: true } } },\n'
        '  { name: "e" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "out" } } }\n'
        "]\n",
        **{"out": "0", "m/warmup/out": Link("../../out")},
    ),
    "files of the warm-up that are missing": handler(
        'model_warmup {\n  name: "a" batch_size: 1\n'
        '  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "gone" } } }\n'
        'model_warmup {\n  name: "b" batch_size: 1\n'
        '  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "short" } } }\n',
        **{"m/warmup/short": "0000"},
    ),
    "a link to nowhere": files(**{"m/1/model.onnx": Link("../../gone")}),
    "two levels too deep": files(**{"m/deep/config.pbtxt": "", "m/deep/1/model.onnx": onnx()}),
    "capital letters": files(**{"m/1/Model.ONNX": onnx()}),
    "one suffix too many": files(**{"m/1/model.py.txt": HANDLER}),
    "two models": files(**{"m/1/a.onnx": onnx(), "m/1/b.onnx": onnx()}),
    "another file than the one that is named": Case(
        {
            "m/config.pbtxt": 'backend: "onnxruntime"\nmax_batch_size: -2\ndefault_model_filename: "net.onnx"\n',
            "m/1/model.onnx": onnx(),
        }
    ),
    "weights": files(**{"m/1/model.pth": "x"}),
    "a SavedModel": files(**{"m/1/saved_model.pb": "x", "m/config.pbtxt": "max_batch_size: 8\n"}),
    "a model in the repository itself": files(**{"model.onnx": onnx(), "m/1/model.py": HANDLER}),
    "a configuration in the repository itself": files(
        **{"config.pbtxt": "max_batch_size: 8\n", "m/1/model.py": HANDLER}
    ),
    "a directory that is no model": files(**{"notes/readme.txt": "x", "m/1/model.py": HANDLER}),
    "a configuration that is a device": files(
        **{"m/1/model.py": HANDLER, "m/config.pbtxt": Link("/dev/zero")}
    ),
    "a configuration that leads nowhere": files(**{"m/1/model.py": HANDLER, "m/config.pbtxt": Link("gone")}),
    "a release that is a directory": files(**{"m/1/model.py": HANDLER, "m/release.json": None}),
    "labels that are a pipe": handler('output { name: "y" label_filename: "l" }\n', **{"m/l": Pipe()}),
    "a directory of the file system": files(**{"lost+found": None, "m/1/model.py": HANDLER}),
    "a misspelt configuration": files(**{"m/1/model.py": HANDLER, "m/config.pbtx": "max_batch_size: 8\n"}),
    "a configuration in the version": files(
        **{"m/1/model.py": HANDLER, "m/1/config.pbtxt": "max_batch_size: 8\n"}
    ),
    "a configuration of another program": files(
        **{"m/1/model.onnx": onnx(), "m/config.pbtxt": "max_batch_size: 8\n", "m/config.yaml": "batch: 4\n"}
    ),
    # --- ensembles ----------------------------------------------------------------------------------------------------
    "an ensemble without steps": ensemble(""),
    "an ensemble without its platform": Case(
        {
            "e/config.pbtxt": 'ensemble_scheduling { step { model_name: "m" } }\n',
            "e/1": None,
            "m/1/model.py": HANDLER,
        }
    ),
    "an ensemble without a version": Case(
        {
            "e/config.pbtxt": f'platform: "ensemble"\nensemble_scheduling {{ {step()} }}\n',
            "m/1/model.py": HANDLER,
        }
    ),
    "an ensemble with what only models have": ensemble(
        step(), 'backend: "python"\ninstance_group { count: 2 }\noptimization { }\n'
    ),
    "a step that says nothing": ensemble('  step { model_name: "m" }\n  step { model_version: -3 }'),
    "tensors that nobody reads": ensemble(step() + "\n" + step(out="z")),
    "tensors that nobody writes": ensemble(step(given="w")),
    "a tensor twice": ensemble(step() + "\n" + step()),
    "a step that nobody knows": ensemble(step("nosuch")),
    "a misspelt step": ensemble(step("tokeniser"), **{"tokenizer/1/model.py": HANDLER}),
    "a step that is broken": ensemble(step("b"), **{"b/1/model.py": "import no_such_module\n"}),
    "an input that the step does not have": ensemble(step(own="q")),
    "a version that the step does not have": ensemble(step(version=7)),
    "shapes that do not fit": ensemble(
        step("b"), **{"b/1/model.py": HANDLER.replace("FP32", "INT64").replace("[4]", "[2]")}
    ),
    "a smaller batch": ensemble(step("b"), **{"b/1/model.py": HANDLER.replace("= 8", "= 2")}),
    "a tensor that comes from outside": ensemble(step(out="x")),
    "an output from nowhere": ensemble(
        step(out="z"), 'output { name: "n" data_type: TYPE_FP32 dims: [ 1 ] }\n'
    ),
    "an ensemble with the batches of its steps": ensemble(
        step(),
        'batch_input { }\nbatch_output { }\nmodel_warmup { name: "w" }\ndefault_model_filename: "x"\n'
        'input { name: "r" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } allow_ragged_batch: true }\n',
    ),
    "a circle": ensemble(
        step("f"),
        **{
            "f/1": None,
            "f/config.pbtxt": 'platform: "ensemble"\nmax_batch_size: 8\n'
            + TENSORS
            + f"ensemble_scheduling {{ {step('e')} }}\n",
        },
    ),
    "homes that there are not": handler(
        'parameters {\n  key: "home"\n  value { string_value: "everywhere" } }\n',
        **{
            "s/1/model.py": PLAIN,
            "s/config.pbtxt": "sequence_batching { }\n"
            'parameters {\n  key: "home"\n  value { string_value: "replicated" } }\n',
        },
    ),
    # --- what is legal ------------------------------------------------------------------------------------------------
    "a graph with a free dimension": graph(
        'input { name: "x" dims: [ -1, 4 ] }\noutput { name: "y" dims: [ -1, 4 ] }\n'
    ),
    "a graph with another first dimension": graph("", onnx(x=("rows", 4), y=("columns", 4))),
    "batches without a batcher": graph("max_batch_size: 8\n" + TENSORS),
    "a batcher for one row": graph("max_batch_size: 1\ndynamic_batching { }\n"),
    "sizes that nothing waits for": graph(
        "max_batch_size: 8\ndynamic_batching {\n  preferred_batch_size: [ 4, 8 ]\n}\n"
    ),
    "more threads than CPUs": graph(
        "max_batch_size: 8\ndynamic_batching { }\ninstance_group { count: 3 }\n"
        'parameters {\n  key: "intra_op_thread_count"\n  value { string_value: "4" } }\n'
    ),
    "more instances than CPUs": graph(
        "max_batch_size: 8\ndynamic_batching { }\ninstance_group {\n  count: 6 }\n"
    ),
    "a batch of nothing": handler(
        "max_batch_size: 0\ndynamic_batching {\n  preferred_batch_size: [ 4 ]\n  max_queue_delay_microseconds: 9 }\n",
        PLAIN,
    ),
    "a cache that the server does not have": handler("response_cache { enable: true }\n"),
}
