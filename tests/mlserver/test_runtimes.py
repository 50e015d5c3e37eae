"""The runtimes of scikit-learn and LightGBM, with their models. XGBoost's is tested where that is installed."""

import json
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.conftest import RunningServer, StartServer

FEATURES, SPECIES = load_iris(return_X_y=True)


def write(folder: Path, **settings: Any) -> Path:
    folder.mkdir()
    (folder / "model-settings.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_server: StartServer) -> RunningServer:
    folder = tmp_path_factory.mktemp("runtimes")
    iris = write(
        folder / "iris",
        implementation="mlserver_sklearn.SKLearnModel",
        parameters={"uri": "./model.joblib", "version": "v0.1.0"},
    )
    joblib.dump(LogisticRegression(max_iter=500).fit(FEATURES, SPECIES), iris / "model.joblib")
    # Without a `uri`: the file is found by its name.
    trees = write(folder / "trees", implementation="mlserver_lightgbm.LightGBMModel")
    parameters = {"objective": "multiclass", "num_class": 3, "num_threads": 1, "verbose": -1}
    lightgbm.train(parameters, lightgbm.Dataset(FEATURES, SPECIES), 5).save_model(trees / "model.bst")
    return start_server(folder, "--backend-config", "mlserver,allow-pickles=true")


def ask(server: RunningServer, model: str, **more: Any) -> Any:
    given = {"name": "x", "shape": list(FEATURES.shape), "datatype": "FP64", "data": FEATURES.tolist()}
    return server.infer(model, {"inputs": [given], **more}).json()


@pytest.mark.slow
def test_scikit_learn(server: RunningServer) -> None:
    estimator = joblib.load(_folder(server) / "iris" / "model.joblib")
    answer = ask(server, "iris", outputs=[{"name": "predict"}, {"name": "predict_proba"}])
    classes, probabilities = answer["outputs"]
    assert classes["data"] == estimator.predict(FEATURES).tolist()
    assert probabilities["shape"] == [len(FEATURES), 3]
    np.testing.assert_array_equal(
        np.reshape(probabilities["data"], (-1, 3)), estimator.predict_proba(FEATURES)
    )
    assert [each["name"] for each in ask(server, "iris")["outputs"]] == ["predict"]
    assert answer["model_version"] == "v0.1.0"


def test_scikit_learn_s_errors(server: RunningServer) -> None:
    # As a real MLServer says it.
    assert ask(server, "iris", outputs=[{"name": "nosuch"}]) == {
        "error": "SKLearnModel only supports 'predict', 'predict_proba' and 'transform' as outputs (nosuch was received)"
    }


@pytest.mark.slow
def test_lightgbm(server: RunningServer) -> None:
    booster = lightgbm.Booster(model_file=_folder(server) / "trees" / "model.bst")
    (output,) = ask(server, "trees")["outputs"]
    assert (output["name"], output["shape"]) == ("predict", [len(FEATURES), 3])
    np.testing.assert_array_equal(np.reshape(output["data"], (-1, 3)), booster.predict(FEATURES))


def _folder(server: RunningServer) -> Path:
    arguments = server.process.args
    assert isinstance(arguments, list)
    return Path(arguments[arguments.index("--model-repository") + 1])
