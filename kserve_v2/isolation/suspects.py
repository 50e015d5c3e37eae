"""Requests that a model's process has died of. Clients try again what was answered with 503, as they should; one that
kills the process each time must not do so for ever.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from kserve_v2.errors import InternalError
from kserve_v2.messages import InferRequest

MOST_DEATHS = 3

# So many ids are remembered, those of the latest deaths.
_MOST_IDS = 1000


class Suspects:
    """Of one loaded version. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deaths: OrderedDict[str, int] = OrderedDict()

    def died(self, requests: Sequence[InferRequest]) -> None:
        """The process has died while it executed these. Of several, nobody knows which one it was."""
        if len(requests) == 1 and requests[0].id:
            with self._lock:
                name = requests[0].id
                self._deaths[name] = self._deaths.pop(name, 0) + 1
                while len(self._deaths) > _MOST_IDS:
                    self._deaths.popitem(last=False)

    def check(self, requests: Sequence[InferRequest]) -> None:
        """Raises InternalError, which no client takes for a reason to try again, if one of these is not to be executed
        any more.
        """
        if not self._deaths:
            return
        for request in requests:
            if self._deaths.get(request.id, 0) >= MOST_DEATHS:
                raise InternalError(
                    f"request '{request.id}' is not executed again: the process of model '{request.model_name}' has "
                    f"died of it {MOST_DEATHS} times"
                )
