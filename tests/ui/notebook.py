"""What somebody has who comes here with a model: a notebook of theirs, which knows nothing of this project.

It leaves the model in `wine.onnx`. What it prints last is a line of JSON: a row to try, as one copies it from a table,
and what scikit-learn itself makes of it.
"""

# %% The data, and a model
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

samples, cultivars = load_wine(return_X_y=True)
train, held_out, train_labels, held_out_labels = train_test_split(samples, cultivars, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, train_labels)
print(f"right on {model.score(held_out, held_out_labels):.0%} of the wines that it has not seen")

# %% To a file
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx

exported = to_onnx(model, train[:1].astype(np.float32), options={"zipmap": False})
Path("wine.onnx").write_bytes(exported.SerializeToString())

# %% The bottle of which the model is the least sure: an answer that nothing else gives by accident
import json

probabilities = model.predict_proba(held_out)
doubtful = probabilities.max(axis=1).argmin()
print(
    json.dumps(
        {
            "row": ", ".join(f"{value:g}" for value in held_out[doubtful]),
            "label": int(model.predict(held_out)[doubtful]),
            "probabilities": probabilities[doubtful].tolist(),
        }
    )
)
