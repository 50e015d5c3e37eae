"""Who says which models are to be loaded: what lies in the repository, and what clients ask for."""
