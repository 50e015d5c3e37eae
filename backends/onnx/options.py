"""What a model's configuration says of how ONNX Runtime is to run it, read without ONNX Runtime.

Parameter names and values are those of Triton's ONNX Runtime backend.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import ConfigurationError

from ..parameters import MAX_THREADS, boolean, integer, parameter_texts

ACCEPT_EMPTY_INPUTS = "accept_empty_inputs"
"""The parameter that says that a model with recurrent layers knows what to do with an input without elements."""

CUDA = "CUDAExecutionProvider"

# Execution providers by their names in a configuration.
_PROVIDERS = {
    "cpu": {"openvino": "OpenVINOExecutionProvider"},
    "gpu": {"tensorrt": "TensorrtExecutionProvider", "cuda": CUDA},
}
# The model's `optimization.graph.level`.
_GRAPH_LEVELS = (-1, 0, 1, 2)


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """`intra_op`, `inter_op`: threads; 0 where nothing is said. `entries`: ONNX Runtime's own, of sessions."""

    graph_level: int
    parallel: bool
    intra_op: int
    inter_op: int
    memory_arena: bool
    memory_pattern: bool
    cpu_fallback: bool
    accepts_empty_inputs: bool
    entries: Mapping[str, str]


def read_options(config: ModelConfig) -> OnnxOptions:
    """Raises ConfigurationError for what cannot be."""
    parameters = parameter_texts(config)
    level = config.optimization.graph.level
    if level not in _GRAPH_LEVELS:
        raise ConfigurationError(f"optimization.graph.level: expected one of -1, 0, 1, 2, got {level}")
    return OnnxOptions(
        graph_level=level,
        parallel=integer(parameters, "execution_mode", 0, most=1) == 1,
        intra_op=integer(parameters, "intra_op_thread_count", 0, most=MAX_THREADS),
        inter_op=integer(parameters, "inter_op_thread_count", 0, most=MAX_THREADS),
        memory_arena=boolean(parameters, "enable_mem_arena", True),
        memory_pattern=boolean(parameters, "enable_mem_pattern", True),
        cpu_fallback=boolean(parameters, "allow_cpu_fallback", False),
        accepts_empty_inputs=boolean(parameters, ACCEPT_EMPTY_INPUTS, False),
        entries={key: _entry(key, value) for key, value in parameters.items() if key.startswith("session.")},
    )


def accelerators(config: ModelConfig, kind: Literal["cpu", "gpu"]) -> list[tuple[str, dict[str, str]]]:
    """The execution providers that are chosen for a kind of device, with their options. Raises ConfigurationError."""
    chosen = config.optimization.execution_accelerators
    known = _PROVIDERS[kind]
    found: list[tuple[str, dict[str, str]]] = []
    for index, accelerator in enumerate(
        chosen.cpu_execution_accelerator if kind == "cpu" else chosen.gpu_execution_accelerator
    ):
        if accelerator.name not in known:
            raise ConfigurationError(
                f"optimization.execution_accelerators.{kind}_execution_accelerator[{index}].name: "
                f"expected one of {', '.join(known)}, got '{accelerator.name}'"
            )
        found.append((known[accelerator.name], dict(accelerator.parameters)))
    return found


def check_options(config: ModelConfig) -> None:
    """Raise ConfigurationError for options that are wrong, which is found out before any file is opened."""
    read_options(config)
    accelerators(config, "cpu")
    accelerators(config, "gpu")


def _entry(key: str, value: str) -> str:
    if any(word in key for word in ("file", "folder", "path")):
        raise ConfigurationError(f"parameters['{key}']: entries that name files are not allowed")
    return value
