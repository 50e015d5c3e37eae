"""A backend without a framework: the smallest implementation of the contract, for tests of what drives
backends.

Its model file declares the tensors, one a line: `input NAME DATATYPE DIM ...`, `output NAME DATATYPE DIM
...`, and `max_batch_size N`. Output number i is a copy of input number i, so a tensor that is tagged on its
way in can be told on its way out. `on_execute` is called with the inputs of every execution, on the
instance's thread: it may block or raise.
"""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from kserve_v2_backends.completion import (
    TensorSpec,
    enable_dynamic_batching,
    fill_tensors,
    raise_contradictions,
)

from kserve_v2.backend import Instance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, Tensors

OnExecute = Callable[[Tensors], None]


class FakeBackend:
    default_filename = "model.fake"
    platform = "fake"

    def __init__(self, on_execute: OnExecute = lambda tensors: None) -> None:
        self._on_execute = on_execute

    def gpu_count(self) -> int:
        return 0

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        path = source.model_file(config)
        if not path.is_file():
            raise InvalidArgumentError(
                f"model '{source.name}': version {source.version} has no file {path.name}"
            )
        declared: dict[str, list[TensorSpec]] = {"input": [], "output": []}
        for line in path.read_text().splitlines():
            match line.split():
                case ["max_batch_size", size]:
                    config.max_batch_size = config.max_batch_size or int(size)
                case ["input" | "output" as kind, name, datatype, *dims]:
                    declared[kind].append(TensorSpec(name, datatype, tuple(map(int, dims))))
                case _:
                    raise InvalidArgumentError(f"{path.name}: cannot read '{line}'")
        problems = fill_tensors(config, "input", declared["input"], path.name)
        problems += fill_tensors(config, "output", declared["output"], path.name)
        raise_contradictions(source.name, problems)
        enable_dynamic_batching(config)

    def load(self, source: ModelSource, config: ModelConfig) -> "FakeModel":
        if not source.model_file(config).is_file():
            raise InvalidArgumentError(f"model '{source.name}' has no file {config.default_model_filename}")
        return FakeModel(config, self._on_execute)


class FakeModel:
    """Counts its open instances, so that a test can see them closed."""

    def __init__(self, config: ModelConfig, on_execute: OnExecute) -> None:
        names = zip((i.name for i in config.input), (o.name for o in config.output), strict=False)
        self.renames = dict(names)
        self.on_execute = on_execute
        self.open_instances: list[FakeInstance] = []
        self.closed = False

    def instance(self, placement: Placement) -> Instance:
        made = FakeInstance(self, placement)
        self.open_instances.append(made)
        return made

    def close(self) -> None:
        assert not self.open_instances, "a model is closed after its instances"
        assert not self.closed, "a model is closed once"
        self.closed = True


class FakeInstance:
    """Checks what the contract promises it: one thread, arrays that a framework can take."""

    def __init__(self, model: FakeModel, placement: Placement) -> None:
        self.model = model
        self.placement = placement
        self._thread = threading.get_ident()

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        assert threading.get_ident() == self._thread, "an instance belongs to one thread"
        for name, array in tensors.items():
            assert array.flags.c_contiguous, f"{name} is not C-contiguous"
            assert array.flags.aligned, f"{name} is not aligned"
        self.model.on_execute(tensors)
        return {
            output: np.array(tensors[name]) for name, output in self.model.renames.items() if name in tensors
        }

    def close(self) -> None:
        assert threading.get_ident() == self._thread, "an instance belongs to one thread"
        self.model.open_instances.remove(self)
