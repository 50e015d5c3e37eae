"""Programs of `torch.export` as models: one program per device, whose weights its instances share."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from kserve_v2.backend import Instance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.memory.own import copy_shared
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.tensors.datatypes import BY_NAME, Array

from ...completion import raise_contradictions
from ...parameters import boolean, parameter_texts
from ..devices import check_device
from ..errors import torch_reason
from ..optimize import Example
from ..options import TorchOptions, read_options
from ..parameters import WEIGHT_SHARING, inference_mode, thread_budget
from ..tensors import memory_is_alone, to_numpy, to_torch
from ..threads import enter_instance_thread, release_gpu_memory
from .archive import ExportArchive
from .bound import BoundProgram, examples_of, optimized
from .completion import bound_inputs, bound_outputs, contradictions
from .program import Program, load_program
from .shapes import SizeRules
from .signature import Value

logger = logging.getLogger(__name__)


class ExportedModel:
    """The programs of one model version, by device."""

    adds_instances: Literal[True] = True

    def __init__(
        self, source: ModelSource, config: ModelConfig, archive: ExportArchive, *, allow_pickles: bool
    ) -> None:
        """Raises InvalidArgumentError where the file, the configuration or a device does not fit."""
        parameters = parameter_texts(config)
        self._config = config
        self._sharing = boolean(parameters, WEIGHT_SHARING, True)
        self._options = read_options(parameters, config.max_batch_size)
        self._threads = thread_budget(config, source)
        self._copies = Counter(placement.device for placement in source.placements)
        self._programs: dict[str, Program] = {}
        self._bindings: dict[str, _Binding] = {}
        for device in dict.fromkeys(placement.device for placement in source.placements):
            check_device(archive.file, device)
            program = load_program(archive, torch.device(device), allow_pickles=allow_pickles)
            raise_contradictions(source.name, contradictions(config, program.signature, archive.file.name))
            self._programs[device] = program
            self._bindings[device] = _Binding(program, config, torch.device(device))
        self._shared = {
            device: self._runner(device)
            for device, program in self._programs.items()
            if self._sharing and not program.written
        }
        self._report(source)

    def _report(self, source: ModelSource) -> None:
        program = next(iter(self._programs.values()))
        if program.signature.writes:
            logger.warning(
                "model '%s': the program writes to '%s' while it runs, so an answer depends on the requests that the "
                "same instance has had before; if that is not meant, call eval() before exporting it",
                source.name,
                "', '".join(sorted(program.signature.writes.values())[:3]),
            )
        logger.info(
            "model '%s': torch.export program on %s, intra-op threads %d per instance",
            source.name,
            ", ".join(sorted(self._programs)),
            self._threads.intra_op,
        )

    def _runner(self, device: str) -> "_Runner":
        """The program with its weights: copies of those that are not shared."""
        program = self._programs[device]
        state = tuple(
            tensor.clone() if place in program.written or not self._sharing else tensor
            for place, tensor in enumerate(program.state)
        )
        options = self._options
        if not (options.compile or options.autocast or options.channels_last):
            return _Runner(program, partial(program.module.forward, *state), state)
        bound = BoundProgram(program, state)
        examples = partial(self._bindings[device].examples, options)
        called = optimized(bound, options, self._config, device, self._threads, examples)
        return _Runner(program, called, bound.state)

    @property
    def keeps_nothing(self) -> bool:
        """Whether the programs leave their parameters and buffers as they are."""
        return not any(program.written for program in self._programs.values())

    def instance(self, placement: Placement) -> Instance:
        """An instance that runs the program of its device, with tensors of its own for those that it writes to."""
        enter_instance_thread(self._threads)
        return self._instance(placement.device)

    def trial_instance(self, placement: Placement) -> Instance | None:
        """An instance of its own, if the trial could change what another one holds."""
        return self._instance(placement.device) if self._programs[placement.device].written else None

    def _instance(self, device: str) -> Instance:
        runner = self._shared.get(device) or self._runner(device)
        return ExportedInstance(runner, self._bindings[device], self._config)

    def memory(self) -> Mapping[str, int]:
        """Weights, also those that instances have of their own, and what is compiled not at all."""
        sizes: dict[str, int] = {}
        for device, program in dict(self._programs).items():
            whole = sum(tensor.nbytes for tensor in program.state if isinstance(tensor, torch.Tensor))
            own = (
                whole if not self._sharing else sum(program.state[place].nbytes for place in program.written)
            )
            sizes[device] = whole + own * self._copies[device]
        return sizes

    def close(self) -> None:
        """Drop the programs."""
        self._programs.clear()
        self._bindings.clear()
        self._shared.clear()
        release_gpu_memory()


@dataclass(frozen=True, slots=True)
class _Runner:
    """A program that is ready to be called with its inputs, and the tensors that it holds."""

    program: Program
    call: Callable[..., Any]
    state: tuple[torch.Tensor, ...]


class ExportedInstance:
    """Calls a program."""

    fresh_outputs: Literal[True] = True

    def __init__(self, runner: _Runner, binding: "_Binding", config: ModelConfig) -> None:
        self._module = runner.program.module
        self._call = runner.call
        self._state = runner.state
        self._updates = runner.program.updates
        self._rules = binding.rules if binding.rules.checks else None
        self._arguments = binding.arguments
        self._outputs = binding.outputs
        self._gradient_mode = inference_mode(config)

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """Call the program without gradients, and pick the outputs from what it returns."""
        if self._rules is not None:
            self._rules.check(tensors)
        try:
            with self._gradient_mode():
                returned = self._call(
                    *[made(tensors[name]) if name else made for name, made in self._arguments]
                )
                if self._updates:
                    self._update(returned)
            outputs = {name: decode(returned[result]) for name, result, decode in self._outputs}
        except _FAILURES as error:
            raise _run_error(error) from error
        del returned
        copy_shared(outputs, memory_is_alone)
        return outputs

    def _update(self, returned: Sequence[Any]) -> None:
        """Keep the new values of what the program holds, which it has returned."""
        for result, place in self._updates:
            self._state[place].copy_(returned[result])

    def close(self) -> None:
        """Let go of the program and its weights."""
        del self._module, self._call, self._state


_FAILURES = (
    RuntimeError, TypeError, ValueError, OverflowError, AssertionError, IndexError, AttributeError,
)  # fmt: skip


class _Binding:
    """How the tensors of a configuration are the arguments and results of a program on one device. `arguments`: for
    each argument the name of its input, and what makes it of that; of a constant no name, and its value. `outputs`:
    the name of each, its place among the results, and what makes an array of it.
    """

    def __init__(self, program: Program, config: ModelConfig, device: torch.device) -> None:
        """Raises InvalidArgumentError where the program demands of its inputs what cannot be checked."""
        signature, batched = program.signature, config.max_batch_size > 0
        self._config = config
        self._device = device
        self._inputs = bound_inputs(config, signature)
        self._constants = {constant.place: constant.value for constant in signature.constant_inputs}
        self.rules = SizeRules(self._inputs, signature.bounds, signature.guards, batching=batched)
        made: dict[int, tuple[str, Any]] = {
            value.place: (name, _encoder(name, value, device, batched=batched))
            for name, value in self._inputs.items()
        }
        made |= {place: ("", value) for place, value in self._constants.items()}
        self.arguments = [made[place] for place in range(signature.takes)]
        names = {output.name for output in config.output}
        self.outputs = [
            (name, program.outputs[value.place], _decoder(value, batched=batched))
            for name, value in bound_outputs(config, signature).items()
            if name in names
        ]

    def examples(self, options: TorchOptions) -> list[Example]:
        """Made-up arguments to compile the program for."""
        return examples_of(self._config, options, str(self._device), self._inputs, self._constants)


def _encoder(name: str, value: Value, device: torch.device, *, batched: bool) -> Callable[[Array], Any]:
    if value.number:
        return partial(_number, name, batched)
    if not value.sizes:
        return lambda array: to_torch(array.reshape(()), device)
    return partial(to_torch, device=device)


def _number(name: str, batched: bool, array: Array) -> Any:
    if batched and not all(np.array_equal(array[0], row) for row in array[1:]):
        raise InvalidArgumentError(
            f"input '{name}' is one number for all rows of a request: expected equal rows, got different ones"
        )
    if not array.size:
        raise InvalidArgumentError(f"input '{name}' is one number: expected 1 element, got 0")
    return array.flat[0].item()


def _decoder(value: Value, *, batched: bool) -> Callable[[Any], Array]:
    if value.number:
        dtype = BY_NAME[value.datatype].dtype
        return lambda number: np.array([number], dtype)
    if not value.sizes and not batched:
        return lambda tensor: to_numpy(tensor.reshape(1))
    return to_numpy


def _run_error(error: Exception) -> Exception:
    """What the program asserts about values is about the request's."""
    reason = torch_reason(error)
    if reason.startswith("Runtime assertion failed"):
        return InvalidArgumentError(f"the inputs have values that the program refuses: {reason}")
    return InternalError(f"forward failed: {reason}")
