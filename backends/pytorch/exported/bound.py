"""A program of `torch.export` as a module that holds its weights: for what acts on modules, such as torch.compile."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from kserve_v2.backend import ModelConfig, ThreadBudget

from ..examples import examples_of_config
from ..optimize import Example, optimize
from ..options import TorchOptions, warm_up_sizes
from ..threads import as_instance_thread
from .program import Program
from .signature import Value


class BoundProgram(nn.Module):
    """Called with the inputs of the program; it returns a tuple of results."""

    def __init__(self, program: Program, state: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.graph = program.module
        self.names = [f"state_{place}" for place in range(len(state))]
        for name, tensor in zip(self.names, state, strict=True):
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)

    def forward(self, *inputs: Any) -> Any:
        """Run the program."""
        return self.graph(*[getattr(self, name) for name in self.names], *inputs)

    @property
    def state(self) -> tuple[torch.Tensor, ...]:
        """What it holds, in order."""
        return tuple(getattr(self, name) for name in self.names)


def optimized(
    bound: BoundProgram,
    options: TorchOptions,
    config: ModelConfig,
    device: str,
    threads: ThreadBudget,
    examples: Callable[[], Sequence[Example]],
) -> Callable[..., Any]:
    """The program as the options want it run, compiled before this returns. `threads`: what it is executed with.

    Raises InvalidArgumentError where it cannot be.
    """
    called = optimize(bound, options, device=device, model=config.name)
    if options.compile:
        with as_instance_thread(threads):
            called.warm_up(examples())
    return called


def examples_of(
    config: ModelConfig,
    options: TorchOptions,
    device: str,
    inputs: Mapping[str, Value],
    constants: Mapping[int, Any],
) -> list[Example]:
    """Made-up arguments of a program, for each size of batch that it is to be compiled for. `inputs`: by the names that
    the configuration gives them. `constants`: the arguments that are none, by their places.
    """
    places = {value.place: name for name, value in inputs.items()}
    made = []
    for example in examples_of_config(config, warm_up_sizes(config, options), device):
        tensors = {tensor.name: index for index, tensor in enumerate(config.input)}
        arguments: list[Any] = []
        varying = []
        for place in range(len(places) + len(constants)):
            if place in constants:
                arguments.append(constants[place])
                continue
            index, value = tensors[places[place]], inputs[places[place]]
            tensor = example.args[index]
            if value.number:
                arguments.append(tensor.reshape(-1)[0].item())
            else:
                arguments.append(tensor if value.sizes else tensor.reshape(()))
                varying.append(example.varying[index] if value.sizes else frozenset())
        made.append(Example(tuple(arguments), {}, varying, example.title))
    return made
