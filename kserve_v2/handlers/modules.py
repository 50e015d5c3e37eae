"""What tells the modules of one load of a model from those of libraries."""

OWN_MODULES = "_handler_"
"""How the names of packages begin that are imported for one load of a model, and go with it. All others are libraries,
and the garbage collector is spared what they hold.
"""
