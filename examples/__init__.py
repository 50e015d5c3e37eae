"""Makes the models of `model_repository/` from data: `python -m examples.make_models`."""
