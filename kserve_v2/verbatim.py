"""Models that read requests themselves: whatever their clients send reaches them, and what they answer goes back, as it
is. Neither names nor datatypes nor shapes are looked at by the server.

A request in JSON is one tensor, with the body's bytes; its answer is one, too. Any other request (over gRPC, with
binary tensors, of another model or of the program around the server) is tensors by name, as ever. What is said beside
the tensors is in `InferRequest.packed`:

`headers`: those of the call, by name. `tensors`: what is said of each, `{"inputs": {name: {parameter: value}},
"outputs": ...}`; the answer is to say the same of its own. `stream`: there if the client takes any number of answers.
`route`: of a request to a path of the model's own, its `method`, `path` and `query`.

What is said beside an answer is in its parameters of the names below, which go no further than to the front end.
"""

BODY = "\0body"
"""The tensor whose only element is the body of a request, or of an answer."""

HEADERS = "\0headers"
"""The headers of an answer, as a JSON list of pairs of texts."""

TENSORS = "\0tensors"
"""What is said of the outputs, as JSON: `{"outputs": {name: {parameter: value}}, "version": ..., "id": ...}`, the
latter two in the words of the model.
"""

STATUS = "\0status"
"""The status of the answer to a request to a path of the model's own."""

TENSOR_PARAMETERS = "tensor_parameters"
"""The configuration's parameter with what metadata says of inputs and outputs beyond their shapes, as JSON:
`{"inputs": {name: {parameter: value}}, "outputs": ...}`.
"""

ROUTES = "rest_routes"
"""The configuration's parameter that says which paths of its own a model has: a JSON list of `[method, path]`."""
