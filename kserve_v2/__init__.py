"""A model server that speaks the KServe v2 / Open Inference Protocol."""
