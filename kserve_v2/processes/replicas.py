"""The home's side of replicas: what workers load, which requests they answer, and the sum of what they count.

A version is loaded here first, then by all workers, then requests are given to it everywhere. What it takes away from
them it takes away before it does anything to the version itself. All that they count is added to the statistics of the
version here, which so are those of the whole, and stay so when a worker ends.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from kserve_v2.backend import ModelConfig
from kserve_v2.errors import InternalError, InvalidArgumentError, ServingError, reason_of
from kserve_v2.metrics.registry import MetricsRegistry
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link
from kserve_v2.processes.member import Member, Replicated, is_gone
from kserve_v2.processes.replica_messages import Order, Payload, Report, Route, config_text
from kserve_v2.repository.models.executed import ExecutedModel
from kserve_v2.repository.models.loaded import Elsewhere, LoadedModel
from kserve_v2.repository.models.spec import Prepared, placements
from kserve_v2.repository.routing.served import Served
from kserve_v2.scheduling.counts import add_counts

logger = logging.getLogger(__name__)

# How long a worker may take to go by what it is told; one that does not is ended, as nobody knows what it answers.
_PATIENCE_S = 60.0
# How long those who want to know what was counted wait for a worker that is busy.
_COUNT_WITHIN_S = 2.0
# When a worker tries again to load what it could not load when it began.
_TRY_AGAIN_S = (5.0, 30.0, 120.0)
# A version that has ended so many workers while they loaded it is not given to another one.
_MOST_DEATHS = 2


class ProcessReplicas:
    """A `repository.lifecycle.replicas.Replicas`."""

    def __init__(
        self,
        metrics: MetricsRegistry,
        traced: Callable[[str], bool],
        *,
        try_again_s: Sequence[float] = _TRY_AGAIN_S,
    ) -> None:
        """`metrics`: those that models make themselves. `traced`: whether requests to a model may be traced: those are
        answered here. `try_again_s`: after how many seconds, each time, a worker tries again to load what it could not.
        """
        self._metrics = metrics
        self._traced = traced
        self._try_again_s = try_again_s
        self._numbers = itertools.count(1)
        self._generations = itertools.count(1)
        self._members: dict[int, Member] = {}
        self._copies: dict[LoadedModel, Replicated] = {}
        self._published: dict[str, Served] = {}
        self._withdrawn = False
        # What workers were told that they have not said to go by.
        self._pending: dict[asyncio.Future[bytes], Member] = {}
        self._counting: dict[int, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<ProcessReplicas {sorted(self._members)} {list(self._copies)}>"

    # --- workers --------------------------------------------------------------------------------------------------

    def serve(self, process: int, link: Link) -> None:
        """Take what a worker reports, whose number is `process`."""
        link.on(Kind.REPLICA_REPORT, lambda payload: self._take(process, link, payload))

    async def joined(self, process: int, link: Link) -> None:
        """A worker is there: returns when it has copies of all that it should have, and answers by them. What it cannot
        load is answered by others.
        """
        member = self._members[process] = Member(process, link)
        await self._supply(member)

    def left(self, process: int) -> None:
        """A worker has ended."""
        member = self._members.pop(process, None)
        if member is None:
            return
        member.doing.clear()
        for copy in member.copies.values():
            self._sum_up(copy)
        self._metrics.others.end(process)

    # --- what models do ---------------------------------------------------------------------------------------------

    async def prepare(self, prepared: Prepared, model: ExecutedModel) -> None:
        """Have a version loaded by all workers."""
        order = Order.of(next(self._numbers), prepared, model)
        copy = Replicated(model, order, prepared.source.outdated)
        members = list(self._members.values())
        failures = await self._of_all(members, [each.load(copy) for each in members])
        changed = await asyncio.to_thread(copy.outdated) if members else ""
        if failures or changed:
            await self._of_all(members, [each.close(copy, 0) for each in members])
            raise next(iter(failures), InvalidArgumentError(changed))
        self._copies[model] = copy

    def publish(self, name: str, served: Served | None) -> None:
        """Tell the workers what answers requests to a model."""
        if served is None:
            self._published.pop(name, None)
        else:
            self._published[name] = served
        for member in self._members.values():
            self._redirect(member, name)
            if self._missing(member):
                self._begin_supply(member)

    def publish_again(self) -> None:
        """Tell the workers all that has changed."""
        for name in self._published:
            for member in self._members.values():
                self._redirect(member, name)

    async def acknowledged(self) -> None:
        """Wait until all workers go by what they were told."""
        if not self._pending:
            return
        pending = set(self._pending)
        _, late = await asyncio.wait(pending, timeout=_PATIENCE_S)
        for member in {self._pending[each] for each in late if each in self._pending}:
            logger.error("%s has not done for %g s what it was told: it is ended", member, _PATIENCE_S)
            member.link.abort()
        await asyncio.wait(pending)

    async def change_instances(self, model: LoadedModel, config: ModelConfig) -> None:
        """Have all copies changed, or none."""
        copy = self._copies.get(model)
        if copy is None:
            return
        placed = [(each.name, each.device_id) for each in placements(config, 0)]
        before, after = copy.order, replace(copy.order, config=config_text(config), placements=placed)
        if failures := await self._change_order(copy, after):
            # Where nothing was changed, that changes nothing.
            await self._change_order(copy, before)
            raise failures[0]

    async def _change_order(self, copy: Replicated, order: Order) -> list[ServingError]:
        """Have all copies be as an order says, and those that are loaded from now on. Returns what has failed."""
        copy.order = order
        # Those that are being loaded are made as the order before said.
        loads = {
            load for each in self._members.values() if (load := each.loading.get(copy.number)) is not None
        }
        if loads:
            await asyncio.wait(loads)
        members = [each for each in self._members.values() if each.has(copy)]
        return await self._of_all(members, [each.change_instances(copy, order.config) for each in members])

    async def close(self, model: LoadedModel, limit_s: float) -> None:
        """Have all copies closed, after nothing is answered by them any more."""
        copy = self._copies.pop(model, None)
        if copy is None:
            return
        for member in self._members.values():
            self._redirect(member, model.name)
        await self.acknowledged()
        members = list(self._members.values())
        for error in await self._of_all(members, [each.close(copy, limit_s) for each in members]):
            logger.error("model '%s' was not closed as it should be: %s", model.name, error.message)

    async def withdraw(self) -> None:
        """Have the workers answer nothing any more, and wait until nothing is under way there."""
        self._withdrawn = True
        await asyncio.gather(*(self._hear(each, each.withdraw()) for each in list(self._members.values())))

    async def _of_all(self, members: list[Member], calls: list[Awaitable[None]]) -> list[ServingError]:
        """What has failed, but for workers that have ended meanwhile."""
        results = await asyncio.gather(*calls, return_exceptions=True)
        failures: list[ServingError] = []
        for member, result in zip(members, results, strict=True):
            if isinstance(result, asyncio.CancelledError):
                raise result
            if isinstance(result, BaseException) and not is_gone(member, result):
                kind = InvalidArgumentError if isinstance(result, InvalidArgumentError) else InternalError
                failures.append(kind(f"{member}: {reason_of(result)}"))
        return failures

    # --- routes -----------------------------------------------------------------------------------------------------

    def _redirect(self, member: Member, name: str) -> None:
        done = member.redirect(self._route(member, name))
        if done is not None:
            self._pending[done] = member
            done.add_done_callback(self._acknowledge)

    def _acknowledge(self, done: asyncio.Future[bytes]) -> None:
        member = self._pending.pop(done)
        if not done.cancelled() and (error := done.exception()) is not None and not is_gone(member, error):
            logger.error("%s does not go by what it is told, and is ended: %s", member, reason_of(error))
            member.link.abort()

    def _route(self, member: Member, name: str) -> Route:
        served = self._published.get(name)
        if served is None or self._withdrawn or self._traced(name):
            return Route(name, generation=next(self._generations))
        numbers = {
            version: copy.number
            for version, model in served.versions.items()
            if (copy := self._copies.get(model)) is not None and member.has(copy)
        }
        latest = served.latest.version if served.latest is not None else None
        return Route(name, numbers, latest if str(latest) in numbers else None, next(self._generations))

    # --- workers that lack something ----------------------------------------------------------------------------------

    def _missing(self, member: Member) -> list[Replicated]:
        """What it should have, and has not."""
        if len(member.copies) + len(member.refused) >= len(self._copies):
            # Nearly always; there may be many.
            found: Iterable[Replicated] = ()
        else:
            models = (model for served in self._published.values() for model in served.versions.values())
            found = filter(None, map(self._copies.get, models))
        return [
            copy
            for copy in found
            if not (member.has(copy) or copy.number in member.refused or copy.number in member.loading)
        ]

    def _begin_supply(self, member: Member) -> None:
        if member.supplying is None or member.supplying.done():
            member.supplying = asyncio.ensure_future(self._supply(member))

    async def _supply(self, member: Member) -> None:
        while missing := self._missing(member):
            await asyncio.gather(*(self._give(member, copy) for copy in missing if not copy.deaths))
            # Each by itself, so that one is not taken for another.
            for copy in missing:
                if copy.deaths:
                    await self._give(member, copy)

    async def _give(self, member: Member, copy: Replicated) -> None:
        name = copy.model.name
        if self._copies.get(copy.model) is not copy or member.has(copy) or copy.number in member.loading:
            return
        if copy.deaths >= _MOST_DEATHS:
            member.refused.add(copy.number)
            logger.error(
                "model '%s' version %d is left to the others, as %d workers have ended while they loaded it",
                name, copy.model.version, copy.deaths,
            )  # fmt: skip
            return
        try:
            await member.load(copy, late=True)
        except ServingError as error:
            member.refused.add(copy.number)
            if not is_gone(member, error):
                again = self._try_again_later(member, copy)
                logger.error(  # noqa: TRY400 - no defect
                    "%s could not load model '%s' version %d, which the others answer for%s: %s",
                    member, name, copy.model.version, again, error.message,
                )  # fmt: skip
            return
        member.tries.pop(copy.number, None)
        self._redirect(member, name)

    def _try_again_later(self, member: Member, copy: Replicated) -> str:
        """Returns when, for the log; "" for never."""
        tries = member.tries.get(copy.number, 0)
        if tries >= len(self._try_again_s):
            return ""
        member.tries[copy.number] = tries + 1
        delay_s = self._try_again_s[tries]
        asyncio.get_running_loop().call_later(delay_s, self._try_again, member, copy)
        return f", and tries again in {delay_s:g} s"

    def _try_again(self, member: Member, copy: Replicated) -> None:
        if self._members.get(member.process) is member and copy.number in member.refused:
            member.refused.discard(copy.number)
            self._begin_supply(member)

    # --- counts -------------------------------------------------------------------------------------------------------

    async def count(self) -> None:
        """Ask all workers what they have counted. One that does not answer soon tells it later."""
        for process, member in self._members.items():
            if process not in self._counting:
                self._counting[process] = task = asyncio.ensure_future(self._hear(member, member.count()))
                task.add_done_callback(partial(self._counted, process))
        if self._counting:
            await asyncio.wait(set(self._counting.values()), timeout=_COUNT_WITHIN_S)

    def _counted(self, process: int, task: asyncio.Task[None]) -> None:
        del self._counting[process]

    async def _hear(self, member: Member, said: Awaitable[Report]) -> None:
        """Count what a worker answers."""
        try:
            self._add(member, await said)
        except ServingError as error:
            if not is_gone(member, error):
                logger.error("%s: %s", member, error.message)  # noqa: TRY400 - no defect

    def _take(self, process: int, link: Link, payload: Payload) -> None:
        member = self._members.get(process)
        if member is not None and member.link is link:
            self._add(member, Report.decode(payload))

    def _add(self, member: Member, report: Report) -> None:
        for said in report.copies:
            copy = member.copies.get(said.number)
            # The statistics of what is about to be closed nobody sees any more.
            if copy is not None:
                add_counts(copy.model.statistics, said.counts, said.last_ms)
                member.doing[said.number] = said
                self._sum_up(copy)
        if report.metrics is not None:
            self._metrics.others.say(member.process, list(report.metrics))

    def _sum_up(self, copy: Replicated) -> None:
        """What all workers do with their copies of a version."""
        said = [each.doing[copy.number] for each in self._members.values() if copy.number in each.doing]
        copy.model.elsewhere = Elsewhere(
            tuple(map(sum, itertools.zip_longest(*(each.depths for each in said), fillvalue=0))),
            sum(each.places for each in said),
            all(each.idle for each in said),
        )
