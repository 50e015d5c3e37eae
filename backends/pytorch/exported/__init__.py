"""Programs of `torch.export`, and packages of AOTInductor."""
