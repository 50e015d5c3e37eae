"""How long the steps of a handler take."""

from __future__ import annotations

import functools
import time
from typing import Any, Callable


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a handler whose time is a metric, `ts_handler_<method>`, if `handler: { profile: true }` is in the
    model's YAML.
    """

    @functools.wraps(function)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        context = getattr(self, "context", None)
        wanted = (getattr(context, "model_yaml_config", None) or {}).get("handler") or {}
        if not (isinstance(wanted, dict) and wanted.get("profile")):
            return function(self, *args, **kwargs)
        _wait_for_gpu(self)
        began = time.perf_counter()
        result = function(self, *args, **kwargs)
        _wait_for_gpu(self)
        context.metrics.add_time(  # type: ignore[union-attr]
            f"ts_handler_{function.__name__}", (time.perf_counter() - began) * 1000, unit="ms"
        )
        return result

    return run


def _wait_for_gpu(handler: Any) -> None:
    if getattr(getattr(handler, "device", None), "type", "") == "cuda":
        import torch  # noqa: PLC0415 - it is there

        torch.cuda.synchronize(handler.device)
