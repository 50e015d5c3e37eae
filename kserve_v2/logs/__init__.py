"""What a person sees of the server: log lines, the access log, the console at start."""
