"""ONNX models that answer as those that Triton's example clients for sequences, `simple_*_sequence_*`, are made for."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

INT32, UINT64, STRING = TensorProto.INT32, TensorProto.UINT64, TensorProto.STRING

_START = 'control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }'
_READY = 'control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } }'
_END = 'control_input { name: "END" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } }'
_CONFIG = """
max_batch_size: 8
input {{ name: "INPUT" data_type: TYPE_INT32 dims: 1 }}
output {{ name: "OUTPUT" data_type: TYPE_INT32 dims: 1 }}
instance_group {{ count: {instances} kind: KIND_CPU }}
sequence_batching {{
  max_sequence_idle_microseconds: 60000000
  {batching}
}}
"""
_OLDEST = "oldest { max_candidate_sequences: 1024 max_queue_delay_microseconds: 10000 }"


def _corrid(datatype: str) -> str:
    return f'control_input {{ name: "CORRID" control {{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_{datatype} }} }}'


def write_sequence_models(root: Path) -> None:
    """Write `simple_sequence`, `simple_dyna_sequence` and `simple_string_dyna_sequence` into `root`."""
    _write(
        root / "simple_sequence",
        _CONFIG.format(instances=1, batching=f"{_START}\n  {_READY}"),  # the strategy is direct
        {"INPUT": INT32, "START": INT32, "READY": INT32},
        [("Add", ["INPUT", "START"], "WITH_START"), ("Mul", ["WITH_START", "READY"], "OUTPUT")],
    )
    _write(
        root / "simple_dyna_sequence",
        _CONFIG.format(instances=2, batching="\n  ".join([_OLDEST, _START, _END, _READY, _corrid("UINT64")])),
        {"INPUT": INT32, "START": INT32, "END": INT32, "READY": INT32, "CORRID": UINT64},
        [
            ("Add", ["INPUT", "START"], "WITH_START"),
            ("Cast", ["CORRID"], "ID"),
            ("Mul", ["ID", "END"], "ID_AT_END"),
            ("Add", ["WITH_START", "ID_AT_END"], "BOTH"),
            ("Mul", ["BOTH", "READY"], "OUTPUT"),
        ],
    )
    # This one adds up. Triton resets the state at the start of a sequence.
    state = 'state { input_name: "SUM" output_name: "NEXT_SUM" data_type: TYPE_INT32 dims: 1 }'
    _write(
        root / "simple_string_dyna_sequence",
        _CONFIG.format(
            instances=2, batching="\n  ".join([_OLDEST, _START, _END, _READY, _corrid("STRING"), state])
        ),
        {"INPUT": INT32, "START": INT32, "END": INT32, "READY": INT32, "CORRID": STRING, "SUM": INT32},
        [
            ("Mul", ["INPUT", "READY"], "NEW"),
            ("Add", ["SUM", "NEW"], "NEXT_SUM"),
            ("Cast", ["CORRID"], "ID"),
            ("Mul", ["ID", "END"], "ID_AT_END"),
            ("Add", ["NEXT_SUM", "ID_AT_END"], "OUTPUT"),
        ],
    )


def _write(
    directory: Path, config: str, inputs: dict[str, int], nodes: list[tuple[str, list[str], str]]
) -> None:
    """All tensors are [n, 1], and whatever is computed is INT32. Outputs: what no node reads, and NEXT_SUM."""
    made = [
        helper.make_node(operator, sources, [result], **({"to": INT32} if operator == "Cast" else {}))
        for operator, sources, result in nodes
    ]
    results = [result for _, _, result in nodes if result in ("OUTPUT", "NEXT_SUM")]
    graph = helper.make_graph(
        made,
        "sequence",
        [helper.make_tensor_value_info(name, kind, ["n", 1]) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, INT32, ["n", 1]) for name in results],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    (directory / "1").mkdir(parents=True)
    onnx.save(model, directory / "1" / "model.onnx")
    (directory / "config.pbtxt").write_text(config)
