"""The parameters of the `pytorch` backend that all of its models have, named as in Triton's. To check them takes no
torch.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from kserve_v2.backend import ModelConfig, ModelSource, ThreadBudget
from kserve_v2.errors import InvalidArgumentError

from ..parameters import MAX_THREADS, boolean, integer, parameter_texts
from .options import NO_SCRIPT, read_options

WEIGHT_SHARING = "ENABLE_WEIGHT_SHARING"
"""The parameter that says whether the instances on a device share their weights."""


def check_parameters(config: ModelConfig) -> None:
    """Raise InvalidArgumentError for parameters that are wrong, which is found out before any file is opened."""
    parameters = parameter_texts(config)
    for key in ("INTRA_OP_THREAD_COUNT", "INTER_OP_THREAD_COUNT"):
        integer(parameters, key, 0, most=MAX_THREADS)
    for key in (WEIGHT_SHARING, "INFERENCE_MODE", "DISABLE_OPTIMIZED_EXECUTION"):
        boolean(parameters, key, False)
    read_options(parameters, config.max_batch_size)


def check_script_parameters(config: ModelConfig) -> None:
    """The same for a TorchScript archive."""
    check_parameters(config)
    if read_options(parameter_texts(config), config.max_batch_size).compile:
        raise InvalidArgumentError(NO_SCRIPT)


def thread_budget(config: ModelConfig, source: ModelSource) -> ThreadBudget:
    """How many threads an instance may use. The pool of those across operators is set with it."""
    parameters = parameter_texts(config)
    intra_op = integer(parameters, "INTRA_OP_THREAD_COUNT", 0) or source.threads.intra_op
    inter_op = integer(parameters, "INTER_OP_THREAD_COUNT", 0) or source.threads.inter_op
    from .threads import set_inter_op_threads  # noqa: PLC0415 - it imports torch

    set_inter_op_threads(inter_op)
    return ThreadBudget(intra_op, inter_op)


def inference_mode(config: ModelConfig) -> Callable[[], AbstractContextManager[None]]:
    """What to run the model in, so that nothing is remembered for gradients."""
    import torch  # noqa: PLC0415 - see above

    return torch.inference_mode if boolean(parameter_texts(config), "INFERENCE_MODE", True) else torch.no_grad
