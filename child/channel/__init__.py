"""Both ends of the channel between the server and a model's process."""
