"""Ports and connections: sockets, TLS, the HTTP server, what one connection may cost, reading without a copy."""
