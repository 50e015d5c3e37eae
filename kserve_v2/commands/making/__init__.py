"""What `kserve-v2 init` makes: folders of models that work at once."""
