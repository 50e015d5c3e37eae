"""What the server does with each field of the schema: one table, and the walk of a configuration along it.

A field that is set and not acted on is never passed over in silence. Where ignoring it could change answers or
isolation it is refused; where it only costs speed, or numbers in the metrics, it is a warning. A field that is not
in the table fails a test, so a newer schema cannot bring one in unseen.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.protobuf.message import Message

from kserve_v2._generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_v2.config.ensemble import is_ensemble
from kserve_v2.config.home import HOME
from kserve_v2.config.isolation import PARAMETERS as OF_ISOLATION
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.config.padding import PAD_VARIABLE_DIMS
from kserve_v2.config.platforms import OWN_BACKENDS, RUN_CODE
from kserve_v2.config.problems import Problem
from kserve_v2.config.queueing import queueing_without_effect
from kserve_v2.config.release import RELEASE
from kserve_v2.config.sequences import sequences_without_effect
from kserve_v2.config.switches import COALESCE_REQUESTS, SWITCHES


class Support(Enum):
    """What becomes of a field that is set."""

    SERVED = "served"
    REFUSED = "not supported yet"
    IGNORED = "is set but has no effect"


@dataclass(frozen=True, slots=True)
class Rule:
    """The server's part in one field, and what the operator has to know about it.

    `only`: of the backends that come with the server, the ones that act on the field themselves. A plug-in of a third
    party gets the whole configuration, so fields with `only` are its own business.
    """

    support: Support
    why: str = ""
    only: frozenset[str] = frozenset()

    def holds_for(self, backend: str) -> bool:
        """Whether the rule is to be applied to a model of `backend`, because nobody acts on the field."""
        if self.support is Support.SERVED:
            return False
        return not self.only or (backend in OWN_BACKENDS and backend not in self.only)

    def problem(self, path: str) -> Problem:
        """What is said about the field at `path`."""
        return Problem(path, f"{self.support.value}: {self.why}" if self.why else self.support.value)


_SERVED = Rule(Support.SERVED)


def _refused(why: str = "", only: frozenset[str] = frozenset()) -> Rule:
    return Rule(Support.REFUSED, why, only)


def _ignored(why: str = "", only: frozenset[str] = frozenset()) -> Rule:
    return Rule(Support.IGNORED, why, only)


_NO_TENSORRT = "it is for TensorRT engines"
_OWN_SHAPES = "a handler with ragged = True sees the shapes of each request"
_ACCELERATORS = _ignored("execution providers are chosen for ONNX models only", frozenset({"onnxruntime"}))

# A row for a message stands for all that is in it. Names are those of the schema, without indexes and keys.
FIELDS: Mapping[str, Rule] = {
    "name": _SERVED,
    "platform": _SERVED,
    "backend": _SERVED,
    "runtime": _refused("the backend alone says what runs the model"),
    "version_policy": _SERVED,
    "max_batch_size": _SERVED,
    "input.name": _SERVED,
    "input.data_type": _SERVED,
    "input.format": _SERVED,  # says how the dims are meant, as in Triton: nothing is converted
    "input.dims": _SERVED,
    "input.reshape": _SERVED,
    "input.is_shape_tensor": _refused(_NO_TENSORRT),
    "input.allow_ragged_batch": _SERVED,
    "input.optional": _SERVED,
    "input.is_non_linear_format_io": _refused(_NO_TENSORRT),
    "output.name": _SERVED,
    "output.data_type": _SERVED,
    "output.dims": _SERVED,
    "output.reshape": _SERVED,
    "output.label_filename": _SERVED,
    "output.is_shape_tensor": _refused(_NO_TENSORRT),
    "output.is_non_linear_format_io": _refused(_NO_TENSORRT),
    "batch_input": _ignored(_OWN_SHAPES, frozenset({"onnxruntime", "pytorch"})),
    "batch_output": _ignored(_OWN_SHAPES, frozenset({"onnxruntime", "pytorch"})),
    "optimization.graph": _ignored("only ONNX models have levels of it", frozenset({"onnxruntime"})),
    "optimization.priority": _ignored("instances share the device evenly"),
    "optimization.cuda": _ignored("CUDA graphs are not recorded"),
    "optimization.execution_accelerators": _ACCELERATORS,
    "optimization.input_pinned_memory.enable": _SERVED,  # true is Triton's default, and a permission only
    "optimization.output_pinned_memory.enable": _SERVED,
    "optimization.gather_kernel_buffer_threshold": _ignored(),
    "optimization.eager_batching": _ignored(),
    "dynamic_batching.preferred_batch_size": _SERVED,
    "dynamic_batching.max_queue_delay_microseconds": _SERVED,
    "dynamic_batching.preserve_ordering": _SERVED,
    "dynamic_batching.priority_levels": _SERVED,
    "dynamic_batching.default_priority_level": _SERVED,
    "dynamic_batching.default_queue_policy": _SERVED,
    "dynamic_batching.priority_queue_policy": _SERVED,
    "sequence_batching.direct": _SERVED,
    "sequence_batching.oldest": _SERVED,
    "sequence_batching.max_sequence_idle_microseconds": _SERVED,
    "sequence_batching.control_input": _SERVED,
    "sequence_batching.state.input_name": _SERVED,
    "sequence_batching.state.output_name": _SERVED,
    "sequence_batching.state.data_type": _SERVED,
    "sequence_batching.state.dims": _SERVED,
    "sequence_batching.state.initial_state": _SERVED,
    "sequence_batching.state.use_same_buffer_for_input_output": _ignored(
        "states are handed over from step to step"
    ),
    "sequence_batching.state.use_growable_memory": _ignored("a state may grow without it"),
    "sequence_batching.iterative_sequence": _refused(
        "only handlers can ask for another round", frozenset({"python"})
    ),
    "ensemble_scheduling.step.model_name": _SERVED,
    "ensemble_scheduling.step.model_version": _SERVED,
    "ensemble_scheduling.step.input_map": _SERVED,
    "ensemble_scheduling.step.output_map": _SERVED,
    "ensemble_scheduling.step.model_namespace": _refused("it needs a server with --model-namespacing"),
    "ensemble_scheduling.max_inflight_requests": _SERVED,
    "instance_group.name": _SERVED,
    "instance_group.kind": _SERVED,
    "instance_group.count": _SERVED,
    "instance_group.rate_limiter": _SERVED,  # where the server is started with --rate-limit
    "instance_group.gpus": _SERVED,
    "instance_group.secondary_devices": _refused("no such devices are used"),
    "instance_group.profile": _ignored(_NO_TENSORRT),
    "instance_group.passive": _refused("every instance takes requests"),
    "instance_group.host_policy": _ignored("set the CPU affinity of the process instead"),
    "default_model_filename": _SERVED,
    "cc_model_filenames": _refused("one file is loaded, whatever the GPU; name it in default_model_filename"),
    "metric_tags": _SERVED,
    "parameters.string_value": _SERVED,
    "model_warmup.name": _SERVED,
    "model_warmup.batch_size": _SERVED,  # 0: the sample is left out, as in Triton
    "model_warmup.inputs": _SERVED,
    "model_warmup.count": _SERVED,
    "model_operations": _ignored("no libraries of operators are loaded"),
    "model_transaction_policy.decoupled": _refused(
        "only handlers that yield their responses are decoupled", RUN_CODE
    ),
    "model_repository_agents.agents": _refused("files are loaded as they are, neither checked nor decrypted"),
    "response_cache.enable": _SERVED,
    "model_metrics": _ignored("metrics have no settings yet"),
}

# Values of fields that are served otherwise.
VALUES: Mapping[tuple[str, str | int], Rule] = {
    ("instance_group.kind", ModelInstanceGroup.KIND_MODEL): _refused("give the device: KIND_CPU or KIND_GPU"),
}

# Parameters that mean something to Triton itself, or to its Python backend, whatever the model makes of the others.
PARAMETERS: Mapping[str, Rule] = {
    "TRITON_BATCH_STRATEGY_PATH": _refused("no libraries that form batches are loaded"),
    "FORCE_CPU_ONLY_INPUT_TENSORS": _ignored("models get their tensors in the CPU's memory"),
}

OWN_PARAMETERS = frozenset({*SWITCHES, *OF_ISOLATION, PAD_VARIABLE_DIMS, LATENCY_BUDGET_MS, RELEASE, HOME})
"""Parameters that are the server's own, whatever the backend."""

# What else is read of `parameters`, by backend. A handler gets all of them, and so does a plug-in of a third party.
READ_PARAMETERS: Mapping[str, frozenset[str]] = {
    "onnxruntime": frozenset(
        {"accept_empty_inputs", "allow_cpu_fallback", "execution_mode", "intra_op_thread_count",
         "inter_op_thread_count", "enable_mem_arena", "enable_mem_pattern", "memory.enable_memory_arena_shrinkage"}
    ),
    "pytorch": frozenset(
        {"INTRA_OP_THREAD_COUNT", "INTER_OP_THREAD_COUNT", "ENABLE_WEIGHT_SHARING", "INFERENCE_MODE",
         "DISABLE_OPTIMIZED_EXECUTION", "compile", "compile_batch_sizes", "autocast", "memory_format"}
    ),
}  # fmt: skip

THREAD_PARAMETERS: Mapping[str, str] = {
    "onnxruntime": "intra_op_thread_count",
    "pytorch": "INTRA_OP_THREAD_COUNT",
}
"""By backend, the one that says how many threads an operator has."""


def refused_fields(config: ModelConfig) -> list[Problem]:
    """What is asked for and not served, and would change answers or isolation if it were ignored."""
    return _findings(config, Support.REFUSED)


def ignored_fields(config: ModelConfig) -> list[Problem]:
    """Fields that are set and have no effect, which is harmless: for a warning."""
    without_effect = [
        *_without_batching(config),
        *queueing_without_effect(config),
        *sequences_without_effect(config),
        *_of_an_ensemble(config),
        *_without_cache(config),
    ]
    return [
        *_findings(config, Support.IGNORED),
        *(Problem(path, f"{Support.IGNORED.value}: {why}") for path, why in without_effect),
    ]


def _findings(config: ModelConfig, support: Support) -> list[Problem]:
    found = [*_walk(config, "", ""), *_parameters(config)]
    return [
        rule.problem(at) for rule, at in found if rule.support is support and rule.holds_for(config.backend)
    ]


def _walk(message: Message, path: str, place: str) -> Iterator[tuple[Rule, str]]:
    """Yield the rule of every field that is set. `path` is its name in the table, `place` that with indexes."""
    for field, value in message.ListFields():
        name, at = path + field.name, place + field.name
        rule = FIELDS.get(name)
        if rule is None:
            for index, child in _children(value):
                yield from _walk(child, f"{name}.", f"{at}{index}.")
        elif isinstance(value, str | int) and (name, value) in VALUES:
            yield VALUES[name, value], at
        else:
            yield rule, at


def _children(value: Any) -> Iterator[tuple[str, Message]]:
    """The messages in a field, each with its index, or key, as it is written in a path."""
    if isinstance(value, Message):
        yield "", value
    elif isinstance(value, Mapping):
        yield from ((f"['{key}']", child) for key, child in value.items())
    else:
        yield from ((f"[{index}]", child) for index, child in enumerate(value))


def _parameters(config: ModelConfig) -> Iterator[tuple[Rule, str]]:
    read, own = READ_PARAMETERS.get(config.backend), OWN_PARAMETERS
    if is_ensemble(config):
        read, own = frozenset(), frozenset({COALESCE_REQUESTS, RELEASE})
    for name in config.parameters:
        if name in PARAMETERS:
            yield PARAMETERS[name], f"parameters['{name}']"
        elif read is not None and not (name in read or name in own or _is_session_entry(config, name)):
            known = (
                f"backend '{config.backend}' reads {', '.join(sorted(read))}"
                if read
                else "ensembles read none"
            )
            alike = difflib.get_close_matches(name, own | read, n=1, cutoff=0.75)
            yield _ignored(f"did you mean '{alike[0]}'?" if alike else known), f"parameters['{name}']"


def _is_session_entry(config: ModelConfig, name: str) -> bool:
    """Whether a parameter is one of ONNX Runtime's own, of which there is no list here."""
    return config.backend == "onnxruntime" and name.startswith("session.")


def batching_of_streams(config: ModelConfig) -> list[Problem]:
    """What is said about batches of a decoupled model that works on one request at a time: for a warning."""
    batching, most = config.dynamic_batching, config.max_batch_size
    found = []
    # What completion writes there is not the operator's.
    if most and list(batching.preferred_batch_size) not in ([], [most]):
        found.append("dynamic_batching.preferred_batch_size")
    if most and batching.max_queue_delay_microseconds:
        found.append("dynamic_batching.max_queue_delay_microseconds")
    return [Problem(path, f"{Support.IGNORED.value}: the model is decoupled") for path in found]


def _without_batching(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield what is said about batches of a model that has none."""
    if config.max_batch_size == 0 and config.dynamic_batching.max_queue_delay_microseconds:
        yield "dynamic_batching.max_queue_delay_microseconds", "max_batch_size is 0"


def _of_an_ensemble(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield what is for models that are executed themselves, and harmless in an ensemble."""
    if not is_ensemble(config):
        return
    if config.default_model_filename:
        yield "default_model_filename", "an ensemble has no file"
    for index, tensor in enumerate(config.input):
        if tensor.allow_ragged_batch:
            yield f"input[{index}].allow_ragged_batch", "batches are formed by the models of its steps"


def _without_cache(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield what is said about the cache of a model that has none."""
    if COALESCE_REQUESTS in config.parameters and not config.response_cache.enable:
        yield f"parameters['{COALESCE_REQUESTS}']", "response_cache.enable is not set"
