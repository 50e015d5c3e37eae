"""Whether the steps of an ensemble fit together, as far as the models say that answer now. Texts are Triton's."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kserve_v2.errors import shape_text
from kserve_v2.scheduling.calling.caller import Callee
from kserve_v2.scheduling.ensemble.graph import Graph
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one model says of a tensor."""

    model: str
    tensor: TensorSignature
    batched: bool

    @property
    def full_dims(self) -> tuple[int, ...]:
        return ((-1,) if self.batched else ()) + self.tensor.dims


def check_steps(graph: Graph, signature: ModelSignature, callees: Sequence[Callee]) -> list[str]:
    """All that is wrong between an ensemble of that `signature` and the models of its steps."""
    name, batched = signature.model_name, signature.max_batch_size > 0
    prefix = f"in ensemble {name},"
    seen = {
        tensor: _Seen(name, known, batched)
        for tensor, known in {**signature.inputs, **signature.outputs}.items()
    }
    problems: list[str] = []
    for step, callee in zip(graph.steps, callees, strict=True):
        of_model, model = callee.signature, callee.name
        if 0 < of_model.max_batch_size < signature.max_batch_size:
            problems.append(
                f"ensemble {name} allows maximum batch size {signature.max_batch_size}, but it contains model {model} "
                f"which only allows maximum batch size to be {of_model.max_batch_size}"
            )
        problems += _unmapped(prefix, model, step.inputs, of_model)
        for way, mapping, tensors in (
            ("to non-existing input", step.inputs, of_model.inputs),
            ("from non-existing output", step.outputs, of_model.outputs),
        ):
            for own, tensor in mapping.items():
                if own not in tensors:
                    verb = "mapping" if way.startswith("to") else "mapped"
                    problems.append(
                        f"{prefix} ensemble tensor {tensor} is {verb} {way} {own} in model {model}"
                    )
                    continue
                new = _Seen(model, tensors[own], of_model.max_batch_size > 0)
                problems += _contradictions(prefix, tensor, seen.setdefault(tensor, new), new)
    return problems


def no_loaded_version(name: str, model: str, why: str) -> str:
    """Why an ensemble cannot be: a step's model does not answer. `why`: what it says itself; "" for nothing."""
    text = f"ensemble '{name}' depends on '{model}' which has no loaded version"
    return f"{text}. Model '{model}' loading failed with error: {why};" if why else text


def required_version(name: str, model: str, version: object) -> str:
    """Why an ensemble cannot be: a step's model answers, but not this version."""
    return f"ensemble '{name}' depends on '{model}' whose required version {version} is not loaded"


def unknown_models(name: str, models: Sequence[str], known: Collection[str]) -> str:
    """Why an ensemble cannot be: nobody knows the models of some of its steps. `known`: those that there are."""
    others = [each for each in known if each != name]
    names = ", ".join(f"{model}{_hint(model, others)}" for model in dict.fromkeys(models))
    return f"ensemble {name} contains models that are not available or ambiguous: {names}"


def _hint(model: str, known: Collection[str]) -> str:
    alike = difflib.get_close_matches(model, known, n=1)
    # Of an ambiguous one, the name is right.
    return f" (did you mean {alike[0]}?)" if alike and model not in known else ""


def _unmapped(prefix: str, model: str, mapped: Mapping[str, str], signature: ModelSignature) -> Iterator[str]:
    for tensor in signature.inputs.values():
        if not tensor.optional and tensor.name not in mapped:
            yield f"{prefix} input {tensor.name} in model {model} is not mapped to any ensemble tensors"


def _contradictions(prefix: str, tensor: str, first: _Seen, other: _Seen) -> Iterator[str]:
    left, right = first.tensor, other.tensor
    start = f"{prefix} ensemble tensor {tensor}: inconsistent"
    if left.datatype is not right.datatype:
        yield (
            f"{start} data type: {left.datatype.config_name} is inferred from model {first.model} while "
            f"{right.datatype.config_name} is inferred from model {other.model}"
        )
    if not (_fit(left.dims, right.dims) or _fit(first.full_dims, other.full_dims)):
        yield (
            f"{start} shape: {shape_text(left.dims)} is inferred from model {first.model} while "
            f"{shape_text(right.dims)} is inferred from model {other.model}"
        )


def _fit(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return len(left) == len(right) and all(a == b or -1 in (a, b) for a, b in zip(left, right, strict=True))
