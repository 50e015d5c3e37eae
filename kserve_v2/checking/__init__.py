"""Looking at a repository as a server would before it loads models: what is wrong, where, and what to write instead."""
