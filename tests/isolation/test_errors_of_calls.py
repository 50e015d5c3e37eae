"""What a model in a process of its own is told of the failure of another model that it has asked."""

import pytest
from kserve_v2_child.plain_host import PlainHost

from kserve_v2 import errors
from kserve_v2.isolation.services import _told


@pytest.mark.parametrize(
    "error",
    [
        errors.UnavailableError("a"), errors.NotServedError("b"), errors.UnfinishedError("c"),
        errors.NoRoomError("d"), errors.ContradictionError("e"), errors.AbortedError("f"), errors.InternalError("g"),
    ],
)  # fmt: skip
def test_a_kind_that_only_the_server_knows_keeps_its_code(error: errors.ServingError) -> None:
    found = PlainHost().error(_told(error))
    assert (found.code, found.message) == (error.code.name, error.message)
