def where():
    # A function's import is found as well.
    from beside import WHO  # noqa: PLC0415

    return f"in {WHO}"
