"""The memory of a model that is no longer served is given back, whenever it was loaded and whoever has used it.

Each model here is part of a cycle, so only the collector can free it, and says when that has happened.
"""

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.conftest import WriteModel
from tests.integration.conftest import Start
from tests.integration.lifecycle_requests import ASK, post_load
from tests.integration.support import wait_until

pytestmark = pytest.mark.slow

# Its finalizer holds nothing of it.
CYCLE = """
import weakref
from pathlib import Path

class Model:
    inputs = {{"IN": ("INT32", [1])}}
    outputs = {{"OUT": ("INT32", [1])}}

    def __init__(self):
        self.itself = self
        weakref.finalize(self, Path({path!r}).touch).atexit = False
        if {fails}:
            raise RuntimeError("broken on purpose")

    def __call__(self, inputs):
        return {{"OUT": inputs["IN"]}}
"""


def test_models_that_were_loaded_at_the_start_and_later(
    start: Start, write_model: WriteModel, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    freed = tmp_path_factory.mktemp("freed")
    for name in ("at_start", "later", "failed"):
        write_model(tmp_path, name, CYCLE.format(path=str(freed / name), fails=name == "failed"))
    server = start("--model-control-mode=explicit", "--load-model=at_start")
    assert post_load(server, "later").status_code == 200
    value = triton.InferInput("IN", [1], "INT32")
    value.set_data_from_numpy(np.array([7], np.int32))
    with triton.InferenceServerClient(server.grpc) as client:
        for name in ("at_start", "later"):
            for _ in range(3):
                assert server.infer(name, ASK).status_code == 200
                assert client.infer(name, [value]).as_numpy("OUT")[0] == 7
        assert not list(freed.iterdir())
        for name in ("at_start", "later"):
            assert server.post(f"/v2/repository/models/{name}/unload").status_code == 200
            wait_until((freed / name).exists)
        assert post_load(server, "failed").status_code == 400
        wait_until((freed / "failed").exists)
        # And again, after what there was at the start has been looked at once.
        (freed / "at_start").unlink()
        assert post_load(server, "at_start").status_code == 200
        assert server.post("/v2/repository/models/at_start/unload").status_code == 200
        wait_until((freed / "at_start").exists)
