"""TorchServe's workflows: archives (.war) that say which models and functions a request goes through."""
