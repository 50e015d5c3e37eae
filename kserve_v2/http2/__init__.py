"""HTTP/2 (RFC 9113) for servers: frames, streams and flow control without I/O, and an asyncio protocol over them."""
