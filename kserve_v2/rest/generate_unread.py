"""Members of requests that are no inputs, for models that read nothing else.

Triton makes parameters of them, and so does this server: a handler may read these. A graph does not, so there they are
rather misspelt. The answer is the one that Triton gives, and the log says what was in vain, once in a while.
"""

import logging
from collections.abc import Iterable

from kserve_v2.logs.sparing import Sparing
from kserve_v2.repository.models.loaded import LoadedModel

logger = logging.getLogger(__name__)

# Of ours, those that hand a request's tensors to the model, and nothing else.
_GRAPHS = frozenset({"onnxruntime", "pytorch"})
_MOST_NAMES, _MOST_CHARACTERS = 4, 40


class UnreadMembers:
    """What is said of them, for all models of a server."""

    def __init__(self) -> None:
        self._sparing = Sparing()

    def tell(self, members: Iterable[str], model: LoadedModel) -> None:
        """Warn of those of a request, which are none of the model's inputs."""
        if model.config.backend not in _GRAPHS:
            return
        # That one is the request's own.
        unread = [name for name in members if name != "id"]
        if not unread or (left_out := self._sparing.left_out()) is None:
            return
        shown = ", ".join(repr(name[:_MOST_CHARACTERS]) for name in unread[:_MOST_NAMES])
        logger.warning(
            "generate: %s in a request to model '%s' is neither an input of it (%s) nor read by it, and has no "
            "effect%s",
            shown,
            model.name,
            ", ".join(model.signature.inputs),
            f"; {left_out} more such requests since the last line" if left_out else "",
        )
