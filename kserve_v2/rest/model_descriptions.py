"""What the OpenAPI document says of the models that are loaded: a path of its own for each, with a request that
works.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from kserve_v2.config.content_types import input_contents
from kserve_v2.errors import ServingError
from kserve_v2.inference import InferenceService
from kserve_v2.logs.example_request import example_request
from kserve_v2.messages import ModelMetadata, TensorMetadata
from kserve_v2.repository.reading.sample_request import read_sample

Json = dict[str, Any]

MOST_MODELS = 50
"""So many are described; of a server with a thousand, a page with all would be no help."""

MOST_EXAMPLE_BYTES = 16 * 1024
"""A longer sample is not shown: a person could not read it."""

TAG = "loaded models"
_GENERAL_TAG = "inference"


@dataclass(frozen=True, slots=True)
class DescribedModel:
    """One model as it is now. `made_up`: a request of zeros, None where that would be too long. `path`: where a sample
    may lie.
    """

    metadata: ModelMetadata
    path: Path
    decoupled: bool
    made_up: Json | None


def described_models(service: InferenceService) -> tuple[Sequence[DescribedModel], int]:
    """The models that answer, by name, as many as are described; and how many there are."""
    names = sorted({model.name for model in service.manager.ready_models()})
    described: list[DescribedModel] = []
    for name in names:
        if len(described) == MOST_MODELS:
            break
        try:
            model, metadata = service.acquire(name).like, service.model_metadata(name)
        except ServingError:
            continue  # it cannot answer now
        made_up = example_request(
            metadata,
            in_sequence=model.config.HasField("sequence_batching"),
            contents=input_contents(model.config),
        )
        described.append(DescribedModel(metadata, model.path, model.decoupled, made_up))
    return described, len(names)


def with_models(document: Json, loaded: tuple[Sequence[DescribedModel], int]) -> Json:
    """The description of the routes, together with that of the models, which stand in front. Blocks: their samples are
    read.
    """
    models, count = loaded
    if not models:
        return document
    paths: Json = {}
    for model in models:
        path, operation = _described(model, document["paths"])
        paths[path] = {"post": operation}
    text = "Each with a request that works: choose one, then *Try it out*, *Execute*."
    if count > len(models):
        text += f" These are {len(models)} of {count:,}; the others are asked in the same way, see *{_GENERAL_TAG}*."
    tags = [{"name": TAG, "description": text}, {"name": _GENERAL_TAG}]
    return {**document, "tags": tags, "paths": {**paths, **document["paths"]}}


def _described(model: DescribedModel, paths: Json) -> tuple[str, Json]:
    """The path of a model's inference, and its description: as that of any model, with what is special to this one."""
    metadata = model.metadata
    name = "generate_stream" if model.decoupled else "infer"
    general = paths[f"/v2/models/{{model_name}}/{name}"]["post"]
    sample = _sample(model)
    example = _flat(sample) if model.decoupled and sample is not None else sample
    content: Json = {"schema": {"type": "object"}}
    notes = [_tensors("Inputs", metadata.inputs), _tensors("Outputs", metadata.outputs)]
    if example is None:
        notes.append("A request is too long to be shown here, or has an image or 16-bit floats in it.")
    else:
        content["example"] = example
    operation = {
        "tags": [TAG],
        "summary": metadata.name,
        "description": "\n\n".join(notes),
        "operationId": f"{name} {metadata.name}",
        "requestBody": {"required": True, "content": {"application/json": content}},
        # What the general examples show are answers of another model.
        "responses": {
            status: {"description": answer["description"]} for status, answer in general["responses"].items()
        },
    }
    return f"/v2/models/{quote(metadata.name, safe='')}/{name}", operation


def _tensors(title: str, tensors: Sequence[TensorMetadata]) -> str:
    shown = [f"`{each.name}` {each.datatype} {list(each.shape)}" for each in tensors]
    return f"{title}: {', '.join(shown)}"


def _sample(model: DescribedModel) -> Json | None:
    """The sample that lies beside the model, or a request that is made up."""
    try:
        sample = read_sample(model.path, model.metadata.name)
    except ServingError:
        return model.made_up
    return sample if len(orjson.dumps(sample)) <= MOST_EXAMPLE_BYTES else model.made_up


def _flat(sample: Json) -> Json | None:
    """A request as `generate` has it; None for one that it has in no such way."""
    flat: Json = {}
    for tensor in sample.get("inputs", ()):
        data = tensor.get("data")
        if not isinstance(data, list):
            return None
        flat[tensor["name"]] = data[0] if len(data) == 1 else data
    return flat or None
