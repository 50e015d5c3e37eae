"""Tensors as a person writes them on a command line: `image:FP32[N,3,224,224]`. Nothing large is imported for it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

BATCH = "N"
"""In the place of the first dimension: one for each row of a batch."""

_TENSOR = re.compile(r"(?P<name>.+):(?P<datatype>\w+)\[(?P<dims>[^\[\]]*)\]")
_DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BF16",
    "BYTES",
)  # fmt: skip
# As numpy and torch have them.
_SYNONYMS = {
    "FLOAT16": "FP16", "HALF": "FP16", "FLOAT32": "FP32", "FLOAT": "FP32", "FLOAT64": "FP64", "DOUBLE": "FP64",
    "BFLOAT16": "BF16", "LONG": "INT64", "INT": "INT32", "STRING": "BYTES", "STR": "BYTES",
}  # fmt: skip

EXPECTED = f"NAME:DATATYPE[DIM,…], such as image:FP32[{BATCH},3,224,224], with -1 where a dimension varies"

MAX_BATCH_SIZE = 64
"""Of a model whose tensors are said to have a batch dimension."""


class WrittenTensor(NamedTuple):
    """One input or output. `dims`: without that of the batch; `batched`: whether it has one."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    batched: bool

    @property
    def config_name(self) -> str:
        """Name of the datatype in a configuration."""
        return f"TYPE_{'STRING' if self.datatype == 'BYTES' else self.datatype}"

    def __str__(self) -> str:
        dims = [BATCH] * self.batched + [str(dim) for dim in self.dims]
        return f"{self.name}:{self.datatype}[{','.join(dims)}]"


Tensors = tuple[Sequence[WrittenTensor], Sequence[WrittenTensor]]
"""Inputs and outputs that a person has written down."""


def read_tensor(text: str) -> WrittenTensor:
    """Read one. Raises ValueError."""
    match = _TENSOR.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    datatype = match["datatype"].upper()
    datatype = _SYNONYMS.get(datatype, datatype)
    if datatype not in _DATATYPES:
        raise ValueError(text)
    sizes = [size.strip() for size in match["dims"].split(",")]
    batched = sizes[0].upper() == BATCH
    dims = tuple(int(size) for size in sizes[batched:])
    if not all(dim == -1 or dim > 0 for dim in dims):
        raise ValueError(text)
    return WrittenTensor(match["name"].strip(), datatype, dims, batched)


def split_tensors(texts: list[str]) -> list[str]:
    """Several of them, separated by commas that stand in no brackets, as an environment variable has them."""
    return [part for text in texts for part in re.split(r",(?![^\[]*\])", text) if part.strip()]
