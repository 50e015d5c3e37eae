"""Raw requests: the whole body is the data of the model's only input, without any JSON."""

from math import prod

from kserve_v2.errors import InvalidArgumentError, request_prefix
from kserve_v2.messages import InferRequest
from kserve_v2.scheduling.signature import ModelSignature, TensorSignature
from kserve_v2.tensors.announced import AnnouncedInput
from kserve_v2.tensors.datatypes import BYTES
from kserve_v2.tensors.raw import decode_raw_tensor
from kserve_v2.tensors.strings import encode_bytes_tensor


def decode_raw_request(
    data: bytes | bytearray | memoryview, signature: ModelSignature, version: str
) -> InferRequest:
    """A request whose whole body is the data of the model's only input.

    Its shape is the configured one, one row of it, with the size of a variable dimension found from the number
    of bytes. Raises InvalidArgumentError where that cannot be done.
    """
    request = InferRequest(signature.model_name, {}, version)
    prefix = request_prefix(request.id)
    if len(signature.inputs) != 1:
        raise InvalidArgumentError(
            f"{prefix}Raw request must only have 1 input (found 1) to be deduced but got {len(signature.inputs)} "
            f"inputs in '{signature.model_name}' model configuration"
        )
    (tensor,) = signature.inputs.values()
    shape = _raw_shape(tensor, len(data), prefix)
    batch = (1,) if signature.max_batch_size else ()
    raw = encode_bytes_tensor([bytes(data)]) if tensor.datatype is BYTES else memoryview(data)
    announced = AnnouncedInput("raw_input", tensor.datatype, (*batch, *shape), signature.model_name, "")
    request.inputs[tensor.name] = decode_raw_tensor(announced, raw)
    return request


def _raw_shape(tensor: TensorSignature, size: int, prefix: str) -> tuple[int, ...]:
    if tensor.datatype is BYTES:
        if tensor.dims not in ((1,), (-1,)):
            raise InvalidArgumentError(
                f"{prefix}For BYTE datatype raw input '{tensor.name}', the model must have input shape [1]"
            )
        return (1,)
    if tensor.dims.count(-1) > 1:
        raise InvalidArgumentError(
            f"{prefix}The shape of the raw input '{tensor.name}' can not be deduced because there are more than "
            "one variable-sized dimension"
        )
    row_size = prod(dim for dim in tensor.dims if dim != -1) * tensor.datatype.item_size
    return tuple(size // row_size if dim == -1 else dim for dim in tensor.dims)
