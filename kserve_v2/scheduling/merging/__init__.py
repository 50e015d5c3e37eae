"""How the requests of a batch become the tensors of one execution, and its outputs their answers."""
