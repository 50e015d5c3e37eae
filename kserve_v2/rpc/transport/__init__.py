"""gRPC over HTTP/2, on asyncio: what the specification calls the protocol over HTTP2."""
