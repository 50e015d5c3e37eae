"""Load generators: closed loops over a number of connections, in processes of their own."""
