"""Commands that look at a repository as a server would, and serve nothing."""
