"""From a model's directory and configuration to what is needed to load it, or to say what is wrong with it."""
