"""Files that the writers copy into a server's model repository. They run inside that server, not inside the suite."""
