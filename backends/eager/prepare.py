"""What makes the torch modules of handlers ready to be called: `context.prepare`."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from kserve_v2.backend import ModelConfig, ThreadBudget

from ..parameters import parameter_texts
from ..pytorch.options import NAMES, misspelt, read_options, warm_up_sizes

logger = logging.getLogger(__name__)


class Preparing:
    """Prepares the modules of one handler object."""

    def __init__(self, config: ModelConfig, device: str, threads: ThreadBudget) -> None:
        """`threads`: what the handler executes with."""
        self._config = config
        self._device = device
        self._threads = threads
        self._used = False

    def prepare(
        self, module: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Callable[..., Any]:
        """See `Context.prepare`."""
        # Only here, because handlers need not have torch.
        import torch  # noqa: PLC0415

        from ..pytorch.examples import examples_of_call, examples_of_config  # noqa: PLC0415
        from ..pytorch.optimize import optimize  # noqa: PLC0415
        from ..pytorch.threads import as_instance_thread  # noqa: PLC0415

        config, parameters = self._config, parameter_texts(self._config)
        options = read_options(parameters, config.max_batch_size)
        if not self._used:
            self._warn_of_misspelt(parameters)
        self._used = True
        if isinstance(module, torch.nn.Module):
            module.to(self._device).eval().requires_grad_(False)
        optimized = optimize(module, options, device=self._device, model=config.name)
        if options.compile:
            sizes = warm_up_sizes(config, options)
            with as_instance_thread(self._threads):
                if args or kwargs:
                    varies = any(-1 in tensor.dims for tensor in config.input)
                    examples = examples_of_call(args, kwargs, sizes, all_vary=varies)
                else:
                    examples = examples_of_config(config, sizes, self._device)
                optimized.warm_up(examples)
        return optimized

    def warn_if_unused(self) -> None:
        """Say what nobody has acted on, now that the handler is loaded."""
        given = [name for name in NAMES if name in self._config.parameters]
        if given and not self._used:
            logger.warning(
                "model '%s': parameters['%s'] is for torch modules that the handler gives to context.prepare, which it "
                "has not done", self._config.name, "'], parameters['".join(given),
            )  # fmt: skip

    def _warn_of_misspelt(self, parameters: Mapping[str, str]) -> None:
        for name, meant in misspelt(parameters).items():
            logger.warning(
                "model '%s': parameters['%s'] means nothing to context.prepare: did you mean '%s'?",
                self._config.name, name, meant,
            )  # fmt: skip
