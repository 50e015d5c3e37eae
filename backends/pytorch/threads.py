"""What torch keeps per thread or per process and a server has to set: thread counts and gradients."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from kserve_v2.backend import ThreadBudget

logger = logging.getLogger(__name__)


def enter_instance_thread(threads: ThreadBudget) -> None:
    """Prepare the calling thread for inference: `threads.intra_op` threads per operator, no gradients.

    Both settings belong to the calling thread. `set_num_threads` also sets what threads that have not used
    torch yet will start with, which does not matter here: every instance thread sets its own.
    """
    torch.set_num_threads(threads.intra_op)
    torch.set_grad_enabled(False)


@contextmanager
def as_instance_thread(threads: ThreadBudget) -> Iterator[None]:
    """Do something as an instance's thread would, on whatever thread."""
    before, gradients = torch.get_num_threads(), torch.is_grad_enabled()
    enter_instance_thread(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_grad_enabled(gradients)


def set_inter_op_threads(count: int) -> None:
    """Set the threads across operators, of which there is one pool per process: the first to ask decides."""
    if torch.get_num_interop_threads() == count:
        return
    try:
        torch.set_num_interop_threads(count)
    except RuntimeError:
        logger.warning(
            "%d inter-op threads were asked for, but torch's pool already has %d, which cannot be changed",
            count,
            torch.get_num_interop_threads(),
        )


def release_gpu_memory() -> None:
    """Give the memory of freed tensors back to the driver, so that other processes and frameworks can have
    it."""
    cuda: Any = torch.cuda  # which is only partly typed
    if cuda.is_initialized():
        cuda.empty_cache()
