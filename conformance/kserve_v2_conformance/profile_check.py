"""Whether the models that a profile names are what it says they are.

A model that cannot be an `add_sub` would break cases that are no business of the server. Nothing is judged here that
a server may get wrong: what metadata do not say at all is left to the clauses about metadata.
"""

from kserve_v2_conformance.models.catalogue import BY_NAME, Behaviour
from kserve_v2_conformance.profile import ProfileError, default_name
from kserve_v2_conformance.target import ServedModel, ServedTensor, Target

_NO_NUMBERS = ("BOOL", "BYTES")


def check_models(target: Target) -> None:
    """Raise ProfileError for the first model that the server does not have, or that cannot do what it is named for."""
    for capability, name in target.profile.models.items():
        model = target.named(capability)
        where = f"the profile's {capability}"
        if model is None:
            raise ProfileError(f"{where}: the server has no model {name}, say its metadata and its readiness")
        if model.usable and (wrong := _mismatch(capability, model)):
            has = f"{name} has {_shown(model.inputs)} and returns {_shown(model.outputs)}"
            raise ProfileError(f"{where}: {wrong}; {has}")


def _mismatch(capability: str, model: ServedModel) -> str:
    """What the capability needs and the model has not, "" if it may be right."""
    datatypes = [each.datatype for each in (*model.inputs, *model.outputs)]
    numbers = len(model.inputs), len(model.outputs)
    kind, _, datatype = capability.partition(".")
    if kind == "identity":
        if numbers != (1, 1) or set(datatypes) != {datatype}:
            return f"expected one input and one output of datatype {datatype}"
        return _unequal(model)
    spec = BY_NAME[default_name(capability)]
    if numbers != (len(spec.inputs), len(spec.outputs)):
        return f"expected {len(spec.inputs)} inputs and {len(spec.outputs)} outputs"
    if spec.behaviour is Behaviour.ADD_SUB:
        numeric = len(set(datatypes)) == 1 and datatypes[0] not in _NO_NUMBERS
        return _unequal(model) if numeric else "expected numbers of one datatype"
    wanted = [each.datatype for each in (*spec.inputs, *spec.outputs)]
    return "" if datatypes == wanted else f"expected the datatypes {', '.join(wanted)}"


def _unequal(model: ServedModel) -> str:
    """What is wrong with the shapes of a model whose tensors all have one shape."""
    first, *others = (each.shape for each in (*model.inputs, *model.outputs))
    alike = all(_may_be_equal(first, each) for each in others)
    return "" if alike else "expected outputs of the shape of the inputs"


def _may_be_equal(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(shape) == len(other) and all(
        -1 in sizes or sizes[0] == sizes[1] for sizes in zip(shape, other, strict=True)
    )


def _shown(tensors: tuple[ServedTensor, ...]) -> str:
    return ", ".join(f"{each.name} {each.datatype}{list(each.shape)}" for each in tensors)
