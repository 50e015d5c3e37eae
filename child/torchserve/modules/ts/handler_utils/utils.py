"""Parts of answers that are sent before the rest."""

from __future__ import annotations

from typing import Any

from kserve_v2_child.torchserve.results import body_of


def send_intermediate_predict_response(
    ret: Any, req_id_map: Any, message: str, code: int, context: Any = None
) -> None:
    """Send a part of each answer. `ret`: a list, or a dict by place, with one for each request of the batch."""
    send = getattr(context, "_send_part", None)
    if send is None:
        raise RuntimeError(
            "send_intermediate_predict_response: the model's configuration says that it gives one answer to a request: "
            "model_transaction_policy { decoupled: true } in config.pbtxt says that it answers in parts"
        )
    for index in sorted(req_id_map):
        send(_place(context.request_ids, index, req_id_map[index]), body_of(ret[index]), code)


def _place(request_ids: Any, index: int, request_id: str) -> int:
    """The place of a request in the batch that is handled now: its id decides, as a thread that goes on when its batch
    is over would write to the clients of another one. Raises RuntimeError for one that is not there.
    """
    if request_ids.get(index) == request_id:
        return index
    for place, known in request_ids.items():
        if known == request_id:
            found: int = place
            return found
    raise RuntimeError(
        f"send_intermediate_predict_response: request {request_id} is not in the batch that is handled now"
    )
