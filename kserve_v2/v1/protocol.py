"""The v1 protocol as the REST front end takes it: on its port, beside v2."""

import re
from functools import partial

from kserve_v2.inference import InferenceService
from kserve_v2.rest.app import OtherProtocol
from kserve_v2.rest.endpoint import Operations, name_in_path
from kserve_v2.v1.examples import CLASSIFY, REGRESS
from kserve_v2.v1.flavours import FLAVOURS
from kserve_v2.v1.predict import Examples, Explain, Predict
from kserve_v2.v1.routes import TEXTS, add_v1_routes

_TARGET = re.compile("/v1/models/([^/]+)(?:/(?:versions|labels)/([^/]+))?:([^/:]*)")


def v1_protocol(service: InferenceService, max_request_bytes: int, flavour: str) -> OtherProtocol:
    """The protocol for the models of `service`. `max_request_bytes`: the largest request that is accepted. `flavour`:
    one of FLAVOURS.
    """
    manners = FLAVOURS[flavour]
    verbs = {
        "predict": Predict(service, max_request_bytes, manners),
        "explain": Explain(service, max_request_bytes, manners),
        **{verb: Examples(verb, service, max_request_bytes, manners) for verb in (CLASSIFY, REGRESS)},
    }
    routes = partial(add_v1_routes, service=service, manners=manners)
    return OtherProtocol(routes, Operations(verbs, parse_target), TEXTS)


def parse_target(path: str) -> tuple[str, str, str] | None:
    """Verb, model name and version or label of `/v1/models/M[/versions/N|/labels/L]:VERB`; see `rest.endpoint`."""
    found = _TARGET.fullmatch(path)
    if found is None:
        return None
    name, version, verb = found.groups("")
    return verb.lower(), name_in_path(name), version
