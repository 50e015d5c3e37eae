"""A configuration that is refused opens nothing that it names, whatever is wrong with it: watched by an audit hook."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict

from tests.config.schema import NAMING_FILES, name, with_value

# Reads `[model, override]` pairs; writes for each whether it was refused, and what was opened in the test's folder.
CHILD = """
import json, os, sys
from pathlib import Path
top = Path(sys.argv[1])
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(str(top)):
            opened.append(os.path.relpath(path, top))
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.preparing.candidate import Override, read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.prepare import prepare_version
registry, options = BackendRegistry(), RepositoryOptions((top / "models",))
for backend in ("python", "onnxruntime", "pytorch"):
    registry.get(backend)
sys.addaudithook(watch)
answers = []
for model, override in json.load(sys.stdin):
    opened.clear()
    try:
        prepare_version(read_candidate(model, options, Override(json.dumps(override))), 1, options, registry)
        reason = None
    except InvalidArgumentError as error:
        reason = error.message
    answers.append([reason, sorted(set(opened))])
json.dump(answers, sys.stdout)
"""

HANDLER = """
from pathlib import Path
(Path(__file__).parent / (Path(__file__).name + ".ran")).touch()
class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    def __call__(self, inputs): return {"y": inputs["x"]}
"""

EXAMPLES = Path(__file__).parent.parent.parent / "model_repository"


class Attempt(NamedTuple):
    """One override, and what came of it: the reason if it was refused, and the files that were opened."""

    label: str
    model: str
    override: dict[str, Any]
    reason: str | None = None
    opened: tuple[str, ...] = ()


def parameter(key: str, value: str) -> dict[str, Any]:
    return {"parameters": {key: {"string_value": value}}}


OUTSIDE = ["../../outside.py", "../other/1/model.py", "{top}/outside.py"]

OTHERWISE_WRONG: list[dict[str, Any]] = [
    {"name": "another"},
    {"max_batch_size": -1},
    {"max_batch_size": 2**31 - 1},
    {"instance_group": [{"count": 30000}]},
    {"instance_group": [{"kind": "KIND_GPU", "gpus": [999]}]},
    {"dynamic_batching": {"max_queue_delay_microseconds": str(2**64 - 1)}},
    {"dynamic_batching": {"priority_levels": 3}},
    {"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [0]}]},
    {"output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [2**60]}]},
    {"metric_tags": {"no label": "x"}},
    {"sequence_batching": {"oldest": {"preferred_batch_size": [-1]}}},
    {"runtime": "libx.so"},
    {"platform": "nonsense"},
    {"output": [{"name": "y", "label_filename": "link.txt"}]},
    parameter("EXECUTION_ENV_PATH", "$$TRITON_MODEL_DIRECTORY/env.tar.gz"),
    parameter("EXECUTION_ENV_PATH", "{top}/outside.py"),
]

TORCHSCRIPT_WRONG: list[dict[str, Any]] = [
    parameter("INTRA_OP_THREAD_COUNT", "30000"),
    parameter("INFERENCE_MODE", "perhaps"),
]

ONNX_WRONG: list[dict[str, Any]] = [
    parameter("intra_op_thread_count", "many"),
    parameter("inter_op_thread_count", "30000"),
    parameter("session.optimized_model_filepath", "{top}/outside.py"),
    {"optimization": {"graph": {"level": 7}}},
]


def attempts(top: Path) -> list[Attempt]:
    made = [
        Attempt(f"{name(path)}={outside}", model, MessageToDict(with_value(path, outside.replace("{top}", str(top))),
                preserving_proto_field_name=True))
        for path in NAMING_FILES if path[0].name != "model_operations"
        for outside in OUTSIDE for model in ("handler", "onnx")
    ]  # fmt: skip
    wrong = [(model, override) for override in OTHERWISE_WRONG for model in ("handler", "onnx")]
    wrong += [("onnx", override) for override in ONNX_WRONG]
    wrong += [("script", override) for override in TORCHSCRIPT_WRONG]
    texts = [(model, json.dumps(override).replace("{top}", str(top))) for model, override in wrong]
    return made + [Attempt(text, model, json.loads(text)) for model, text in texts]


def write_repository(top: Path) -> None:
    for directory in ("models/handler/1", "models/onnx/1", "models/script/1", "models/other/1"):
        (top / directory).mkdir(parents=True)
    for file in ("outside.py", "models/handler/1/model.py", "models/other/1/model.py"):
        (top / file).write_text(HANDLER)
    (top / "models/onnx/1/model.onnx").write_bytes(EXAMPLES.joinpath("add_sub/1/model.onnx").read_bytes())
    (top / "models/script/1/model.pt").write_bytes(
        EXAMPLES.joinpath("digits_torchscript/1/model.pt").read_bytes()
    )
    for model in ("handler", "onnx"):
        (top / "models" / model / "link.txt").symlink_to(top / "outside.py")


def run(top: Path, wanted: list[Attempt]) -> list[Attempt]:
    questions = json.dumps([[attempt.model, attempt.override] for attempt in wanted])
    child = subprocess.run([sys.executable, "-c", CHILD, str(top)], input=questions, capture_output=True, text=True,
                           check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip
    answers = json.loads(child.stdout)
    return [
        attempt._replace(reason=reason, opened=tuple(opened))
        for attempt, (reason, opened) in zip(wanted, answers, strict=True)
    ]


def test_a_refused_configuration_opens_no_file(tmp_path: Path) -> None:
    top = tmp_path.resolve()
    write_repository(top)
    answered = run(top, attempts(top))
    assert [attempt.label for attempt in answered if attempt.reason is None] == []
    assert [(attempt.label, attempt.opened) for attempt in answered if attempt.opened] == []
    assert [str(path.relative_to(top)) for path in top.rglob("*.ran")] == []


def test_the_hook_sees_what_is_opened(tmp_path: Path) -> None:
    top = tmp_path.resolve()
    write_repository(top)
    accepted, contradicted = run(
        top,
        [
            Attempt("good", "handler", {"max_batch_size": 0}),
            Attempt(
                "another output", "onnx", {"output": [{"name": "z", "data_type": "TYPE_FP32", "dims": [1]}]}
            ),
        ],
    )
    assert (accepted.reason, accepted.opened) == (
        None,
        ("models/handler/1/model.py", "models/handler/1/model.py.ran"),
    )
    # What the file says can only be learnt from the file.
    assert contradicted.reason is not None
    assert "'z'" in contradicted.reason
    assert contradicted.opened == ("models/onnx/1/model.onnx",)
