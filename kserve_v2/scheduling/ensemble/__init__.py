"""Ensembles: models that are made of other models."""
