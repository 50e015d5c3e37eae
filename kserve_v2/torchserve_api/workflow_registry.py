"""The workflows that TorchServe's clients see: each node is a registered model, and goes with its workflow."""

import asyncio
import logging
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.repository.temporary_folder import DOWNLOADS, TemporaryFolder
from kserve_v2.torchserve.archives import unpack_archive
from kserve_v2.torchserve.rows import Answer, Failure, Row
from kserve_v2.torchserve.workflows.read import read_workflow
from kserve_v2.torchserve.workflows.run import predict
from kserve_v2.torchserve.workflows.workflow import Node, Workflow
from kserve_v2.torchserve_api.errors import TorchServeError
from kserve_v2.torchserve_api.places import Place, in_store
from kserve_v2.torchserve_api.precedence import Asked
from kserve_v2.torchserve_api.predictor import Predictor
from kserve_v2.torchserve_api.registry import Register, Registry
from kserve_v2.tracing.trace import Trace

logger = logging.getLogger(__name__)

ENDING = ".war"


def workflow_not_found(message: str) -> TorchServeError:
    return TorchServeError(404, message, "WorkflowNotFoundException")


@dataclass(frozen=True, slots=True)
class Registered:
    """A workflow. `url`: of its archive, which lies unpacked in `folder`. `complete`: all its nodes are registered."""

    workflow: Workflow
    url: str
    folder: Path
    complete: bool = False


class WorkflowRegistry:
    """Owns the workflows. Lives on the server's event loop; what blocks runs on threads."""

    def __init__(self, store: Path | None, registry: Registry, predictor: Predictor) -> None:
        """`store`: the folder with their archives; from nowhere else they come."""
        self._store, self._registry, self._predictor = store, registry, predictor
        self._folder = TemporaryFolder(DOWNLOADS)
        self._number = 0
        self._known: dict[str, Registered] = {}

    @property
    def names(self) -> list[str]:
        """Of all of them, in their order."""
        return sorted(name for name, each in self._known.items() if each.complete)

    def find(self, name: str) -> Registered:
        """One of them. Raises TorchServeError."""
        found = self._known.get(name)
        if found is None or not found.complete:
            raise workflow_not_found(f"Workflow not found: {name}")
        return found

    async def predict(self, name: str, row: Row, trace: Trace | None = None) -> Answer | Failure:
        """The answer of a workflow. `trace`: the request's, which each step is a part of. Raises TorchServeError for an
        unknown one.
        """
        ask = self._predictor.ask if trace is None else partial(self._ask_traced, trace)
        return await predict(self.find(name).workflow, row, ask)

    async def _ask_traced(self, trace: Trace, name: str, row: Row) -> Answer | Failure:
        child = trace.child(name)
        # What is given up is ended by nobody else.
        error = "it was given up"
        try:
            answer = await self._predictor.ask(name, row, child)
            error = answer.message if isinstance(answer, Failure) else ""
        finally:
            trace.end_child(child, error)
        return answer

    async def register(self, url: str, name: str = "") -> Workflow:
        """Register a workflow and all its nodes, and wait until they are loaded. Raises TorchServeError; then nothing
        of it is registered.
        """
        entered = await self._enter(url, name)
        workflow = entered.workflow
        done: list[Node] = []
        failures: list[str] = []

        async def add(node: Node) -> None:
            try:
                await self._registry.register(_registration(node, entered.folder))
                done.append(node)
            except (TorchServeError, ServingError) as error:
                failures.append(f"Workflow Node {node.model} failed to register. Details: {error.message}")

        try:
            await asyncio.gather(*map(add, workflow.nodes))
        except BaseException:
            await self._remove(entered, done)
            raise
        if failures:
            await self._remove(entered, done)
            text = f"Workflow {workflow.name} has failed to register. Failures: [{', '.join(failures)}]"
            raise TorchServeError(500, text, "WorkflowException")
        self._complete(entered)
        return workflow

    async def unregister(self, name: str) -> None:
        """Forget a workflow and its nodes. Raises TorchServeError."""
        found = self.find(name)
        await self._remove(found, found.workflow.nodes)

    async def enter_startup(self) -> list[str]:
        """Register all workflows of the store. Their nodes are loaded with the server's other models. Returns what is
        wrong with those that cannot be.
        """
        problems = []
        try:
            urls = await asyncio.to_thread(self._archives)
        except OSError as error:
            return [f"the workflow store '{self._store}' cannot be read: {error.strerror}"]
        for url in urls:
            done: list[Node] = []
            try:
                entered = await self._enter(url, "")
            except TorchServeError as error:
                problems.append(f"{url}: {error.message}")
                continue
            try:
                for node in entered.workflow.nodes:
                    await self._registry.enter(_registration(node, entered.folder))
                    done.append(node)
            except (TorchServeError, ServingError) as error:
                problems.append(f"{url}: {error.message}")
                await self._remove(entered, done)
            else:
                self._complete(entered)
        return problems

    async def close(self) -> None:
        """Remove what was unpacked."""
        await asyncio.to_thread(self._folder.close)

    # --- the steps ----------------------------------------------------------------------------------------------------

    async def _enter(self, url: str, name: str) -> Registered:
        """Read a workflow, and take its name. Raises TorchServeError."""
        self._number += 1
        workflow, folder = await asyncio.to_thread(self._lay_out, url, name, self._number)
        if workflow.name in self._known:
            await _discard(folder)
            raise TorchServeError(409, f"Workflow {workflow.name} is already registered.")
        entered = self._known[workflow.name] = Registered(workflow, url, folder)
        return entered

    def _lay_out(self, url: str, name: str, number: int) -> tuple[Workflow, Path]:
        archive = self._find(url)
        folder = self._folder.open() / f"workflow-{number}"
        try:
            unpack_archive(archive, folder, archive.name)
            return read_workflow(folder, name), folder
        except (InvalidArgumentError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            text = error.message if isinstance(error, InvalidArgumentError) else str(error.strerror)
            raise TorchServeError(400, text, "InvalidWorkflowException") from None

    def _find(self, url: str) -> Path:
        if ".." in url:
            raise workflow_not_found(f"Relative path is not allowed in url: {url}")
        found = in_store(self._store, url)
        if found is None or not found.is_file():
            raise workflow_not_found(f"Workflow not found in workflow store: {url}")
        return found

    def _archives(self) -> list[str]:
        if self._store is None:
            return []
        return sorted(each.name for each in self._store.iterdir() if each.name.lower().endswith(ENDING))

    def _complete(self, entered: Registered) -> None:
        name = entered.workflow.name
        self._known[name] = Registered(entered.workflow, entered.url, entered.folder, complete=True)

    async def _remove(self, found: Registered, nodes: "list[Node] | tuple[Node, ...]") -> None:
        self._known.pop(found.workflow.name, None)
        for node in nodes:
            try:
                await self._registry.unregister(node.model)
            except TorchServeError as error:
                # Somebody has unregistered it as a model.
                logger.info("workflow '%s': %s", found.workflow.name, error.message)
        await _discard(found.folder)


def _registration(node: Node, folder: Path) -> Register:
    """What has the model of a node registered. `folder`: where the workflow's functions lie."""
    asked = Asked(
        batch_size=node.batch_size, max_batch_delay=node.max_batch_delay, initial_workers=node.max_workers
    )
    if node.function:
        return Register(
            url="", model_name=node.model, handler=node.function, asked=asked, place=Place(folder)
        )
    return Register(url=node.url, model_name=node.model, asked=asked)


async def _discard(folder: Path) -> None:
    await asyncio.to_thread(partial(shutil.rmtree, folder, ignore_errors=True))
