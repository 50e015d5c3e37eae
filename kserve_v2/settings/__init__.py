"""What the process was asked to do: the table of options, and settings from flags and environment variables."""
