"""Which GPUs a model's process sees: those of its instances alone, chosen before it imports what looks for them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kserve_v2.backend import Placement

VISIBLE = "CUDA_VISIBLE_DEVICES"

_GPUS = Path("/proc/driver/nvidia/gpus")


def devices_of(placements: Sequence[Placement]) -> tuple[int, ...]:
    """The GPUs of these instances, in the order in which their process counts them."""
    return tuple(dict.fromkeys(each.device_id for each in placements if each.kind == "GPU"))


def inside(placement: Placement, devices: Sequence[int]) -> Placement:
    """The same placement as the process sees it."""
    if placement.kind != "GPU":
        return placement
    return replace(placement, device_id=devices.index(placement.device_id))


def environment_of(devices: Sequence[int], environment: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The variables of a process that is to see these GPUs. `environment`: those that it has otherwise, None for the
    server's. Without a GPU nothing is hidden: a model may look for one itself, wherever its instances are placed.
    """
    if not devices:
        return environment
    variables = dict(os.environ if environment is None else environment)
    seen = _listed(variables.get(VISIBLE))
    names = [str(each) if seen is None else seen[each] for each in devices]
    return {**variables, VISIBLE: ",".join(names)}


def gpu_count(gpus: Path = _GPUS, visible: str | None = None) -> int:
    """How many GPUs the server's processes see, by the driver's files: to ask the driver would be to initialize it
    here. `visible`: in place of the server's variable.
    """
    try:
        there = len(list(gpus.iterdir()))
    except OSError:
        return 0
    seen = _listed(os.environ.get(VISIBLE) if visible is None else visible)
    if seen is None:
        return there
    count = 0
    for name in seen:
        # What follows a number that there is not is not seen, either.
        if name.isdecimal() and int(name) >= there:
            break
        count += 1
    return count


def _listed(visible: str | None) -> list[str] | None:
    """The GPUs that a variable names; None if it names none of them, and so all are seen."""
    if visible is None:
        return None
    names: list[str] = []
    for name in map(str.strip, visible.split(",")):
        # As CUDA reads it: up to the first that is none.
        if not name or name.startswith("-"):
            break
        names.append(name)
    return names
