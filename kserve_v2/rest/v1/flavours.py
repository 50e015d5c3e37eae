"""What the two servers whose v1 protocol this is do in different ways, as far as no answer suits both."""

from dataclasses import dataclass

KSERVE = "kserve"
TF_SERVING = "tfserving"


@dataclass(frozen=True, slots=True)
class Manners:
    """How one of them answers.

    `passes_over_unknown`: members of a request that mean nothing, and names of tensors that are none of the model's in
    the column form, are ignored; otherwise they are refused. `no_list`: the text for `instances` that are no list.
    `states_alone`: the status of a model is that of its versions, whether it is ready or not; otherwise it says whether
    it is ready, too, with its status code. `malformed_path`: a path under /v1/ that is none is a bad request.
    """

    passes_over_unknown: bool
    no_list: str
    states_alone: bool
    malformed_path: bool

    def unknown_status(self, name: str, version: str) -> str:
        """Of a model that is asked for its status, and is not there."""
        if not self.states_alone:
            return _does_not_exist(name, version)
        which = f"version {version}" if version else "any versions"
        return f"Could not find {which} of model {name}"

    def unknown_model(self, name: str, version: str) -> str:
        """Of a model that is asked for an answer, and is not there."""
        if not self.states_alone:
            return _does_not_exist(name, version)
        which = f"Specific({name}, {version})" if version else f"Latest({name})"
        return f"Servable not found for request: {which}"


def _does_not_exist(name: str, version: str) -> str:
    # KServe's own server has no versions.
    which = f"version {version} of model" if version else "Model with name"
    return f"{which} {name} does not exist."


FLAVOURS = {
    KSERVE: Manners(
        passes_over_unknown=False,
        no_list='Expected "instances" to be a list',
        states_alone=False,
        malformed_path=False,
    ),
    TF_SERVING: Manners(
        passes_over_unknown=True,
        no_list="Expecting 'instances' to be an list/array",
        states_alone=True,
        malformed_path=True,
    ),
}
"""By the name that the option `--v1-flavour` has for it."""
