"""One server, models with other versions of Python. `make test-pythons` makes the environments, of the interpreters that
are there; each has numpy and nothing else.
"""

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.conftest import RunningServer, StartServer, WriteModel

MADE = Path(__file__).parent.parent.parent / ".venv-pythons"
ENVIRONMENTS = sorted(path for path in MADE.glob("3.*") if path.is_dir())

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENVIRONMENTS, reason="no other versions of Python: make test-pythons"),
]

MODEL = """
import sys
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [-1]})
        config.add_output({"name": "OUT", "data_type": "TYPE_FP32", "dims": [-1]})
        config.add_output({"name": "WHO", "data_type": "TYPE_STRING", "dims": [1]})
        config.set_max_batch_size(0)
        return config

    def initialize(self, args):
        pb_utils.Logger.log_info(f"{args['model_name']} initialized")

    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            if x[0] < 0:
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError("negative")))
                continue
            who = np.array(["%d.%d" % sys.version_info[:2]], dtype=np.object_)
            outputs = [pb_utils.Tensor("OUT", x * 2), pb_utils.Tensor("WHO", who)]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
"""


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_server: StartServer, write_model: WriteModel
) -> RunningServer:
    root = tmp_path_factory.mktemp("models")
    for environment in ENVIRONMENTS:
        parameter = f'key: "EXECUTION_ENV_PATH" value {{ string_value: "{environment}" }}'
        write_model(root, environment.name, MODEL, f"parameters {{ {parameter} }}")
    return start_server(root)


def infer(server: RunningServer, model: str, values: np.ndarray) -> triton.InferResult:
    tensor = triton.InferInput("IN", [len(values)], "FP32")
    tensor.set_data_from_numpy(values)
    return triton.InferenceServerClient(server.grpc).infer(model, [tensor])


@pytest.mark.parametrize("model", [environment.name for environment in ENVIRONMENTS])
def test_a_model_runs_with_its_own_version_of_python(server: RunningServer, model: str) -> None:
    for count in (1, 4_000_000):
        values = np.arange(count, dtype=np.float32)
        answer = infer(server, model, values)
        assert answer.as_numpy("WHO").tolist() == [model.encode()]
        assert np.array_equal(answer.as_numpy("OUT"), values * 2)
    with pytest.raises(InferenceServerException, match="negative"):
        infer(server, model, np.array([-1], np.float32))
    assert f"{model} initialized" in server.log
