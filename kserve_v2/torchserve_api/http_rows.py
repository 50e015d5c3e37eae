"""A request over HTTP as the row that a handler finds."""

from collections.abc import Sequence

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.net.multipart import media_type, read_form
from kserve_v2.scheduling.slices import Slices, copied
from kserve_v2.torchserve.rows import Field
from kserve_v2.torchserve_api.errors import bad_request
from kserve_v2.torchserve_api.queries import form_fields

RAW_HEADERS = "kserve_v2.raw_headers"
"""Scope key of the request's headers, as they came."""

BODY = "body"
MULTIPART = "multipart/form-data"
URL_ENCODED = "application/x-www-form-urlencoded"
FORMS = frozenset({MULTIPART, URL_ENCODED})
"""What is not one field, but many."""


def fields_of(body: bytes | bytearray, content_type: str, query: bytes = b"") -> Slices[Sequence[Field]]:
    """The fields of a request: its body as one, or those of a form, read in slices. `query`: of a call whose
    parameters are fields, too. Raises TorchServeError for a form that is none.
    """
    of_query = [Field(name, value) for name, value in form_fields(query)]
    kind, options = media_type(content_type.encode("latin-1", "replace"))
    if kind.lower() == MULTIPART:
        try:
            parts = yield from read_form(body, options.get("boundary", ""))
        except InvalidArgumentError as error:
            raise bad_request(error.message) from None
        # What kind a field is counts only for files.
        return of_query + [
            Field(part.name, part.data, (part.content_type or None) if part.filename is not None else None)
            for part in parts
        ]
    if kind.lower() == URL_ENCODED:
        return of_query + [Field(name, value) for name, value in form_fields(bytes(body))]
    return [*of_query, Field(BODY, (yield from copied(body)), content_type or None)]
