"""Programs of `torch.export` as models: one program per device, whose weights its instances share."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from kserve_v2.backend import Instance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.memory.own import copy_shared
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.tensors.datatypes import BY_NAME, Array

from .completion import raise_contradictions
from .export_archive import ExportArchive
from .export_completion import bound_inputs, bound_outputs, contradictions
from .export_program import Program, load_program
from .export_shapes import SizeRules
from .export_signature import Value
from .parameters import boolean, parameter_texts
from .torch_devices import check_device
from .torch_errors import torch_reason
from .torch_parameters import WEIGHT_SHARING, inference_mode, thread_budget
from .torch_tensors import memory_is_alone, to_numpy, to_torch
from .torch_threads import enter_instance_thread, release_gpu_memory

logger = logging.getLogger(__name__)


class ExportedModel:
    """The programs of one model version, by device."""

    def __init__(
        self, source: ModelSource, config: ModelConfig, archive: ExportArchive, *, allow_pickles: bool
    ) -> None:
        """Raises InvalidArgumentError where the file, the configuration or a device does not fit."""
        self._config = config
        self._threads = thread_budget(config, source)
        self._programs: dict[str, Program] = {}
        for device in dict.fromkeys(placement.device for placement in source.placements):
            check_device(archive.file, device)
            self._programs[device] = load_program(archive, torch.device(device), allow_pickles=allow_pickles)
        for program in self._programs.values():
            raise_contradictions(source.name, contradictions(config, program.signature, archive.file.name))
            _Caller(program, config)
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

    def instance(self, placement: Placement) -> Instance:
        """An instance that runs the program of its device, with tensors of its own for those that it writes to."""
        enter_instance_thread(self._threads)
        return ExportedInstance(self._programs[placement.device], self._config, placement.device)

    def trial_instance(self, placement: Placement) -> Instance | None:
        """An instance of its own, if the trial could change what another one holds."""
        program = self._programs[placement.device]
        return ExportedInstance(program, self._config, placement.device) if program.written else None

    def close(self) -> None:
        """Drop the programs."""
        self._programs.clear()
        release_gpu_memory()


class ExportedInstance:
    """Calls a program."""

    fresh_outputs: Literal[True] = True

    def __init__(self, program: Program, config: ModelConfig, device: str) -> None:
        caller = _Caller(program, config)
        self._module = program.module
        self._rules = caller.rules if caller.rules.checks else None
        sharing = boolean(parameter_texts(config), WEIGHT_SHARING, True)
        self._state = tuple(
            tensor.clone() if place in program.written or not sharing else tensor
            for place, tensor in enumerate(program.state)
        )
        self._call: Callable[..., Any] = partial(program.module.forward, *self._state)
        self._arguments = caller.arguments(torch.device(device))
        self._outputs = caller.outputs
        self._updates = program.updates
        self._gradient_mode = inference_mode(config)

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """Call the program without gradients, and pick the outputs from what it returns."""
        if self._rules is not None:
            self._rules.check(tensors)
        try:
            with self._gradient_mode():
                returned = self._call(
                    *[encode(tensors[name]) if name else encode for name, encode in self._arguments]
                )
                if self._updates:
                    for result, place in self._updates:
                        self._state[place].copy_(returned[result])
            outputs = {name: decode(returned[result]) for name, result, decode in self._outputs}
        except (
            RuntimeError,
            TypeError,
            ValueError,
            OverflowError,
            AssertionError,
            IndexError,
            AttributeError,
        ) as error:
            raise _run_error(error) from error
        del returned
        copy_shared(outputs, memory_is_alone)
        return outputs

    def close(self) -> None:
        """Let go of the program and its weights."""
        del self._module, self._call, self._state


class _Caller:
    """How the tensors of a configuration are the arguments and results of a program."""

    def __init__(self, program: Program, config: ModelConfig) -> None:
        self._signature = program.signature
        self._batched = config.max_batch_size > 0
        self._inputs = bound_inputs(config, program.signature)
        names = {output.name for output in config.output}
        bound = bound_outputs(config, program.signature)
        self.outputs = [
            (name, program.outputs[value.place], _decoder(value, batched=self._batched))
            for name, value in bound.items()
            if name in names
        ]
        self.rules = SizeRules(
            self._inputs, program.signature.bounds, program.signature.guards, batching=self._batched
        )

    def arguments(self, device: torch.device) -> list[tuple[str, Any]]:
        """For each argument of the program, the name of its input and what makes it of that; of a constant no name, and
        its value.
        """
        found: dict[int, tuple[str, Any]] = {
            value.place: (name, _encoder(name, value, device, batched=self._batched))
            for name, value in self._inputs.items()
        }
        found |= {constant.place: ("", constant.value) for constant in self._signature.constant_inputs}
        return [found[place] for place in range(self._signature.takes)]


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
