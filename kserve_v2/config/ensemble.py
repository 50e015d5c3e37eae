"""Validation of `ensemble_scheduling` as it is written, without a look at its steps' models. Texts are Triton's."""

from collections.abc import Iterator

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.config.platforms import ENSEMBLE_PLATFORM
from kserve_v2.config.problems import Problem


def is_ensemble(config: ModelConfig) -> bool:
    """Whether the model is made of other models, as far as its configuration says so."""
    return config.platform == ENSEMBLE_PLATFORM or config.HasField("ensemble_scheduling")


def ensemble_problems(config: ModelConfig) -> list[Problem]:
    """What is wrong with the configuration of an ensemble; nothing for other models."""
    if not is_ensemble(config):
        return []
    problems = [*_kind_problems(config), *_excess_problems(config)]
    if not config.HasField("ensemble_scheduling"):
        return problems
    incomplete = list(_incomplete_steps(config))
    return [*problems, *(incomplete or _data_flow_problems(config))]


def _kind_problems(config: ModelConfig) -> Iterator[Problem]:
    name = config.name
    if config.platform != ENSEMBLE_PLATFORM:
        text = f"ensemble scheduling cannot be set for model '{name}' whose platform is not ensemble"
        yield Problem("ensemble_scheduling", text)
    elif config.backend or not config.HasField("ensemble_scheduling"):
        text = f"Ensemble model '{name}' must have platform type 'ensemble' and empty backend type"
        if not config.HasField("ensemble_scheduling"):
            text += ", and ensemble_scheduling with its steps"
        yield Problem("platform", text)


def _excess_problems(config: ModelConfig) -> Iterator[Problem]:
    """Yield what only a model that is executed itself can have."""
    ensemble = f"for ensemble '{config.name}'"
    if config.instance_group:
        yield Problem("instance_group", f"instance group should not be specified {ensemble}")
    if config.HasField("optimization"):
        yield Problem("optimization", f"optimization should not be specified {ensemble}")
    for name, tensors in (("input", config.input), ("output", config.output)):
        for index, tensor in enumerate(tensors):
            if tensor.HasField("reshape"):
                yield Problem(f"{name}[{index}].reshape", f"reshape can not be specified {ensemble}")
    for name in ("batch_input", "batch_output"):
        if getattr(config, name):
            yield Problem(name, f"{name} can not be specified {ensemble}: its steps' models have them")
    if config.model_warmup:
        yield Problem("model_warmup", f"model_warmup can not be specified {ensemble}")


def _incomplete_steps(config: ModelConfig) -> Iterator[Problem]:
    ensemble = f"ensemble '{config.name}'"
    if not config.ensemble_scheduling.step:
        yield Problem("ensemble_scheduling.step", f"must specify 'step' for {ensemble}")
    for number, step in enumerate(config.ensemble_scheduling.step):
        for field in ("model_name", "input_map", "output_map"):
            if not getattr(step, field):
                path = f"ensemble_scheduling.step[{number}].{field}"
                yield Problem(path, f"must specify '{field}' in step {number} of {ensemble}")
        if step.model_version < -1:
            yield Problem(
                f"ensemble_scheduling.step[{number}].model_version",
                f"must be a version, or -1 for the highest that is ready, got {step.model_version}",
            )


def _data_flow_problems(config: ModelConfig) -> Iterator[Problem]:
    name, steps = config.name, config.ensemble_scheduling.step
    inputs, outputs = {each.name for each in config.input}, {each.name for each in config.output}
    writers: dict[str, int] = {}
    for number, step in enumerate(steps):
        for tensor in sorted(step.output_map.values()):
            path = f"ensemble_scheduling.step[{number}].output_map"
            if tensor in writers:
                yield Problem(
                    path,
                    f"ensemble tensor '{tensor}' can appear in an output map only once for ensemble '{name}' step "
                    f"{number}",
                )
            elif tensor in inputs:
                yield Problem(
                    path,
                    f"ensemble tensor '{tensor}' is an input of ensemble '{name}', which no step can write",
                )
            writers.setdefault(tensor, number)
    read = {tensor for step in steps for tensor in step.input_map.values()}
    ready = _ready_tensors(config)
    for index, given in enumerate(config.input):
        if given.name not in read and given.name not in outputs:
            yield Problem(f"input[{index}]", f"ensemble input '{given.name}' for ensemble {name} is not used")
    for index, output in enumerate(config.output):
        known = output.name in read or output.name in writers or output.name in inputs
        if not known:
            yield Problem(
                f"output[{index}]", f"ensemble output '{output.name}' for ensemble {name} is not used"
            )
        elif output.name not in ready:
            yield Problem(f"output[{index}]", _not_written(config, output.name, writers, ready))
    for tensor in sorted((read | writers.keys()) - outputs):
        if tensor not in ready or tensor not in read:
            yield Problem("ensemble_scheduling", f"ensemble tensor '{tensor}' is unused in ensemble '{name}'")


def _ready_tensors(config: ModelConfig) -> set[str]:
    """The tensors that are there in the end."""
    ready = {tensor.name for tensor in config.input}
    left = list(config.ensemble_scheduling.step)
    while run := [step for step in left if ready.issuperset(step.input_map.values())]:
        ready.update(tensor for step in run for tensor in step.output_map.values())
        left = [step for step in left if step not in run]
    return ready


def _not_written(config: ModelConfig, output: str, writers: dict[str, int], ready: set[str]) -> str:
    text = f"output '{output}' for ensemble '{config.name}' is not written"
    if output in writers:
        step = config.ensemble_scheduling.step[writers[output]]
        missing = next(tensor for tensor in sorted(step.input_map.values()) if tensor not in ready)
        text += f": at least one of its depending tensors, '{missing}', is not connected"
    return text
