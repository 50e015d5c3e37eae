"""The models that TorchServe's clients see: each version of a model is an archive, and a model of ours, which is
loaded, loaded again and unloaded by the same commands as any other.
"""

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.errors import InvalidArgumentError, ServingError, describe
from kserve_v2.repository.locations.linked import AddedModels
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.preparing.threads import cpu_budget
from kserve_v2.scheduling.failures import unheard
from kserve_v2.torchserve_api.archive_look import Archive, look
from kserve_v2.torchserve_api.catalog import Catalog, Registration
from kserve_v2.torchserve_api.config import TorchServeConfig
from kserve_v2.torchserve_api.config_models import ALL, VersionSettings, Wanted, over, snapshot_models
from kserve_v2.torchserve_api.errors import (
    TorchServeError,
    invalid_model,
    model_not_found,
    workers_failed,
)
from kserve_v2.torchserve_api.listed_metrics import ListedMetric
from kserve_v2.torchserve_api.model_links import model_config, model_links
from kserve_v2.torchserve_api.places import Archives, Place
from kserve_v2.torchserve_api.precedence import NOTHING_ASKED, Asked, served

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How many archives are fetched at a time.
_FETCHES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """What a call says that registers a model. `url`: of the archive. "" where the archive says it. `place`: where the
    archive is, if it is none that clients can name.
    """

    url: str
    model_name: str = ""
    handler: str = ""
    asked: Asked = NOTHING_ASKED
    place: Place | None = None


class Registry(Catalog):
    """Owns what is registered. Lives on the server's event loop; what blocks runs on threads."""

    def __init__(
        self,
        manager: ModelManager,
        added: AddedModels,
        archives: Archives,
        config: TorchServeConfig,
        gpus: int = 0,
        reserved: Collection[str] = (),
        listed: Sequence[ListedMetric] = (),
    ) -> None:
        """`added`: where the models are put that the manager loads. `gpus`: how many there are. `reserved`: names of
        the server's other models. `listed`: metrics that handlers find there already.
        """
        super().__init__(reserved)
        self._manager, self._added, self._archives, self.config = manager, added, archives, config
        self._gpus = gpus
        self._listed = json.dumps(list(listed)) if listed else ""
        self._work: set[asyncio.Task[Any]] = set()
        self._fetching = ThreadPoolExecutor(_FETCHES, "torchserve-fetch")

    # --- commands -----------------------------------------------------------------------------------------------------

    async def register(self, wanted: Register) -> Registration:
        """Register a version, and start its workers, if there are to be any. A caller that leaves does not end it.
        Raises TorchServeError, and nothing is registered then.
        """
        return await self._to_its_end(self._register(wanted))

    async def begin_register(self, wanted: Register) -> Registration:
        """The same, without waiting for the workers."""
        found = await self._to_its_end(self._enter(self._with_workers(wanted)))
        self._in_background(self._start_or_forget(found))
        return found

    async def scale(self, name: str, version: str, low: int, high: int) -> None:
        """Have so many workers. A caller that leaves does not end it. Raises TorchServeError; then there are as many as
        before.
        """
        await self._to_its_end(self._scale(self.find(name, version), low, high))

    def begin_scale(self, name: str, version: str, low: int, high: int) -> None:
        """The same, without waiting for them. Raises TorchServeError for an unknown model."""
        self._in_background(self._scale(self.find(name, version), low, high))

    def set_default(self, name: str, version: str) -> None:
        """See `Catalog`. It holds for clients of the v2 protocol, too."""
        super().set_default(name, version)
        self._tell_default(name)

    def _tell_default(self, name: str) -> None:
        """Have clients of the v2 protocol answered by the default version of a model, if they name none."""
        if name not in self._reserved:
            self._manager.set_stand_in(name, self.find(name).key if name in self._models else "")

    async def unregister(self, name: str, version: str = "") -> None:
        """Forget a version; requests that are under way are finished. Raises TorchServeError."""
        await self._to_its_end(self._forget(self.removable(name, version)))

    async def close(self) -> None:
        """Start nothing more, and remove what was fetched."""
        # Threads that wait for somebody else's server would keep this one from ending.
        self._archives.give_up()
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self._fetching.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._archives.close)

    # --- the start ----------------------------------------------------------------------------------------------------

    async def enter_startup(self) -> list[str]:
        """Register the models of the configuration. They are loaded with the server's others. Returns what is wrong
        with those that cannot be.
        """
        problems = []
        for wanted in await asyncio.to_thread(self._wanted):
            try:
                found = await self._enter(
                    Register(url=wanted.archive, model_name=wanted.name), wanted=wanted, at_startup=True
                )
            except (TorchServeError, ServingError) as error:
                problems.append(f"{wanted.archive}: {error.message}{self._archives.similar(wanted.archive)}")
                continue
            except Exception as error:
                # One archive keeps none of the others from being served.
                logger.exception("the archive %s cannot be registered", wanted.archive)
                problems.append(f"{wanted.archive}: {describe(error)}")
                continue
            if found.workers:
                self._show(found)
        for name, versions in self.config.models.items():
            for version, settings in versions.items():
                if settings.default_version and version in self._models.get(name, {}):
                    self.set_default(name, version)
        return problems

    async def enter(self, register: Register) -> None:
        """Register one more that is loaded with the server's others. Raises TorchServeError."""
        found = await self._enter(register, at_startup=True)
        if found.workers:
            self._show(found)

    def _wanted(self) -> Sequence[Wanted]:
        config = self.config
        if config.snapshot is not None:
            return snapshot_models(config.snapshot)
        if config.load_models == ALL:
            return [Wanted(name) for name in self._archives.all()]
        return () if isinstance(config.load_models, str) else config.load_models

    # --- the steps ----------------------------------------------------------------------------------------------------

    async def _enter(
        self, register: Register, *, wanted: Wanted | None = None, at_startup: bool = False
    ) -> Registration:
        """Register a version that nothing is loaded of. Raises TorchServeError."""
        place = register.place
        if place is None:
            place = await self._find(register.url)
        try:
            archive = await asyncio.to_thread(look, place.archive)
            found = self._registration(register, place, archive, wanted, at_startup=at_startup)
            # That it can be served as it is to be, on this machine.
            self._config_of(found)
        except InvalidArgumentError as error:
            await self._discard(place)
            raise invalid_model(error.message) from None
        except BaseException:
            await self._discard(place)
            raise
        # Nothing is awaited between the check and this.
        self.add(found, default=wanted is not None and bool(wanted.settings.default_version))
        self._tell_default(found.name)
        return found

    async def _find(self, url: str) -> Place:
        # Fetches have threads of their own: what else the server does on threads does not wait for them.
        own = self._fetching if self._archives.is_elsewhere(url) else None
        return await asyncio.get_running_loop().run_in_executor(own, self._archives.find, url)

    def _registration(
        self, register: Register, place: Place, archive: Archive, wanted: Wanted | None, *, at_startup: bool
    ) -> Registration:
        name = register.model_name or archive.manifest.model_name
        if not name and at_startup:
            name = archive_stem(place.archive.name)
        if not name:
            raise invalid_model("Model name is not defined.")
        version = (wanted.version if wanted is not None else "") or archive.manifest.model_version or "1.0"
        self.check_new(name, version)
        operator = self.config.models.get(name, {}).get(version, VersionSettings())
        if wanted is not None:
            operator = over(wanted.settings, operator)
        return Registration(
            name,
            version,
            self.key_for(name, version),
            register.url,
            place,
            archive,
            served(
                self.config,
                archive.written,
                operator,
                register.asked,
                workers=self._workers(),
                gpus=self._gpus,
                model=name,
            ),
            register.handler,
            at_startup,
        )

    def _workers(self) -> int:
        """How many a model has that is loaded at the start, if nobody says it."""
        return self.config.default_workers_per_model or self._gpus or cpu_budget()

    def _with_workers(self, wanted: Register) -> Register:
        """With the number of workers, which is none unless somebody says so."""
        if wanted.asked.initial_workers is not None:
            return wanted
        workers = self.config.default_workers_per_model or 0
        return replace(wanted, asked=replace(wanted.asked, initial_workers=workers))

    async def _register(self, wanted: Register) -> Registration:
        found = await self._enter(self._with_workers(wanted))
        await self._start_or_forget(found)
        return found

    async def _start_or_forget(self, found: Registration) -> None:
        """Start the workers of a version. If that fails it is registered no longer."""
        if not found.workers:
            return
        async with found.lock:
            if not self.has(found):
                # It was unregistered before its workers were started.
                raise model_not_found(found.name)
            try:
                await self._load(found)
            except BaseException:
                await self._forget(found)
                raise

    async def _load(self, found: Registration) -> None:
        self._show(found)
        try:
            async with asyncio.timeout(found.served.startup_timeout):
                await self._manager.load(found.key)
        except TimeoutError:
            logger.error(  # noqa: TRY400 - no defect
                "model '%s': its workers have not started in %d s", found.key, found.served.startup_timeout
            )
            raise workers_failed(found.name, found.version) from None
        except ServingError:
            # The log has been told.
            raise workers_failed(found.name, found.version) from None
        found.started_at = time.time()

    def _show(self, found: Registration) -> None:
        """Have the model of ours that a version is, as it is to be now."""
        shown = found.url or found.handler
        links = partial(model_links, found.place.archive, self._config_of(found), shown)
        self._added.add(found.key, shown, links)

    def _config_of(self, found: Registration) -> ModelConfig:
        """Raises InvalidArgumentError for what cannot be served here."""
        return model_config(found.place.archive, found.served, self._parameters(found), self._gpus)

    def _parameters(self, found: Registration) -> dict[str, str]:
        """What the configuration of a version says beside that."""
        config, manifest = self.config, found.archive.manifest
        return {
            "handler": found.handler or ("" if manifest.handler else config.default_service_handler),
            "service_envelope": config.service_envelope,
            "model_name": found.name,
            "model_version": found.version,
            "install_requirements": "true" if config.install_py_dep_per_model else "",
            "model_metrics": self._listed,
            "limit_max_image_pixels": "" if config.limit_max_image_pixels else "false",
        }

    async def _scale(self, found: Registration, low: int, high: int) -> None:
        async with found.lock:
            if not self.has(found):
                raise model_not_found(found.name)
            before = found.served
            found.served = replace(before, min_workers=low, max_workers=high)
            if not low:
                self._unload(found)
                await self._manager.in_force()
                return
            try:
                await self._load(found)
            except BaseException:
                found.served = before
                if not self.has(found):
                    # It was unregistered meanwhile, and perhaps registered anew.
                    raise
                if before.min_workers:
                    # What is served is as it was.
                    self._show(found)
                else:
                    self._unload(found)
                raise

    def _unload(self, found: Registration) -> None:
        self._manager.unload(found.key)
        self._added.remove(found.key)

    async def _forget(self, found: Registration) -> None:
        there = self.has(found)
        self.remove(found)
        self._tell_default(found.name)
        # What has been registered in its place meanwhile may have its name.
        if there or not self.uses(found.key):
            self._unload(found)
            await self._manager.in_force()
        await self._discard(found.place)

    async def _discard(self, place: Place) -> None:
        """Remove what was fetched for one model."""
        if place.fetched is not None:
            await asyncio.to_thread(partial(shutil.rmtree, place.fetched, ignore_errors=True))

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that goes on when its caller leaves."""
        return await asyncio.shield(self._begin(work))

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        self._begin(_told(work))

    def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        task.add_done_callback(unheard)
        return task


async def _told(work: Coroutine[Any, Any, Any]) -> None:
    """Do something that nobody waits for: the log is told how it ends badly."""
    try:
        await work
    except TorchServeError as error:
        logger.error("%s", error.message)  # noqa: TRY400 - no defect


def archive_stem(file_name: str) -> str:
    """The name of an archive without its ending."""
    lower = file_name.lower()
    ending = next((each for each in (".tar.gz", ".tgz", ".mar", ".model") if lower.endswith(each)), "")
    return file_name[: len(file_name) - len(ending)]
