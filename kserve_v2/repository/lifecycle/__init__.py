"""The life of one model: what is wanted of it, what to do for that, and the states of its versions."""
