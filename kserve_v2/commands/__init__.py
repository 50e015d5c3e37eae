"""Commands beside `serve`: each looks at a repository and says something about it."""
