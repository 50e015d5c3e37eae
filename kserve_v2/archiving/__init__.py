"""Writing archives of models and workflows (.mar, .war), as TorchServe and this server read them."""
