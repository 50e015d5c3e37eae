"""What runs models of MLServer's, in their own process: it may import `mlserver`, which is there by then."""
