"""The test models, as data: what they are called, what they take and return, and what they do.

The suite's cases and the writers for the servers both read this file, so they cannot disagree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

DATATYPES = (
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
)  # fmt: skip

BROKEN = "broken"
"""The model that cannot be loaded. A server may well refuse to start where it is one of many."""


class Behaviour(Enum):
    """What a model does with its inputs. Writers have one piece of code for each."""

    IDENTITY = "Output number n is input number n, unchanged."
    ADD_SUB = "OUTPUT0 is INPUT0 + INPUT1, OUTPUT1 is INPUT0 - INPUT1, element by element."
    ADD_VERSION = "OUTPUT0 is INPUT0 + 100 times the number of the version that ran."
    ADD_OPTIONAL = "OUTPUT0 is INPUT0 + INPUT1, or INPUT0 where the optional INPUT1 was not sent."
    LENGTH = "OUTPUT0 holds the number of bytes of each element of INPUT0."
    CONCATENATE = "OUTPUT0 holds the bytes of INPUT0 followed by those of INPUT1, element by element."
    ECHO_PARAMETERS = (
        "OUTPUT0 is the JSON object of the request's own parameters, its keys sorted, without spaces. INPUT0 is "
        "ignored."
    )
    ANSWER_PARAMETERS = (
        "OUTPUT0 is INPUT0; the response has the parameters answer_text, `as told`, answer_count, 3, and "
        "answer_flag, true."
    )
    FAIL = "Every request is answered with an error whose text contains `told to fail`."
    WAIT = "Waits as many milliseconds as INPUT0 says, then answers with INPUT0."
    REPEAT = "COUNT responses; OUTPUT0 of each is INPUT0, and INDEX counts the responses from 0."
    REPEAT_TEXT = "As many responses as `count` says; text_output of each is text_input."
    FAIL_TEXT = "As REPEAT_TEXT, and then an error whose text contains `told to fail`."
    UPPER = "text_output is text_input in upper case (ASCII letters only)."
    ACCUMULATE = "OUTPUT0 is the sum of INPUT0 over the requests of the sequence so far."
    BROKEN = "Cannot be loaded: its initialization fails with the text `told not to load`."


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. `dims`: without the batch dimension, -1 where it varies."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How requests wait for a model; times in microseconds.

    A request waits at most `default_timeout_us`; a request's own `timeout` may only shorten that. Priority 1 is the
    highest of `priority_levels`, and `default_priority_level` is that of a request that names none; both are 0 where
    there are no priorities.
    """

    default_timeout_us: int
    max_queue_size: int
    priority_levels: int = 0
    default_priority_level: int = 0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One test model.

    `max_batch_size`: 0 where its tensors have no batch dimension; otherwise requests have it in front of the dims.
    `versions`: all are to be served; the highest answers a request that names none. `labels`: of the classes of
    OUTPUT0. `loaded_at_start`: False for models that only requests to load them concern.
    """

    name: str
    behaviour: Behaviour
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = 0
    versions: tuple[int, ...] = (1,)
    labels: tuple[str, ...] = ()
    queue_policy: QueuePolicy | None = None
    loaded_at_start: bool = True

    @property
    def decoupled(self) -> bool:
        """Whether a request may have any number of responses."""
        return self.behaviour in (Behaviour.REPEAT, Behaviour.REPEAT_TEXT, Behaviour.FAIL_TEXT)

    @property
    def sequential(self) -> bool:
        """Whether its requests belong to sequences."""
        return self.behaviour is Behaviour.ACCUMULATE


def _identity(
    name: str,
    datatype: str,
    dims: tuple[int, ...],
    *,
    max_batch_size: int = 0,
    labels: tuple[str, ...] = (),
    loaded_at_start: bool = True,
) -> ModelSpec:
    """An identity of one tensor."""
    return ModelSpec(
        name,
        Behaviour.IDENTITY,
        (TensorSpec("INPUT0", datatype, dims),),
        (TensorSpec("OUTPUT0", datatype, dims),),
        max_batch_size=max_batch_size,
        labels=labels,
        loaded_at_start=loaded_at_start,
    )


def _add_sub(name: str, datatype: str, dims: tuple[int, ...], max_batch_size: int = 0) -> ModelSpec:
    """Two inputs and two outputs of one datatype and shape."""
    inputs = tuple(TensorSpec(f"INPUT{n}", datatype, dims) for n in range(2))
    outputs = tuple(TensorSpec(f"OUTPUT{n}", datatype, dims) for n in range(2))
    return ModelSpec(name, Behaviour.ADD_SUB, inputs, outputs, max_batch_size)


_MIXED = (("INT64", (-1,)), ("FP32", (2, 2)), ("BYTES", (-1,)), ("BOOL", (1,)))


def _models() -> Iterator[ModelSpec]:
    for datatype in DATATYPES:
        yield _identity(f"identity_{datatype.lower()}", datatype, (-1,))
    yield _identity("identity_fixed", "FP32", (2, 3))
    yield _identity("identity_matrix", "FP32", (-1, -1))
    yield _identity("identity_batched", "FP32", (3,), max_batch_size=8)
    yield _identity("identity_batched_variable", "INT32", (-1,), max_batch_size=8)
    yield _identity("identity_batched_bytes", "BYTES", (-1,), max_batch_size=8)
    yield ModelSpec(
        "identity_mixed",
        Behaviour.IDENTITY,
        tuple(TensorSpec(f"INPUT{n}", *each) for n, each in enumerate(_MIXED)),
        tuple(TensorSpec(f"OUTPUT{n}", *each) for n, each in enumerate(_MIXED)),
    )
    yield _add_sub("add_sub", "INT32", (4,))
    yield _add_sub("add_sub_fp32", "FP32", (-1,))
    yield _add_sub("add_sub_batched", "INT32", (4,), max_batch_size=8)
    integer, number = ("INT32", (1,)), ("FP32", (-1,))
    text = ("BYTES", (-1,))
    yield ModelSpec(
        "versions",
        Behaviour.ADD_VERSION,
        (TensorSpec("INPUT0", *integer),),
        (TensorSpec("OUTPUT0", *integer),),
        versions=(1, 2, 3),
    )
    yield ModelSpec(
        "optional_input",
        Behaviour.ADD_OPTIONAL,
        (TensorSpec("INPUT0", *number), TensorSpec("INPUT1", *number, optional=True)),
        (TensorSpec("OUTPUT0", *number),),
    )
    yield ModelSpec(
        "string_length",
        Behaviour.LENGTH,
        (TensorSpec("INPUT0", *text),),
        (TensorSpec("OUTPUT0", "INT32", (-1,)),),
    )
    yield ModelSpec(
        "string_concatenate",
        Behaviour.CONCATENATE,
        (TensorSpec("INPUT0", *text), TensorSpec("INPUT1", *text)),
        (TensorSpec("OUTPUT0", *text),),
    )
    yield ModelSpec(
        "echo_parameters",
        Behaviour.ECHO_PARAMETERS,
        (TensorSpec("INPUT0", *integer),),
        (TensorSpec("OUTPUT0", "BYTES", (1,)),),
    )
    yield ModelSpec(
        "answer_parameters",
        Behaviour.ANSWER_PARAMETERS,
        (TensorSpec("INPUT0", *integer),),
        (TensorSpec("OUTPUT0", *integer),),
    )
    yield ModelSpec(
        "failing", Behaviour.FAIL, (TensorSpec("INPUT0", *number),), (TensorSpec("OUTPUT0", *number),)
    )
    yield ModelSpec(
        "slow", Behaviour.WAIT, (TensorSpec("INPUT0", *integer),), (TensorSpec("OUTPUT0", *integer),)
    )
    yield ModelSpec(
        "queued",
        Behaviour.WAIT,
        (TensorSpec("INPUT0", *integer),),
        (TensorSpec("OUTPUT0", *integer),),
        max_batch_size=1,
        queue_policy=QueuePolicy(default_timeout_us=30_000_000, max_queue_size=8),
    )
    yield ModelSpec(
        "prioritized",
        Behaviour.WAIT,
        (TensorSpec("INPUT0", *integer),),
        (TensorSpec("OUTPUT0", *integer),),
        max_batch_size=1,
        queue_policy=QueuePolicy(
            default_timeout_us=30_000_000, max_queue_size=8, priority_levels=2, default_priority_level=2
        ),
    )
    yield ModelSpec(
        "repeat",
        Behaviour.REPEAT,
        (TensorSpec("INPUT0", *integer), TensorSpec("COUNT", *integer)),
        (TensorSpec("OUTPUT0", *integer), TensorSpec("INDEX", *integer)),
    )
    one_text = ("BYTES", (1,))
    yield ModelSpec(
        "generate_text",
        Behaviour.UPPER,
        (TensorSpec("text_input", *one_text),),
        (TensorSpec("text_output", *one_text),),
    )
    yield ModelSpec(
        "generate_tokens",
        Behaviour.REPEAT_TEXT,
        (TensorSpec("text_input", *one_text), TensorSpec("count", *integer)),
        (TensorSpec("text_output", *one_text),),
    )
    yield ModelSpec(
        "generate_failing",
        Behaviour.FAIL_TEXT,
        (TensorSpec("text_input", *one_text), TensorSpec("count", *integer)),
        (TensorSpec("text_output", *one_text),),
    )
    yield ModelSpec(
        "sequence_sum",
        Behaviour.ACCUMULATE,
        (TensorSpec("INPUT0", *integer),),
        (TensorSpec("OUTPUT0", *integer),),
        max_batch_size=8,
    )
    labels = ("cat", "dog", "bird", "fish")
    yield _identity("classes", "FP32", (4,), labels=labels)
    yield _identity("classes_batched", "FP32", (4,), labels=labels, max_batch_size=8)
    yield _identity("loadable", "INT32", (1,), loaded_at_start=False)
    yield ModelSpec(
        BROKEN,
        Behaviour.BROKEN,
        (TensorSpec("INPUT0", *number),),
        (TensorSpec("OUTPUT0", *number),),
        loaded_at_start=False,
    )


CATALOGUE: tuple[ModelSpec, ...] = tuple(_models())
BY_NAME: dict[str, ModelSpec] = {model.name: model for model in CATALOGUE}
