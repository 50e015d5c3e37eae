"""From the files of a model to the interpreter that runs it."""
