"""What `kserve-v2 convert` makes of TorchServe's archives. Nothing in an archive is executed."""
