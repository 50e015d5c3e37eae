"""A base for handlers, for whoever wants their editor to know what may be written there."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kserve_v2.handlers.context import Context


class Model:
    """What a handler's class may declare. It does nothing: a class without it is the same handler.

        import kserve_v2

        class Model(kserve_v2.Model):
            max_batch_size = 8

            def __call__(self, inputs): ...

    `inputs`, `outputs`: by name, a datatype and dims without the batch dimension, `("FP32", [3, -1, -1])`, or `Image`,
    `Text` or `Json`; unless annotations of `__call__` say it. `max_batch_size`: 0 for no batch dimension. `tensors`:
    what `__call__` is given. `thread_safe`: one object serves all instances of a device. `max_concurrency`: of an async
    `__call__`, how many may run at a time. `ragged`: it takes a list, with the tensors of each request by themselves.
    """

    inputs: ClassVar[Mapping[str, tuple[str, Sequence[int]] | Any]]
    outputs: ClassVar[Mapping[str, tuple[str, Sequence[int]] | Any]]
    max_batch_size: ClassVar[int]
    tensors: ClassVar[Literal["numpy", "torch"]]
    thread_safe: ClassVar[bool]
    max_concurrency: ClassVar[int]
    ragged: ClassVar[bool]

    if TYPE_CHECKING:
        # There are none: a handler that has no `load` is not told anything.
        def load(self, context: Context) -> None:
            """Called once, before anything else."""

        def close(self) -> None:
            """Called once, at the end."""
