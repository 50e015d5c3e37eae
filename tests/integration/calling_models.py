"""Handlers that call other models as their input says, and how they are asked."""

import json
from typing import Any

from tests.conftest import RunningServer
from tests.integration.support import json_tensor

# Does what its input says, and answers with what came of it, or with the error.
CALLER = """
import asyncio, json, threading
import numpy as np
from kserve_v2.errors import ServingError

def inputs_of(step):
    return {name: np.array(values, dtype) for name, (dtype, values) in step.get("inputs", {}).items()}

def options_of(step):
    options = {name: step[name] for name in ("version", "outputs", "parameters") if name in step}
    if "sequence" in step:
        options["sequence"] = tuple(step["sequence"])
    return options

def told(answer):
    shown = {
        name: [e.decode() for e in array.ravel()] if array.dtype == object else array.tolist()
        for name, array in answer.items()
    }
    assert all(array.flags.writeable for array in answer.values())
    return {"outputs": shown, "version": answer.version, "parameters": answer.parameters}

def attempt(step, call):
    try:
        return call()
    except (ServingError, TypeError) as error:
        if step.get("raise"):
            raise
        return {"error": str(error), "kind": type(error).__name__}

class Model:
    inputs = {"script": ("BYTES", [1])}
    outputs = {"result": ("BYTES", [1])}

    def load(self, context):
        self.context = context
"""

SYNC = (
    CALLER
    + """
    def step(self, step, requests):
        arguments = step["model"], inputs_of(step)
        options = options_of(step)
        if step.get("requests"):
            options["requests"] = requests
        if step.get("stream"):
            return [told(each) for each in self.context.stream(*arguments, **options)][: step.get("most")]
        before = {name: array.tolist() for name, array in arguments[1].items()}
        answer = told(self.context.call(*arguments, **options))
        # The other model may have written to its inputs, but not to these.
        assert before == {name: array.tolist() for name, array in arguments[1].items()}
        return answer

    def __call__(self, inputs, requests):
        steps = json.loads(inputs["script"][0])
        results = [None] * len(steps)
        def do(number):
            step = steps[number]
            results[number] = attempt(step, lambda: self.step(step, requests))
        if isinstance(steps[0], dict) and steps[0].get("threads"):
            threads = [threading.Thread(target=do, args=(number,)) for number in range(len(steps))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            for number in range(len(steps)):
                do(number)
        return {"result": [json.dumps(results)]}
"""
)

ASYNC = (
    CALLER
    + """
    async def step(self, step):
        arguments = step["model"], inputs_of(step)
        try:
            if step.get("blocking"):
                return told(self.context.call(*arguments))
            if step.get("stream"):
                return [told(each) async for each in self.context.stream_async(*arguments, **options_of(step))]
            return told(await self.context.call_async(*arguments, **options_of(step)))
        except ServingError as error:
            return {"error": str(error), "kind": type(error).__name__}

    async def __call__(self, inputs):
        steps = json.loads(inputs["script"][0])
        return {"result": [json.dumps(await asyncio.gather(*map(self.step, steps)))]}
"""
)


Step = dict[str, Any]


def run(server: RunningServer, *steps: Step, model: str = "caller", **request: Any) -> list[Any]:
    """What came of each step of a caller."""
    response = server.infer(model, script(*steps, **request))
    assert response.status_code == 200, response.text
    results: list[Any] = json.loads(response.json()["outputs"][0]["data"][0])
    return results


def script(*steps: Step, **request: Any) -> dict[str, Any]:
    return {"inputs": [json_tensor("script", "BYTES", [1], [json.dumps(steps)])], **request}
