"""What stands for a model whose versions share the requests that name none."""

import random
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field

from kserve_v2.backend import ModelSource
from kserve_v2.config.release import Split
from kserve_v2.errors import UnavailableError
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.routing.choose import Headers, choose, key_of, pick, present
from kserve_v2.scheduling.statistics import ModelStatistics
from kserve_v2.scheduling.target import Reply, Ticket


@dataclass(slots=True)
class SplitCounts:
    """How many requests each version was `chosen` for, and how many of its share were `diverted` to others because it
    was not ready.
    """

    chosen: Counter[int] = field(default_factory=Counter)
    diverted: Counter[int] = field(default_factory=Counter)


class SplitModel(LoadedModel):
    """Lives on the event loop. It looks like the version with the greatest share, the higher one of equals, and
    whoever has a request asks it which version that is for. Its signature is an object of its own, so nothing that is
    remembered of requests to a version holds for it: each request is routed anew.
    """

    splits = True

    def __init__(
        self,
        split: Split,
        models: Mapping[int, LoadedModel],
        counts: SplitCounts,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`models`: those of the split's versions that are there and have a share, at least one. `draw`: a random
        number from 0 up to 1.
        """
        shares = split.shares
        like = models[max(models, key=lambda version: (shares[version], version))]
        source = ModelSource(like.name, like.version, like.path, like.path / str(like.version))
        target = _Chosen(self)
        super().__init__(source, like.config, target, ModelStatistics(), like.labels, copy(like.signature))
        self._like = like
        self.batched, self.batching, self.decoupled = like.batched, like.batching, like.decoupled
        # Where clients have to ask in another way, they would not be understood.
        self._models = {
            version: model for version, model in models.items() if model.decoupled is like.decoupled
        }
        self._split, self._counts, self._draw = split, counts, draw
        in_sequences = any(model.sequences is not None for model in self._models.values())
        self.reads_requests = in_sequences or bool(split.sticky and split.sticky.parameter)
        """Whether the choice depends on more of a request than its headers."""

    @property
    def like(self) -> LoadedModel:
        """The version with the greatest share."""
        return self._like

    def choose(self, request: InferRequest | None, headers: Headers = ()) -> LoadedModel:
        """The version that answers a request; None for one of which nothing but the headers matters. Those of a
        sequence that say nothing else of whom they are for go by its id. Raises UnavailableError if no version can
        answer for now.
        """
        key = key_of(self._split.sticky, request.parameters if request is not None else {}, headers)
        if key is None and request is not None and request.control.get("sequence_id"):
            key = f"sequence {request.control['sequence_id']!r}".encode("utf-8", "surrogatepass")
        version = self._draw_version(self._split.shares, key)
        model = self._models.get(version)
        if model is None or model.down:
            self._counts.diverted[version] += 1
            version = self._draw_version(self._shares_up(), key)
            model = self._models[version]
        self._counts.chosen[version] += 1
        return model

    def _draw_version(self, shares: Mapping[int, float], key: bytes | None) -> int:
        return pick(shares, self._draw()) if key is None else choose(self.name, shares, key)

    def _shares_up(self) -> Mapping[int, float]:
        """The shares of the versions that can answer now."""
        up = present(self._split.shares, [each for each, model in self._models.items() if not model.down])
        if not up:
            raise UnavailableError(
                f"Request for unknown model: '{self.name}' is not at ready state: {self.like.down}"
            )
        return up

    async def says_ready(self) -> bool:
        """Whether one of the versions says that it is ready."""
        for model in self._models.values():
            if not model.down and await model.says_ready():
                return True
        return False


class _Chosen:
    """A target for whoever submits without having asked which version a request is for."""

    depth = 0

    def __init__(self, split: SplitModel) -> None:
        # Not held: each would keep the other, and the versions, until cycles are looked for.
        self._split = weakref.ref(split)

    async def start(self) -> None:
        """There is nothing to make."""

    def submit(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """Have a request answered by the version that is chosen for it."""
        split = self._split()
        assert split is not None  # noqa: S101 - whoever asks holds it
        model = split.choose(request)
        request.checked = False
        model.check(request)
        return model.submit(request, reply)

    async def drain(self) -> None:
        """What is under way is so at the versions."""

    def abandon(self, why: str = "") -> None:
        """As `drain`."""

    async def stop(self) -> None:
        """As `drain`."""
