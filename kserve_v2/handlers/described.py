"""`@kserve_v2.model`: makes a function, or a class, a model's handler."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

T = TypeVar("T", bound=Callable[..., Any])

Tensors = Mapping[str, "tuple[str, Sequence[int]] | Any"]

MARK = "__kserve_v2_model__"
"""What a decorated function or class has: the attributes that were given."""


@overload
def model(handler: T, /) -> T: ...
@overload
def model(
    *,
    inputs: Tensors | None = None,
    outputs: Tensors | None = None,
    max_batch_size: int | None = None,
    tensors: Literal["numpy", "torch"] | None = None,
    thread_safe: bool | None = None,
    max_concurrency: int | None = None,
    ragged: bool | None = None,
) -> Callable[[T], T]: ...
def model(handler: Any = None, /, **attributes: Any) -> Any:
    """Make a function or a class the handler of a model: in a `model.py`, in a file that `kserve-v2 serve` is given, or
    for `kserve_v2.serve`. What is decorated stays as it is, and can be called as before.

        @kserve_v2.model(inputs={"x": ("FP32", [4])}, outputs={"y": ("FP32", [4])}, max_batch_size=64)
        def double(x):
            return 2 * x

    `inputs`, `outputs`: datatype and dims without the batch dimension, by name, or `kserve_v2.Image`, `Text` or `Json`;
    annotations say it, too, and then nothing has to be given:

        @kserve_v2.model
        def shout(text: kserve_v2.Text) -> kserve_v2.Text:
            return text.upper()

    A function whose parameters are called as the inputs gets each by itself; one with another single parameter gets all
    of them as a dict. With the parameter `requests` it also gets the requests. It returns a dict of outputs by name, or
    one output alone, or a tuple of them in the order of `outputs`. It may be async, or a generator, which answers with
    a stream. It is called by one thread for each instance of the model. The other arguments are the attributes of
    handler classes; see `kserve_v2.Model`.
    """
    unknown = attributes.keys() - ATTRIBUTES
    if unknown:
        raise TypeError(
            f"kserve_v2.model: unexpected {sorted(unknown)}, expected some of {', '.join(ATTRIBUTES)}"
        )

    def decorate(decorated: Any) -> Any:
        if not (inspect.isclass(decorated) or callable(decorated)):
            raise TypeError(
                f"kserve_v2.model: expected a function or a class, got {type(decorated).__name__}; what a datatype is "
                "goes into inputs= and outputs="
            )
        given = {name: value for name, value in attributes.items() if value is not None}
        if inspect.isclass(decorated):
            for name, value in given.items():
                setattr(decorated, name, value)
        setattr(decorated, MARK, given)
        return decorated

    return decorate if handler is None else decorate(handler)


ATTRIBUTES = (
    "inputs", "outputs", "max_batch_size", "tensors", "thread_safe", "max_concurrency", "ragged",
)  # fmt: skip
"""What can be said of a handler."""


def description_of(thing: object) -> Mapping[str, Any] | None:
    """What was written down of a decorated function or class; None for one that is not decorated itself."""
    try:
        found = vars(thing).get(MARK)
    except TypeError:
        return None
    return found if isinstance(found, dict) else None
