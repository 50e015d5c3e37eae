"""What the configuration says of how a torch module is to be run: parameters that the `pytorch` backend acts on, and,
for handlers, `context.prepare`. Read without torch.

    compile              false (default), default, reduce-overhead or max-autotune: the modes of torch.compile
    compile_batch_sizes  those that are run once at load, such as 1,8,32; chosen by the server if it is not given
    autocast             false (default), bf16 or fp16: the datatype that torch.autocast computes in
    memory_format        contiguous (default) or channels_last: how weights and images lie in memory
    INFERENCE_MODE       true (default) or false: torch.inference_mode, or torch.no_grad
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import ConfigurationError

from ..parameters import boolean

COMPILE = "compile"
BATCH_SIZES = "compile_batch_sizes"
AUTOCAST = "autocast"
MEMORY_FORMAT = "memory_format"
INFERENCE_MODE = "INFERENCE_MODE"

NO_SCRIPT = (
    f"parameters['{COMPILE}']: torch.compile does not take TorchScript; remove the parameter, or export the model with "
    "torch.export.export, as model.pt2"
)

NAMES = (COMPILE, BATCH_SIZES, AUTOCAST, MEMORY_FORMAT, INFERENCE_MODE)

_FALSE = "false"
_CHOICES = {
    COMPILE: (_FALSE, "default", "reduce-overhead", "max-autotune"),
    AUTOCAST: (_FALSE, "bf16", "fp16"),
    MEMORY_FORMAT: ("contiguous", "channels_last"),
}


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """How a module is run. `compile`: a mode of torch.compile, "" for none. `batch_sizes`: those to compile for; () if
    nobody has named any. `autocast`: "bf16", "fp16", or "" for none.
    """

    compile: str = ""
    batch_sizes: tuple[int, ...] = ()
    autocast: str = ""
    channels_last: bool = False
    inference_mode: bool = True


def read_options(parameters: Mapping[str, str], max_batch_size: int = 0) -> TorchOptions:
    """The options that these parameters name. Raises ConfigurationError for values that they cannot have."""
    mode = _choice(parameters, COMPILE)
    sizes = _batch_sizes(parameters, max_batch_size)
    if sizes and not mode:
        raise ConfigurationError(
            f"parameters['{BATCH_SIZES}']: nothing is compiled: set parameters['{COMPILE}'], too"
        )
    return TorchOptions(
        compile=mode,
        batch_sizes=sizes,
        autocast=_choice(parameters, AUTOCAST),
        channels_last=_choice(parameters, MEMORY_FORMAT) == "channels_last",
        inference_mode=boolean(parameters, INFERENCE_MODE, True),
    )


def warm_up_sizes(config: ModelConfig, options: TorchOptions) -> tuple[int, ...]:
    """The numbers of rows that a compiled module is run with at load, the largest first, which the code is made for:
    those that are named, or else one row, the largest batch, and between them the batcher's preferred sizes, or else
    the powers of two. () for a model without a batch dimension.
    """
    most = config.max_batch_size
    if most == 0:
        return ()
    if options.batch_sizes:
        return options.batch_sizes[::-1]
    preferred: Sequence[int] = config.dynamic_batching.preferred_batch_size
    # Without a batcher, or with what completion has written there, which is the largest alone.
    chosen = preferred if [each for each in preferred if each != most] else _powers_of_two(most)
    return tuple(sorted({1, *chosen, most}, reverse=True))


def misspelt(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters that look like one of these, with the name that may be meant."""
    found = {}
    for name in parameters:
        if name not in NAMES and (close := difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.8)):
            found[name] = close[0]
    return found


def _choice(parameters: Mapping[str, str], key: str) -> str:
    """The value of a parameter, "" for what is the same as none."""
    choices = _CHOICES[key]
    value = parameters.get(key, choices[0])
    if value not in choices:
        raise ConfigurationError(f"parameters['{key}']: expected one of {', '.join(choices)}, got '{value}'")
    return "" if value == choices[0] else value


def _batch_sizes(parameters: Mapping[str, str], most: int) -> tuple[int, ...]:
    text = parameters.get(BATCH_SIZES)
    if text is None:
        return ()
    pieces = [piece.strip() for piece in text.split(",")]
    if not all(piece.isascii() and piece.isdecimal() and 1 <= int(piece) <= most for piece in pieces):
        raise ConfigurationError(
            f"parameters['{BATCH_SIZES}']: expected numbers of rows from 1 to max_batch_size ({most}), separated by "
            f"commas, got '{text}'"
        )
    return tuple(sorted(set(map(int, pieces))))


def _powers_of_two(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length()) if 2**power <= most]
