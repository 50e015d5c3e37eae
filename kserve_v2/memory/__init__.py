"""Memory: what requests in flight may hold, regions that clients register, who holds an output, what is given back."""
