"""The module that models import as `triton_python_backend_utils`; each model has its own."""

from __future__ import annotations

import enum
import json
import struct
import types
from typing import Any

import numpy as np

from . import datatypes, exchange, functions, request
from .context import CurrentContext, ModelContext
from .errors import TritonError, TritonModelException
from .model_config import ModelConfig
from .response import InferenceResponse
from .tensor import Tensor

NAME = "triton_python_backend_utils"
C_NAME = "c_python_backend_utils"
"""Some models import from the module that Triton's own imports from."""


class MemoryType(enum.IntEnum):
    """Where a model would like to have tensors."""

    TRITONSERVER_MEMORY_CPU = 0
    TRITONSERVER_MEMORY_GPU = 1


class PreferredMemory:
    """Where a model would like to have the tensors of an answer. It gets them in the CPU's memory."""

    def __init__(self, preferred_memory_type: MemoryType, preferred_device_id: int = 0) -> None:
        self.preferred_memory_type = preferred_memory_type
        self.preferred_device_id = preferred_device_id


# The same for all models.
_SHARED: dict[str, Any] = {
    "np": np,
    "json": json,
    "struct": struct,
    "InferenceResponse": InferenceResponse,
    "Tensor": Tensor,
    "TritonError": TritonError,
    "TritonModelException": TritonModelException,
    "ModelConfig": ModelConfig,
    "PreferredMemory": PreferredMemory,
    "TRITONSERVER_MEMORY_CPU": MemoryType.TRITONSERVER_MEMORY_CPU,
    "TRITONSERVER_MEMORY_GPU": MemoryType.TRITONSERVER_MEMORY_GPU,
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START": request.SEQUENCE_START,
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END": request.SEQUENCE_END,
    "TRITONSERVER_RESPONSE_COMPLETE_FINAL": exchange.COMPLETE_FINAL,
    "TRITONSERVER_REQUEST_RELEASE_ALL": request.RELEASE_ALL,
    "TRITONSERVER_REQUEST_RELEASE_RESCHEDULE": request.RELEASE_RESCHEDULE,
    "get_input_tensor_by_name": request.get_input_tensor_by_name,
    "get_output_tensor_by_name": request.get_output_tensor_by_name,
}
for _name in (
    "TRITON_STRING_TO_NUMPY", "deserialize_bytes_tensor", "get_input_config_by_name", "get_output_config_by_name",
    "numpy_to_triton_type", "serialize_byte_tensor", "triton_string_to_numpy", "triton_to_numpy_type",
    "using_decoupled_model_transaction_policy",
):  # fmt: skip
    _SHARED[_name] = getattr(datatypes, _name)


def make_utils(context: ModelContext) -> types.ModuleType:
    """The module for one model."""
    module = types.ModuleType(NAME, __doc__)
    vars(module).update(_SHARED)
    repository = functions.Repository(context)

    def get_model_dir() -> str:
        """The directory of the version that is loaded, where `model.py` lies."""
        return context.version_path

    own: dict[str, Any] = {
        "InferenceRequest": type(
            "InferenceRequest", (request.InferenceRequest,), {"context": context, "__slots__": ()}
        ),
        "Logger": functions.make_logger(context),
        "MetricFamily": functions.make_metric_family(context),
        "get_model_dir": get_model_dir,
        "load_model": repository.load_model,
        "unload_model": repository.unload_model,
        "is_model_ready": repository.is_model_ready,
    }
    vars(module).update(own)
    return module


def make_shared_utils() -> types.ModuleType:
    """The module for code that several models of this process share: it works for whichever calls it."""
    context: Any = CurrentContext()
    return make_utils(context)
