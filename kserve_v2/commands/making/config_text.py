"""A configuration with comments, for a model whose file says what it takes and gives."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kserve_v2.config.support import THREAD_PARAMETERS

_WHAT = {
    "model.onnx": "ONNX Runtime, with 1/model.onnx.",
    "model.pt2": "PyTorch, with 1/model.pt2.",
    "model.pt": "PyTorch, with 1/model.pt, which is TorchScript.",
    "model.py": "A Python handler: the class in 1/model.py. What it takes and gives is said there.",
}

_QUEUE = """\
  # How long a request may wait for others. 0: a free instance takes what is there at once.
  max_queue_delay_microseconds: 0

  # More requests than that do not wait, but are refused with 503, to be tried again. 0: no limit.
  default_queue_policy { max_queue_size: 1000 }
}
"""
_MERGED = """\
# Requests that wait at the same time are executed together. Without this block each is executed by itself.
"""
_ALONE = "# The model has no batch dimension: each request is executed by itself.\n"
_GUESSED = """\
# The first dimension of every tensor may be of any size, so it is taken for the batch. The server tries with made-up
# rows whether the model answers several of them as it answers each alone, and only then merges requests, into batches
# of up to {rows} rows. Say how many suit your model; what is written here is done, whatever came of the trial:
# max_batch_size: 32
# dynamic_batching {{ max_queue_delay_microseconds: 0 }}
"""
_SAID = """\
# What the file says; each tensor without the batch. To give classes names, put a line for each into labels.txt, and
# write: output [ {{ name: {output}  label_filename: "labels.txt" }} ]
"""
_SIZE = """\
# The largest batch that requests are merged into, and that one request may bring.
max_batch_size: {rows}
"""


def config_text(name: str, document: Mapping[str, Any]) -> str:
    """The text. `document`: what `kserve-v2 config --format json` says of the model."""
    config, origins = document["config"], document["origins"]
    file, backend, rows = config["default_model_filename"], config["backend"], config["max_batch_size"]
    guessed = rows > 0 and origins.get("max_batch_size", {}).get("from") == "model" and file != "model.py"
    written = origins.get("input[0].dims", {}).get("from") == "file"
    parts = [
        f"# How {name} is served; `kserve-v2 config REPOSITORY {name}` shows what becomes of it.\n",
        f'# {_WHAT.get(file, f"Its file is 1/{file}.")}\nbackend: "{backend}"\n'
        + ("" if file in _WHAT else f'default_model_filename: "{file}"\n'),
    ]
    if handler := config["parameters"].get("handler"):
        where = json.dumps(handler["string_value"])
        parameter = f'parameters {{ key: "handler"  value {{ string_value: {where} }} }}'
        parts.append(f"# The class, and the module that has it.\n{parameter}\n")
    tensors = _tensors("input", config["input"]) + _tensors("output", config["output"])
    if guessed:
        output = json.dumps(config["output"][0]["name"])
        parts.append(_SAID.format(output=output) + "".join(f"# {line}\n" for line in tensors.splitlines()))
        parts.append(_GUESSED.format(rows=rows))
    elif file == "model.py":
        if config["input"]:
            size = f"max_batch_size: {rows}\n"
            parts.append(
                "# What it says today:\n" + "".join(f"# {line}\n" for line in (size + tensors).splitlines())
            )
        if rows == 0:
            parts.append(_ALONE)
        elif config.get("dynamic_batching") is not None:
            parts.append(f"{_MERGED}dynamic_batching {{\n{_QUEUE}")
    else:
        what = "What you have said" if written else "What the file says"
        size = _SIZE.format(rows=rows)
        parts.append(
            f"# {what}; each tensor without the batch.\n{tensors}" if rows else f"# {what}.\n{tensors}"
        )
        parts.append(
            f"{size}\n{_MERGED}dynamic_batching {{\n{_QUEUE}" if rows else f"{_ALONE}max_batch_size: 0\n"
        )
    shared = "" if file == "model.py" else "; all share one copy of the weights"
    parts.append(
        f"# How many batches at the same time{shared}. For a GPU: kind: KIND_GPU  gpus: [ 0 ]\n"
        "instance_group [ { count: 1  kind: KIND_CPU } ]\n"
    )
    if backend in THREAD_PARAMETERS:
        parts.append(
            "# CPU threads of one operator; by default this machine's share for each instance.\n"
            f'# parameters {{ key: "{THREAD_PARAMETERS[backend]}"  value {{ string_value: "1" }} }}\n'
        )
    return "\n".join(parts)


def _tensors(kind: str, tensors: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for tensor in tensors:
        dims = ", ".join(str(size) for size in tensor["dims"])
        optional = "  optional: true" if tensor.get("optional") else ""
        name = json.dumps(tensor["name"], ensure_ascii=False)
        lines.append(
            f"{kind} [ {{ name: {name}  data_type: {tensor['data_type']}  dims: [ {dims} ]{optional} }} ]\n"
        )
    return "".join(lines)
