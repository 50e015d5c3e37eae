"""The part of the management API that is about workflows."""

from typing import Any

from kserve_v2.torchserve_api.answering import Reply, of_json, of_status
from kserve_v2.torchserve_api.app import Asked
from kserve_v2.torchserve_api.errors import bad_request, method_not_allowed
from kserve_v2.torchserve_api.queries import number, page_of, parse_query
from kserve_v2.torchserve_api.workflow_registry import WorkflowRegistry


class WorkflowCalls:
    """Answers `/workflows` and `/workflows/NAME`."""

    def __init__(self, workflows: WorkflowRegistry, *, model_api: bool) -> None:
        """`model_api`: whether clients may register and unregister them."""
        self._workflows, self._model_api = workflows, model_api

    async def answer(self, asked: Asked) -> Reply:
        """Raises TorchServeError."""
        name, method = asked.route.name, asked.method
        if method == "GET":
            return of_json([self._described(name)] if name else self._page(asked))
        if self._model_api and method == "POST" and not name:
            return await self._register(asked)
        if self._model_api and method == "DELETE" and name:
            await self._workflows.unregister(name)
            return of_status(f'Workflow "{name}" unregistered')
        raise method_not_allowed()

    async def _register(self, asked: Asked) -> Reply:
        parameters = parse_query(asked.query)
        if not parameters.get("url"):
            raise bad_request("Parameter url is required.")
        workflow = await self._workflows.register(parameters["url"], parameters.get("workflow_name", ""))
        return of_status(f"Workflow {workflow.name} has been registered and scaled successfully.")

    def _page(self, asked: Asked) -> dict[str, Any]:
        parameters = parse_query(asked.query)
        names, document = page_of(
            self._workflows.names, number(parameters, "limit"), number(parameters, "next_page_token")
        )
        document["workflows"] = [
            {"workflowName": name, "workflowUrl": self._workflows.find(name).url} for name in names
        ]
        return document

    def _described(self, name: str) -> dict[str, Any]:
        found = self._workflows.find(name)
        workflow = found.workflow
        return {
            "workflowName": workflow.name,
            "workflowUrl": found.url,
            "minWorkers": workflow.min_workers,
            "maxWorkers": workflow.max_workers,
            "batchSize": workflow.batch_size,
            "maxBatchDelay": workflow.max_batch_delay,
            "workflowDag": workflow.dag_text,
        }
