"""TLS towards clients: the ClientHello, which certificate, the handshake, and the stream behind it."""
