"""What is legal in a configuration, and perhaps not what is meant. Pure functions: nothing is looked up."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_v2.backend import ModelConfig
from kserve_v2.checking.findings import Rule
from kserve_v2.config import is_ensemble
from kserve_v2.config.latency_budget import LATENCY_BUDGET_MS
from kserve_v2.config.support import THREAD_PARAMETERS

_GUESS_BATCHING = frozenset({"onnxruntime", "pytorch"})


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that is unwise. `field`: where to change it."""

    rule: Rule
    field: str
    message: str
    instead: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the models are to be served. `gpus`: None for those that are found here."""

    cpus: int
    gpus: int | None = None


def unwise(
    config: ModelConfig, written: Sequence[str], machine: Machine, said: Sequence[str] = ()
) -> Iterator[Advice]:
    """What is unwise in a complete configuration. `written`: the paths of the fields that its author has written.
    `said`: what the server says of the model, and need not be said again.
    """
    if is_ensemble(config):
        return
    if not any("served without a batch dimension" in each for each in said):
        yield from _without_batch(config, written)
    if not any("requests are not merged" in each for each in said):
        yield from _without_batcher(config, written)
    yield from _delays(config)
    yield from _threads(config, written, machine)


def _without_batch(config: ModelConfig, written: Sequence[str]) -> Iterator[Advice]:
    """A model that could have a batch dimension, for all that its shapes say."""
    tensors: list[Any] = [*config.input, *config.output]
    if (
        config.max_batch_size == 0
        and "max_batch_size" not in written
        and config.backend in _GUESS_BATCHING
        and not config.HasField("sequence_batching")
        and config.input
        and all(list(tensor.dims[:1]) == [-1] and not tensor.HasField("reshape") for tensor in tensors)
    ):
        rest = ", ".join(str(size) for size in config.input[0].dims[1:])
        dims = f"dims: [ {rest} ]" if rest else "dims: [ 1 ] and reshape { shape: [ ] }"
        yield Advice(
            Rule.BATCHING,
            "max_batch_size",
            "is not set, so no requests are merged, although the first dimension of every tensor varies and may be the "
            "batch",
            f"max_batch_size: 8, and dims without the first dimension, {dims} for '{config.input[0].name}'; or "
            "max_batch_size: 0 if it is no batch",
        )


def _without_batcher(config: ModelConfig, written: Sequence[str]) -> Iterator[Advice]:
    most, decoupled = config.max_batch_size, config.model_transaction_policy.decoupled
    if most > 1 and config.WhichOneof("scheduling_choice") is None and not decoupled:
        yield Advice(
            Rule.BATCHING,
            "max_batch_size",
            f"is {most}, but requests are not merged: there is no dynamic_batching",
            "dynamic_batching { }",
        )
    if most == 1 and "dynamic_batching" in written:
        yield Advice(
            Rule.BATCHING,
            "dynamic_batching",
            "merges nothing: max_batch_size is 1",
            "a larger max_batch_size, or no dynamic_batching",
        )


def _delays(config: ModelConfig) -> Iterator[Advice]:
    """Sizes that are preferred, and that nothing waits for."""
    schedulers: Mapping[str, Any] = {
        "dynamic_batching": config.dynamic_batching,
        "sequence_batching.oldest": config.sequence_batching.oldest,
    }
    for path, scheduler in schedulers.items():
        sizes = list(scheduler.preferred_batch_size)
        waits = scheduler.max_queue_delay_microseconds or LATENCY_BUDGET_MS in config.parameters
        # The largest alone is what stands there if nothing is written.
        if config.max_batch_size > 1 and sizes not in ([], [config.max_batch_size]) and not waits:
            yield Advice(
                Rule.BATCHING,
                f"{path}.preferred_batch_size",
                "no request waits until a batch has one of these sizes: max_queue_delay_microseconds is 0",
                "max_queue_delay_microseconds: 500, or no preferred_batch_size",
            )


def _threads(config: ModelConfig, written: Sequence[str], machine: Machine) -> Iterator[Advice]:
    parameter = THREAD_PARAMETERS.get(config.backend)
    if parameter is None:
        return  # what the instances of a handler do, nobody knows
    groups = [
        (index, group) for index, group in enumerate(config.instance_group) if group.kind == group.KIND_CPU
    ]
    instances = sum(group.count for _, group in groups)
    text = config.parameters[parameter].string_value if parameter in config.parameters else ""
    threads = int(text) if text.isdecimal() else 0
    if threads and instances:
        # Instances of a session share its pool, of which each caller is one.
        total = threads - 1 + instances if config.backend == "onnxruntime" else threads * instances
        if total > machine.cpus:
            yield Advice(
                Rule.THREADS,
                f"parameters['{parameter}']",
                f"{instances} instance(s) with {threads} threads make {total} threads that compute, and there are "
                f"{machine.cpus} CPU(s)",
                "a smaller number, or none: the CPUs are divided among the instances",
            )
    elif instances > machine.cpus and (path := f"instance_group[{groups[-1][0]}].count") in written:
        yield Advice(
            Rule.THREADS,
            path,
            f"{instances} instances compute at the same time, and there are {machine.cpus} CPU(s)",
            f"count: {machine.cpus}, or fewer",
        )


def hidden_versions(
    served: Sequence[int], empty: Sequence[int], available: Sequence[int]
) -> Iterator[Advice]:
    """Versions that are not served because an empty one is. `served`: by the policy; `empty`: without a file."""
    others = [version for version in available if version not in empty]
    if served and set(served) <= set(empty) and others:
        shown = ", ".join(map(str, served))
        yield Advice(
            Rule.VERSIONS,
            "version_policy",
            f"version {shown}, which has no model, is served in the place of version {max(others)}, which has one",
            f"put the model into {shown}/, or remove the directory",
        )
