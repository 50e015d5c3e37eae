"""A worker, as the home sees it: which copies of models it has, and what answers requests there."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link
from kserve_v2.processes.replica_messages import CopyReport, Order, Report, Route
from kserve_v2.repository.models.loaded import LoadedModel


@dataclass(slots=True, eq=False)
class Replicated:
    """A version that is loaded here, and of which workers have copies. `outdated`: see `ModelSource`. `deaths`: of
    workers that were loading it, since one has loaded it.
    """

    model: LoadedModel
    order: Order
    outdated: Callable[[], str]
    deaths: int = 0

    @property
    def number(self) -> int:
        """Of its copies."""
        return self.order.number


@dataclass(slots=True, eq=False)
class Member:
    """One worker. `copies`: those that it has loaded, by number. `routes`: those that it was told last. `doing`: what
    it said last of each copy. `loading`: what it is loading. `refused`: what it could not load; `tries`: how often it
    was to try that again so far. `supplying`: has it load what it lacks.
    """

    process: int
    link: Link
    copies: dict[int, Replicated] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    doing: dict[int, CopyReport] = field(default_factory=dict)
    loading: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    tries: dict[int, int] = field(default_factory=dict)
    supplying: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return f"process {self.process}"

    async def load(self, copy: Replicated, *, late: bool = False) -> None:
        """Have it load a version. `late`: others have loaded it before, and its files may have changed since. Raises
        ServingError.
        """
        number, began = copy.number, self.link.alive
        self.loading[number] = asyncio.ensure_future(self._load(copy, late=late))
        try:
            await self.loading[number]
        except ServingError:
            copy.deaths += began and not self.link.alive
            raise
        finally:
            del self.loading[number]
        copy.deaths = 0
        self.copies[number] = copy

    async def _load(self, copy: Replicated, *, late: bool) -> None:
        await self.link.call(Kind.REPLICA_LOAD, copy.order.encode())
        if late and (changed := await asyncio.to_thread(copy.outdated)):
            await self._close(copy.number, 0)
            raise InvalidArgumentError(changed)

    def has(self, copy: Replicated | None) -> bool:
        """Whether it has a copy of a version."""
        return copy is not None and copy.number in self.copies

    def redirect(self, route: Route) -> asyncio.Future[bytes] | None:
        """Tell it a route, if that is another one than before. Done when it goes by that."""
        plain = replace(route, generation=0)
        if self.routes.get(route.name, Route(route.name)) == plain:
            return None
        if route.versions:
            self.routes[route.name] = plain
        else:
            self.routes.pop(route.name, None)
        return asyncio.ensure_future(self.link.call(Kind.REPLICA_ROUTE, route.encode()))

    async def change_instances(self, copy: Replicated, config: str) -> None:
        """Have it give a copy other instances. Raises ServingError."""
        said = json.dumps({"number": copy.number, "config": config})
        await self.link.call(Kind.REPLICA_INSTANCES, said.encode())

    async def close(self, copy: Replicated, limit_s: float) -> None:
        """Have it close its copy of a version, if it has one, once that has finished what is under way; see `drain`.
        Raises ServingError.
        """
        number = copy.number
        if (loading := self.loading.get(number)) is not None:
            await asyncio.wait({loading})
        self.refused.discard(number)
        self.tries.pop(number, None)
        if self.copies.pop(number, None) is not None:
            self.doing.pop(number, None)
            await self._close(number, limit_s)

    async def _close(self, number: int, limit_s: float) -> None:
        said = json.dumps({"number": number, "limit_s": limit_s})
        await self.link.call(Kind.REPLICA_CLOSE, said.encode())

    async def count(self) -> Report:
        """What is new. Raises ServingError."""
        return Report.decode(await self.link.call(Kind.REPLICA_COUNT))

    async def withdraw(self) -> Report:
        """Have it answer nothing any more; what is new when nothing is under way. Raises ServingError."""
        self.routes.clear()
        return Report.decode(await self.link.call(Kind.REPLICA_WITHDRAW))


def is_gone(member: Member, error: BaseException) -> bool:
    """Whether an error says nothing but that the worker has ended."""
    return isinstance(error, ServingError) and not member.link.alive
